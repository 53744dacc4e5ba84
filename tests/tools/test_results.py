"""Result handles through the door."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse import InvalidInput, Lakehouse, NotFound

pytestmark = pytest.mark.anyio


async def test_a_kept_value_reads_back_whole(lake: Lakehouse) -> None:
    """A-S2-3, the handle: pages and the resource give the whole value."""
    value = {"results": ["é" * 100] * 1000}
    id = await lake.results.keep_json(value)
    text = ""
    offset: int | None = 0
    while offset is not None:
        page = await lake.call("get_result", {"id": f"lakehouse://results/{id}", "offset": offset})
        assert len(json.dumps(page, ensure_ascii=False).encode()) < lake.config.server.max_text_bytes
        text, offset = text + page["text"], page.get("next_offset")
    assert json.loads(text) == value
    assert json.loads(await lake.call("results.whole", {"id": id})) == value


async def test_kept_rows_read_back_in_pages(lake: Lakehouse, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "at": pa.array([0, 1, None], pa.timestamp("s", "UTC"))})
    with pa.ipc.new_file(tmp_path / "r.arrow", table.schema) as writer:
        writer.write_table(table)
    columns = [{"name": "id", "type": "BIGINT"}, {"name": "at", "type": "TIMESTAMP WITH TIME ZONE"}]
    id = await lake.results.keep_rows(columns, tmp_path / "r.arrow", 3, False)
    page = await lake.call("get_result", {"id": id, "limit": 2})
    assert (page["columns"], page["row_count"], page["complete"]) == (columns, 3, False)
    assert (page["rows"], page.get("next_offset")) == ([[1, "1970-01-01T00:00:00Z"], [2, "1970-01-01T00:00:01Z"]], 2)
    page = await lake.call("get_result", {"id": id, "offset": page["next_offset"]})
    assert (page["rows"], page.get("next_offset")) == ([[3, None]], None)


async def test_bad_handles(lake: Lakehouse) -> None:
    with pytest.raises(NotFound, match="expired"):
        await lake.call("get_result", {"id": "0" * 32})
    for arguments in ({"id": "x", "offset": -1}, {"id": "x", "limit": 0}, {}):
        with pytest.raises(InvalidInput):
            await lake.call("get_result", arguments)


async def over_mcp(lake: Lakehouse, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What an MCP client is shown."""
    limit = lake.config.server.max_text_bytes
    shown, text = await lake.fitted(await lake.call(name, arguments, via="mcp"), limit)
    assert len(text) <= limit
    assert isinstance(shown, dict)
    return shown


async def pages_over_mcp(lake: Lakehouse, handle: str, **limit: int) -> list[dict[str, Any]]:
    """Every page of a result as an MCP client follows them."""
    pages: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        pages.append(await over_mcp(lake, "get_result", {"id": handle, "offset": offset} | limit))
        assert pages[-1]["offset"] == offset and "truncated" not in pages[-1]
        offset = pages[-1].get("next_offset")
    return pages


LIMITS: list[dict[str, int]] = [{}, {"limit": 10_000}, {"limit": 37}]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.slow
async def test_a_long_table_reads_on_by_rows(lake: Lakehouse, limit: dict[str, int]) -> None:
    """A-S2-3 for rows: the handle's pages are rows too, whatever size is asked for, and none is lost."""
    sql = "SELECT i, repeat('é\"\u2028', 1 + (i % 40)::INT) AS t, sum(i) OVER (ORDER BY i) AS s FROM range(1200) r(i)"
    shown = await over_mcp(lake, "query_sql", {"sql": sql})
    assert shown["truncated"] and 0 < len(shown["rows"]) < shown["row_count"] == 1200
    whole = json.loads(await lake.call("results.whole", {"id": shown["handle"]}))
    assert (len(whole["rows"]), whole["columns"], whole["row_count"]) == (1200, shown["columns"], 1200)
    pages = await pages_over_mcp(lake, shown["handle"], **limit)
    assert all(page["columns"] == shown["columns"] and page["row_count"] == 1200 for page in pages)
    rows = [row for page in pages for row in page["rows"]]
    assert rows == whole["rows"] and rows[1199] == [1199, 'é"\u2028' * 40, 1199 * 1200 // 2]


@pytest.mark.parametrize("limit", [{}, {"limit": 10_000}, {"limit": 997}])
async def test_pages_of_text_fit_in_an_answer(lake: Lakehouse, limit: dict[str, int]) -> None:
    """A-S2-3: a page that were itself cut would lose what its next_offset skips."""
    value = {"items": ['漢字\\"\u0001' * 500] * 20}
    pages = await pages_over_mcp(lake, await lake.results.keep_json(value), **limit)
    assert json.loads("".join(page["text"] for page in pages)) == value


@pytest.mark.slow
async def test_a_row_that_is_no_page_reads_back_as_text(lake: Lakehouse) -> None:
    """A-S2-3: one row may be longer than an answer."""
    sql = "SELECT i, repeat('long ', 20000) AS t FROM range(3) r(i)"
    shown = await over_mcp(lake, "query_sql", {"sql": sql, "max_rows": 1})
    page = await over_mcp(lake, "get_result", {"id": shown["handle"], "offset": 1, "limit": 1})
    assert (page["next_offset"], page["truncated"], page["rows"][0][0]) == (2, True, 1)
    pages = await pages_over_mcp(lake, page["handle"])
    assert json.loads("".join(page["text"] for page in pages))["rows"] == [[1, "long " * 20000]]


async def test_ids_complete_what_is_typed(lake: Lakehouse) -> None:
    """Only what can still be read is offered, and it can."""
    assert await lake.call("results.ids") == {"values": []}
    kept = [await lake.results.keep_json({"n": n}) for n in range(3)]
    assert sorted((await lake.call("results.ids"))["values"]) == sorted(kept)
    assert (await lake.call("results.ids", {"prefix": kept[1][:8]}))["values"] == [kept[1]]
    assert json.loads(await lake.call("results.whole", {"id": kept[1]})) == {"n": 1}
