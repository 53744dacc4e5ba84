"""Result handles through the door."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse import InvalidInput, Lakehouse, NotFound

pytestmark = pytest.mark.anyio


async def test_a_kept_value_reads_back_whole(lake: Lakehouse) -> None:
    """A-S2-3, the handle: pages and the resource give the whole value."""
    value = {"results": ["é" * 100] * 1000}
    id = await lake.results.keep_json(value)
    text, offset = "", 0
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
