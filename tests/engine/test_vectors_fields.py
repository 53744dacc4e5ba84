"""Typed metadata of segments and fresh rows, and the masks of filters and ids over them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakehouse import config
from lakehouse.engine.filters import Filter
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import IndexDamaged, Item, Vectors, fields, masks, segment, typed
from lakehouse.engine.vectors.asking import Ask
from lakehouse.engine.vectors.texts import Texts
from lakehouse.errors import InvalidInput

ROWS = 600


def metas_of(count: int) -> list[Any]:
    """Metadata of many shapes."""
    rng = np.random.default_rng(3)
    return [
        {
            "state": ["IL", "WI", "IN"][rng.integers(3)],
            "age": int(rng.integers(18, 70)),
            "id": f"w-{row}",
            "skills": ["forklift", "osha", "cdl"][: rng.integers(4)],
            "address": {"city": ["Joliet", "Gary"][row % 2]},
            "text": "forklift driver " * int(rng.integers(5, 30)),
            **({"rare": row} if row % 50 == 0 else {}),
        }
        if row % 7
        else [None, "text", {}, {"age": None, "state": True}][row % 4]
        for row in range(count)
    ]


FILTERS: list[dict[str, Any]] = [
    {"state": "IL"},
    {"state": ["IL", True], "age": {"$gte": 30}},
    {"skills": {"$contains": "osha"}},
    {"rare": {"$gte": 100}},
    {"$not": {"rare": {"$exists": True}}},
    {"address.city": "Joliet", "id": {"$prefix": "w-1"}},
    {"text": {"$contains": "driver forklift"}, "age": {"$lt": 40}},
    {"text": {"$regex": "^(forklift driver ){9}$"}},
    {"address": {"city": "Gary"}},
    {"$not": {"address": {"city": "Gary"}}, "state": ["IL", "WI"]},
    {"$or": [{"$not": {"text": {"$regex": "^(forklift driver ){9}$"}}}, {"age": 30}]},
    {"none": 1},
]


def parsed(given: dict[str, Any]) -> Filter:
    """A filter that is not empty."""
    found = Filter.parse(given)
    assert found is not None
    return found


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[segment.Segment, list[Any]]]:
    """A segment without vectors, and the metadata of its rows."""
    metas = metas_of(ROWS)
    ids = pa.array([f"w-{row}" for row in range(ROWS)], pa.large_string())
    texts = pa.array([json.dumps(meta) for meta in metas], pa.large_string())
    doc, check = segment.write(tmp_path, "s", 2, "cosine", ids, texts, 0, [])
    yield segment.Segment("it", doc, check, {name: tmp_path / name for name in doc.files}), metas


def paths_of(opened: segment.Segment, folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in opened.doc.files}


@pytest.mark.parametrize("given", FILTERS, ids=str)
def test_a_segment_answers_from_its_file_or_without_one(
    written: tuple[segment.Segment, list[Any]], given: dict[str, Any], tmp_path: Path
) -> None:
    """A segment that was written before there were columns has them made in memory."""
    opened, metas = written
    wanted = parsed(given)
    expected = [wanted.matches(meta) for meta in metas]
    assert opened.mask(wanted).tolist() == expected
    older = replace(opened.doc, files={name: ref for name, ref in opened.doc.files.items() if name != fields.NAME})
    derived = segment.Segment("it", older, opened.check, paths_of(opened, tmp_path))
    assert derived.mask(wanted).tolist() == expected


def test_the_columns_are_a_file_with_a_checksum(written: tuple[segment.Segment, list[Any]], tmp_path: Path) -> None:
    opened, _ = written
    assert fields.NAME in opened.doc.files
    assert opened.verify() == []
    path = tmp_path / fields.NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert [problem.split(": ")[0] for problem in opened.verify()] == ["_vectors/it/seg/s/fields.bin"]


def test_columns_that_do_not_fit_are_damage_that_names_the_file(
    written: tuple[segment.Segment, list[Any]], tmp_path: Path
) -> None:
    """Each flipped byte of the header and cut of the file is an error of its own kind, or changes no array's place."""
    opened, _ = written
    whole = (tmp_path / fields.NAME).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    wanted = parsed({"state": "IL"})
    seen = 0
    for place in [*range(0, 8 + length, 3), *range(0, len(whole), 4096)]:
        data = bytearray(whole)
        data[place] ^= 0x11
        (tmp_path / fields.NAME).unlink()
        (tmp_path / fields.NAME).write_bytes(data)
        again = segment.Segment("it", opened.doc, opened.check, paths_of(opened, tmp_path))
        try:
            assert len(again.mask(wanted)) == ROWS
        except IndexDamaged as error:
            assert fields.NAME in error.detail
            seen += 1
    assert seen > 10
    with pytest.raises(ValueError, match="cut short"):
        fields.read(pa.py_buffer(whole[:20]), ROWS)
    with pytest.raises(ValueError, match="rows instead"):
        fields.read(pa.py_buffer(whole), ROWS + 1)


def test_long_texts_and_lists_are_not_written_twice() -> None:
    metas = [json.dumps({"text": "x" * 1000, "e": [0.5] * 384, "n": row}) for row in range(500)]
    sink = pa.BufferOutputStream()
    fields.write(typed.of_texts(metas), pa.PythonFile(sink, "w"))
    assert sink.tell() < sum(map(len, metas)) / 50


def test_more_fields_than_columns_are_read_from_json() -> None:
    """Names that are values (`{"<id>": 1}`) leave common fields typed, and are found all the same."""
    metas: list[Any] = [
        {"common": row % 3, f"k{row}": row, **{f"m{row}-{i}": 1 for i in range(8)}} for row in range(600)
    ]
    texts = [json.dumps(meta) for meta in metas]
    columns = typed.of_texts(texts)
    assert len(columns.columns) <= typed.MAX_COLUMNS
    assert not columns.whole
    assert "common" in columns.columns
    cases: list[dict[str, Any]] = [
        {"common": 1},
        {"k599": 599},
        {"common": 2, "m599-7": {"$exists": True}},
        {"$not": {"k5": 5}},
    ]
    for given in cases:
        wanted = parsed(given)
        assert masks.of(wanted, columns, texts).tolist() == [wanted.matches(meta) for meta in metas]


def test_paths_deeper_than_columns_are_read_from_json() -> None:
    deep: Any = 1
    for _ in range(fields.DEPTH + 2):
        deep = {"a": deep}
    texts = [json.dumps(deep), "{}"]
    path = ".".join("a" * (fields.DEPTH + 2))
    assert masks.of(parsed({path: 1}), typed.of_texts(texts), texts).tolist() == [True, False]
    assert masks.of(parsed({path: 2}), typed.of_texts(texts), texts).tolist() == [False, False]


def test_masks_are_kept_and_cannot_be_changed(written: tuple[segment.Segment, list[Any]]) -> None:
    opened, _ = written
    first = opened.mask(parsed({"state": "IL"}))
    assert opened.mask(parsed({"state": "IL"})) is first
    for age in range(20):
        opened.mask(parsed({"age": age}))
    again = opened.mask(parsed({"state": "IL"}))
    assert again is not first
    assert again.tolist() == first.tolist()
    with pytest.raises(ValueError, match="read-only"):
        again[0] = True


def test_true_and_one_are_kept_apart(written: tuple[segment.Segment, list[Any]]) -> None:
    opened, metas = written
    for value in (True, 1, 1.0, "1"):
        wanted = parsed({"state": value})
        assert opened.mask(wanted).tolist() == [wanted.matches(meta) for meta in metas]


@pytest.mark.parametrize("count", [0, 2, 18, 500])
def test_ids_are_found_few_or_many(written: tuple[segment.Segment, list[Any]], count: int) -> None:
    opened, _ = written
    ids = {f"w-{row}" for row in range(0, 2 * count, 2)} | {"none"}
    expected = [f"w-{row}" in ids for row in range(ROWS)]
    assert masks.Ids(ids).of(opened.ids, opened.find).tolist() == expected


def test_fresh_rows_are_typed_as_they_come() -> None:
    """An older snapshot sees its own rows only, also after rows of newer ones have been typed."""
    metas = metas_of(1300)
    texts = [json.dumps(meta) for meta in metas]
    growing = masks.Growing()
    for given in FILTERS:
        wanted = parsed(given)
        expected = [wanted.matches(meta) for meta in metas]
        for count in (0, 3, 511, 512, 700, 1300, 600, 2):
            assert growing.mask(wanted, texts, count).tolist() == expected[:count]


@pytest.mark.anyio
async def test_filters_and_ids_choose_before_the_search(home: Path) -> None:
    """True pre-filters, over sealed and fresh rows, replaced and deleted ones; what they leave out is counted."""
    vectors = Vectors(home, Storage(home, config.Storage()), config.Vectors(seal_rows=400))
    await vectors.create("it", 4)
    rng = np.random.default_rng(5)
    data = rng.standard_normal((1000, 4)).astype(np.float32)
    metas = metas_of(1000)
    model: dict[str, tuple[Any, Any]] = {}
    for start in range(0, 1000, 300):
        rows = range(start, min(start + 300, 1000))
        await vectors.add_matrix("it", [f"w-{r}" for r in rows], data[rows], [metas[r] for r in rows])
        model |= {f"w-{r}": (data[r], metas[r]) for r in rows}
    again = [Item(f"w-{r}", data[r + 1], {"state": "IL", "moved": True}) for r in range(0, 900, 90)]
    await vectors.add("it", again)
    model |= {item.id: (item.vector, item.metadata) for item in again}
    await vectors.delete_many("it", [f"w-{r}" for r in range(5, 1000, 100)])
    model = {id: kept for id, kept in model.items() if id not in {f"w-{r}" for r in range(5, 1000, 100)}}
    query = data[17]
    ids = {f"w-{r}" for r in range(0, 1000, 3)} | {"none"}
    cases: list[dict[str, Any] | None] = [*FILTERS, {"moved": True}, None]
    for given in cases:
        wanted = Filter.parse(given)
        for chosen in (None, ids, {"w-90"}, frozenset[str]()):
            left = [
                (1 - float(v @ query) / float(np.linalg.norm(v) * np.linalg.norm(query)), id)
                for id, (v, meta) in model.items()
                if (wanted is None or wanted.matches(meta)) and (chosen is None or id in chosen)
            ]
            answer = await vectors.ask("it", Ask(20, query, filter=wanted, ids=chosen))
            assert [hit.id for hit in answer.near] == [id for _, id in sorted(left)[:20]]
            if given is not None or chosen is not None:
                assert answer.left_out == len(model) - len(left)
    with pytest.raises(InvalidInput, match=r"filter\.state\.\$regex"):
        await vectors.ask("it", Ask(3, query, filter=Filter.parse({"state": {"$regex": "("}})))
    await vectors.aclose()


@pytest.mark.anyio
async def test_an_empty_index_checks_filters_too(home: Path) -> None:
    vectors = Vectors(home, Storage(home, config.Storage()), config.Vectors())
    await vectors.create("it", 2)
    answer = await vectors.ask("it", Ask(3, [1, 0], filter=Filter.parse({"a": 1}), ids={"x"}))
    assert (answer.near, answer.left_out) == ([], 0)
    with pytest.raises(InvalidInput):
        await vectors.ask("it", Ask(3, [1, 0], filter=Filter.parse({"a": {"$regex": "("}})))
    await vectors.aclose()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_are_read_from_any_part_of_a_column(kind: pa.DataType) -> None:
    column = pa.array(["a", "", "żółw", "\U0001f600 z"], kind)
    read = Texts(column[1:])
    assert [read[row] for row in range(3)] == column[1:].to_pylist()
    assert Texts(column[:0]) and Texts(pa.array(["", ""], kind))[1] == ""
