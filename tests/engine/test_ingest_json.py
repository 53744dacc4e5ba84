"""JSON and JSON Lines to datasets."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.ingesting import Bench

from lakehouse.engine.ingest.plain import Limits
from lakehouse.engine.ingest.records import records
from lakehouse.errors import InvalidInput

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
BIG = 2**63


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# Why, the values of one column, its type, and what is stored where it is not the values.
KINDS: list[tuple[str, list[Any], str, list[Any] | None]] = [
    ("whole numbers", [1, -5, BIG - 1, -BIG], "int64", None),
    ("beyond 64 bits", [BIG, 1], "string", [str(BIG), "1"]),
    ("numbers of both kinds", [1, 2.5], "double", [1.0, 2.5]),
    ("digits a double would lose", [10**16 + 1, 0.5], "string", ["10000000000000001", "0.5"]),
    ("strings are never numbers", ["1", "2.5"], "string", None),
    ("strings are never dates", ["2024-01-02", "2024-01-03"], "string", None),
    ("empty strings stay", ["", "x"], "string", None),
    ("truth", [True, False, None], "bool", None),
    ("truth and numbers", [True, 1], "string", ["true", "1"]),
    ("strings and numbers", ["x", 1, 1.5], "string", ["x", "1", "1.5"]),
    ("nested", [{"b": [1, {"c": "é"}]}, [], {}], "string", ['{"b":[1,{"c":"é"}]}', "[]", "{}"]),
    ("nothing", [None, None], "string", None),
]


@pytest.mark.parametrize("form", ["lines", "array", "pretty"])
async def test_kinds(bench: Bench, form: str) -> None:
    """A-S7-8 (JSON), S7.10: columns are the union of keys in the order first seen, types come from JSON itself."""
    rows: list[dict[str, Any]] = [{} for _ in range(4)]
    for why, values, _, _ in KINDS:
        for row, value in zip(rows, values, strict=False):
            row[why] = value
    text = {
        "lines": "\n".join(json.dumps(row) for row in rows),
        "array": json.dumps(rows, ensure_ascii=False),
        "pretty": json.dumps(rows, indent=2),
    }[form]
    stored = await bench.take(text.encode(), file="t.json")
    assert {c.name: c.type for c in stored.columns} == {why: kind for why, _, kind, _ in KINDS}
    assert [c.name for c in stored.columns] == [why for why, *_ in KINDS]
    table = bench.table(stored)
    for why, values, _, kept in KINDS:
        expected = kept if kept is not None else values
        assert table[why].to_pylist() == expected + [None] * (4 - len(expected))


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"a":1}\n{"a":2}',
        b'\n{"a":1}\r\n\n{"a":2}\r\n',
        b'{"a":1}\r{"a":2}\r',
        b'{"a":1} {"a":2}',
        b'{\n"a":1\n}\n{\n"a":2\n}\n',
        ' [ {"a":1} , {"a":2} ] '.encode("utf-16"),
        gzip.compress(b'[{"a":1},{"a":2}]', mtime=0),
    ],
)
async def test_forms(bench: Bench, data: bytes) -> None:
    stored = await bench.take(data, file="t.json")
    assert bench.table(stored).to_pydict() == {"a": [1, 2]}


async def test_numbers_beyond_everything(bench: Bench) -> None:
    digits = "9" * 5000
    stored = await bench.take(f'{{"a":{digits},"b":1e400}}\n{{"a":1,"b":0.5}}\n'.encode(), file="t.jsonl")
    assert bench.table(stored).to_pydict() == {"a": [digits, "1"], "b": ["1e400", "0.5"]}


BAD = [
    ("broken line", b'{"a":1}\n{"a":2}\n{"a":\n{"a":4}\n', "line 3"),
    ("missing comma", b'[{"a":1},\n{"a":2}\n{"a":3}]', "line 3"),
    ("broken early in a long array", b'[{"a":1},\n{"a" 2},\n' + b'{"a":1},\n' * 300_000 + b'{"a":2}]', "line 2"),
    ("trailing comma", b'[{"a":1},\n]', "line 2"),
    ("array not closed", b'[{"a":1}\n', "not closed"),
    ("string not closed", b'[{"a":1},\n{"a":"x', "line 2"),
    ("something after", b'[{"a":1}]\nx', "line 2"),
    ("not objects", b'[{"a":1},\n2]', "line 2: an object"),
    ("lists in lines", b'{"a":1}\n[1]\n', "line 2: an object"),
    ("NaN", b'{"a":1}\n{"a":NaN}\n', "line 2"),
    ("NaN in an array", b'[{"a":1},\n{"a":-Infinity}]', "line 2"),
    ("no rows", b"[]", "no row"),
    ("no keys", b"[{}]", "no columns"),
    ("keys alike", b'{"a":1,"A":2}', "columns 1, 2 are all called 'a' and 'A'"),
    ("an empty key", b'{"":1}', "column 1 has no name"),
    ("nested beyond reason", b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "too deeply"),
    ("the same in an array", b'[{"a":' + b'{"b":' * 200_000 + b"1" + b"}" * 200_000 + b"}]", "too deeply"),
    ("half a character", b'{"a":"x"}\n{"a":"\\ud800"}\n', "line 2, column 'a'"),
    ("half a character inside", b'{"a":["\\ud800"]}\n', "line 1, column 'a'"),
    ("not UTF-8", b'{"a":"x"}\n{"a":"\xff"}\n', "line 2: the bytes ff"),
    ("not UTF-8 in an array", b'[{"a":"x"},\n{"a":"\xff"}]', "line 2: the bytes ff"),
    ("too large inside a list", b'{"a":[1e400]}\n', "line 1"),
]


@pytest.mark.parametrize(("data", "words"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
async def test_bad_json(bench: Bench, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await bench.take(data, file="t.json")
    assert words in caught.value.detail
    assert bench.objects() == {} and bench.scratch() == []


async def test_types_asked_for(bench: Bench) -> None:
    rows = [
        {"n": "5", "d": "2024-01-02", "t": 3, "m": "2024-01-02T03:04:05Z", "b": "true", "f": "1.5"},
        {"n": "", "d": None, "t": [1], "m": None, "b": False, "f": 2},
    ]
    types = {"n": "BIGINT", "d": "DATE", "t": "VARCHAR", "m": "TIMESTAMPTZ", "b": "BOOLEAN", "f": "DOUBLE"}
    stored = await bench.take(json.dumps(rows).encode(), file="t.json", types=types)
    table = bench.table(stored)
    assert table.select(["n", "t", "b", "f"]).to_pydict() == {
        "n": [5, None],
        "t": ["3", "[1]"],
        "b": [True, False],
        "f": [1.5, 2.0],
    }
    assert [c.type for c in stored.columns][1:4:2] == ["date32[day]", "timestamp[us, tz=UTC]"]
    with pytest.raises(InvalidInput) as caught:
        await bench.take(b'{"n":1}\n{"n":1.5}\n{"n":"x"}\n{"n":true}\n', "bad", "t.jsonl", types={"n": "BIGINT"})
    assert [(row["line"], row["value"]) for row in caught.value.data["rows"]] == [(2, "1.5"), (3, "x"), (4, "true")]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3), values, max_size=4), min_size=1, max_size=6),
    form=st.sampled_from(["lines", "array", "pretty", "loose"]),
)
def test_every_form_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], form: str
) -> None:
    if form == "lines":
        text = "\n".join(json.dumps(row) for row in rows)
    elif form == "loose":
        text = " ".join(json.dumps(row, indent=1) for row in rows)
    else:
        text = json.dumps(rows, indent=1 if form == "pretty" else None)
    path = tmp_path_factory.getbasetemp() / "every.json"
    path.write_text(text, encoding="utf-8")
    assert [record.values for record in records(path, Limits(2**30, 2**20))] == rows


@pytest.mark.slow
async def test_memory_is_bounded_by_batches(bench: Bench, tmp_path: Path, cold_children: None) -> None:
    """A 60 MB array is read in less memory than its objects would take at once."""
    resource = pytest.importorskip("resource")
    source = tmp_path / "t.json"
    with source.open("w", encoding="utf-8") as file:
        file.write("[")
        for n in range(60_000):
            file.write(("," if n else "") + json.dumps({"id": n, "text": "x" * 1000}))
        file.write("]")
    stored = await bench.ingester.ingest_path(source, "t")
    assert stored.row_count == 60_000
    scale = 2**20 if sys.platform == "darwin" else 2**10
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / scale < 1024
