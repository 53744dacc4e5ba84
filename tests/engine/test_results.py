"""Result handles: pages that add up to the whole, expiry, bounded room, and ids nobody guesses."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine.results import PAGE_BYTES, PAGE_CHARS, Results, RowPage, TextPage
from lakehouse.errors import InvalidInput, NotFound, TooLarge, Upstream

pytestmark = pytest.mark.anyio
COLUMNS = [{"name": "id", "type": "BIGINT"}, {"name": "text", "type": "VARCHAR"}]


@pytest.fixture
def results(home: Path) -> Results:
    return Results(home, config.Results())


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """An Arrow IPC file of ids and texts in batches."""

    def write(rows: int, per_batch: int = 7, text: str = "text") -> Path:
        path = tmp_path / "rows.arrow"
        schema = pa.schema({"id": pa.int64(), "text": pa.string()})
        with pa.ipc.new_file(path, schema) as writer:
            for first in range(0, rows, per_batch):
                ids = list(range(first, min(first + per_batch, rows)))
                writer.write(pa.record_batch({"id": ids, "text": [f"{text}{i}" for i in ids]}, schema=schema))
        return path

    return write


async def text_of(results: Results, id: str, limit: int | None) -> str:
    """All pages of a JSON result in order."""
    parts, offset = [], 0
    while True:
        page = await results.read(id, offset, limit)
        assert isinstance(page, TextPage) and page.offset == offset
        assert limit is None or len(page.text) <= limit
        parts.append(page.text)
        if page.next_offset is None:
            assert page.total_chars == sum(map(len, parts))
            return "".join(parts)
        assert page.next_offset == offset + len(page.text) > offset
        offset = page.next_offset


async def rows_of(results: Results, id: str, limit: int | None) -> list[list[Any]]:
    rows: list[list[Any]] = []
    offset: int | None = 0
    while offset is not None:
        page = await results.read(id, offset, limit)
        assert isinstance(page, RowPage) and page.offset == len(rows)
        rows += page.rows
        offset = page.next_offset
    return rows


@pytest.mark.parametrize("limit", [None, 1000, 65_536, 65_537, 10_000_000])
async def test_pages_of_text_are_the_whole(results: Results, limit: int | None) -> None:
    """A-S2-3, the handle: it reads back whole, also where characters have several bytes and pages cross blocks."""
    value = {"rows": [[n, 'héllo 漢字 🎉\n"' * (n % 7)] for n in range(9000)]}
    id = await results.keep_json(value)
    text = await text_of(results, id, limit)
    assert json.loads(text) == value
    assert text == await results.whole(id)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(JSON, st.integers(1, 40))
def test_any_json_value_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any, limit: int) -> None:
    async def check() -> None:
        results = Results(tmp_path_factory.mktemp("home"), config.Results())
        assert json.loads(await text_of(results, await results.keep_json(value), limit)) == value

    anyio.run(check)


async def test_odd_values(results: Results) -> None:
    """S0.4: no NaN in JSON; half a surrogate pair is escaped; what is not JSON is refused."""
    assert json.loads(await results.whole(await results.keep_json([math.nan, math.inf, 1.5]))) == [None, None, 1.5]
    assert json.loads(await results.whole(await results.keep_json({"x": "\ud800"}))) == {"x": "\ud800"}
    assert await results.whole(await results.keep_json("")) == '""'
    with pytest.raises(InvalidInput):
        await results.keep_json({"x": object()})


@pytest.mark.parametrize("limit", [None, 1, 7, 8, 1000])
async def test_pages_of_rows_are_the_whole(results: Results, table: Callable[..., Path], limit: int | None) -> None:
    path = table(100)
    id = await results.keep_rows(COLUMNS, path, 100, True)
    assert not path.exists()
    assert await rows_of(results, id, limit) == [[n, f"text{n}"] for n in range(100)]
    page = await results.read(Results.uri_of(id), 90, 5)
    assert page == RowPage(COLUMNS, [[n, f"text{n}"] for n in range(90, 95)], 100, 90, 95, True)
    whole = json.loads(await results.whole(id))
    assert (whole["columns"], whole["row_count"], whole["complete"], len(whole["rows"])) == (COLUMNS, 100, True, 100)


async def test_reading_past_the_end_is_an_empty_page(results: Results, table: Callable[..., Path]) -> None:
    id = await results.keep_rows(COLUMNS, table(3), 3, False)
    for offset in (3, 10**12):
        page = await results.read(id, offset)
        assert isinstance(page, RowPage) and (page.rows, page.next_offset, page.complete) == ([], None, False)
    text = await results.keep_json([1])
    page_of_text = await results.read(text, 10**12)
    assert isinstance(page_of_text, TextPage) and (page_of_text.text, page_of_text.next_offset) == ("", None)
    empty = await results.keep_rows(COLUMNS, table(0), 0, True)
    assert await rows_of(results, empty, None) == []
    for offset, limit in ((-1, None), (0, 0)):
        with pytest.raises(InvalidInput):
            await results.read(id, offset, limit)
    with pytest.raises(InvalidInput, match="10000"):
        await results.read(id, 0, 10_001)


async def test_a_page_without_a_limit_suits_a_context(results: Results, table: Callable[..., Path]) -> None:
    wide = await results.keep_rows(COLUMNS, table(300, 300, "x" * 3000), 300, True)
    page = await results.read(wide)
    assert isinstance(page, RowPage)
    assert PAGE_BYTES - 4000 < len(json.dumps(page.rows)) < PAGE_BYTES + 1000
    assert len(await rows_of(results, wide, None)) == 300
    text = await results.read(await results.keep_json("x" * 100_000))
    assert isinstance(text, TextPage) and len(text.text) == PAGE_CHARS


async def test_nothing_over_sixteen_mib_is_inline(results: Results, table: Callable[..., Path]) -> None:
    """S2.5."""
    text = await results.keep_json("x" * (16 * 2**20))
    rows = await results.keep_rows(COLUMNS, table(20, 5, "x" * 2**20), 20, True)
    for id in (text, rows):
        with pytest.raises(TooLarge, match="get_result"):
            await results.whole(id)
    page = await results.read(rows, 0, 20)
    assert isinstance(page, RowPage) and page.next_offset == len(page.rows) == 15
    huge = await results.keep_rows(COLUMNS, table(2, 1, "x" * (16 * 2**20)), 2, True)
    with pytest.raises(TooLarge, match="row 1"):
        await results.read(huge, 1, 1)


@pytest.mark.parametrize("id", ["", "x", "0" * 32, "../../etc/passwd", "lakehouse://results/", "A" * 32, "é" * 200])
async def test_an_unknown_id_is_not_found(results: Results, id: str) -> None:
    for work in (results.read(id), results.whole(id)):
        with pytest.raises(NotFound):
            await work


async def test_ids_are_unguessable_and_private(results: Results, home: Path, table: Callable[..., Path]) -> None:
    ids = {await results.keep_json(n) for n in range(20)}
    ids.add(await results.keep_rows(COLUMNS, table(1), 1, True))
    assert len(ids) == 21 and all(len(id) == 32 and int(id, 16) >= 0 for id in ids)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (home / "results").iterdir())


async def test_handles_expire(home: Path, table: Callable[..., Path]) -> None:
    """S2.5: after results.keep_secs they are not found, and gone from the disk at the next write or start."""
    results = Results(home, config.Results(keep_secs=60))
    old = [await results.keep_json(1), await results.keep_rows(COLUMNS, table(1), 1, True)]
    fresh = await results.keep_json(2)
    for id in old:
        os.utime(home / "results" / f"{id}.note", (time.time() - 61,) * 2)
        with pytest.raises(NotFound, match="60 seconds"):
            await results.read(id)
    await Results(home, config.Results(keep_secs=60)).sweep()
    assert {path.stem for path in (home / "results").iterdir()} == {fresh}
    os.utime(home / "results" / f"{fresh}.note", (0, 0))
    newest = await results.keep_json(3)
    assert {path.stem for path in (home / "results").iterdir()} == {newest}


async def test_the_oldest_make_room(home: Path) -> None:
    """All handles together stay under results.max_bytes; one that alone is over it is refused."""
    results = Results(home, config.Results(max_bytes=2**20))
    ids = []
    for n in range(6):
        ids.append(await results.keep_json("x" * 300_000))
        os.utime(home / "results" / f"{ids[-1]}.note", (time.time() - 100 + n,) * 2)
    kept = {path.stem for path in (home / "results").iterdir()}
    assert kept == set(ids[3:])
    assert sum(path.stat().st_size for path in (home / "results").glob("*.json")) <= 2**20
    with pytest.raises(TooLarge, match=r"results\.max_bytes"):
        await results.keep_json("x" * 2**20)
    assert kept == {path.stem for path in (home / "results").iterdir()}


async def test_start_up_removes_what_was_never_finished(home: Path, results: Results) -> None:
    kept = await results.keep_json(1)
    for name in ("0" * 32 + ".json", "1" * 32 + ".arrow", "2" * 32 + ".json#123"):
        (home / "results" / name).write_bytes(b"partial")
    await Results(home, config.Results()).sweep()
    assert sorted(path.name for path in (home / "results").iterdir()) == [f"{kept}.json", f"{kept}.note"]
    await Results(home / "nothing", config.Results()).sweep()


async def test_only_whole_arrow_files_are_kept(results: Results, home: Path, table: Callable[..., Path]) -> None:
    path = table(10)
    data = path.read_bytes()
    with pytest.raises(InvalidInput, match="10 rows, not 11"):
        await results.keep_rows(COLUMNS, path, 11, True)
    for bad in (data[:-20], b"", b"PAR1"):
        path.write_bytes(bad)
        with pytest.raises(InvalidInput, match="Arrow"):
            await results.keep_rows(COLUMNS, path, 10, True)
    path.unlink()
    with pytest.raises(InvalidInput):
        await results.keep_rows(COLUMNS, path, 10, True)
    assert not (home / "results").exists()


async def test_a_full_disk_is_an_upstream_error(results: Results, home: Path) -> None:
    home.mkdir()
    (home / "results").write_bytes(b"in the way")
    with pytest.raises(Upstream) as failed:
        await results.keep_json(1)
    assert str(home) not in str(failed.value)
