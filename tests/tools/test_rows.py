"""Rows changed, removed and read again through the door."""

from pathlib import Path
from typing import Any

import pytest

from lakehouse import Conflict, InvalidInput, Lakehouse

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_everything_reads_a_version_merged(lake: Lakehouse) -> None:
    """A-S8-9: SQL, the sample and a corpus show base and changes as one table, and the version before as it was."""

    async def ingest(content: str, **more: Any) -> Any:
        return await lake.call("ingest.file", {"name": "t", "content": content, **more})

    await ingest("id,text,n\n1,one,1\n2,two,2\n3,three,3\n", key=["id"])
    made = await ingest("n,text,id,day\n20,zwei,2,2024-05-01\n4,four,4,\n", mode="upsert", evolve=True)
    assert (made["version"], made["row_count"], made["rows_read"], made["replaced"]) == (2, 4, 2, 1)
    gone = await lake.call("delete_rows", {"name": "t", "where": "text = 'three'"})
    assert gone == {"name": "t", "version": 3, "deleted": 1, "row_count": 3}
    expected = [[1, "one", 1, None], [2, "zwei", 20, "2024-05-01"], [4, "four", 4, None]]
    for _ in range(2):
        found = await lake.call("sql.query", {"sql": "SELECT * FROM t ORDER BY id"})
        assert found["rows"] == expected
        sample = await lake.call("datasets.sample", {"name": "t"})
        assert sorted(sample["rows"]) == expected and sample["row_count"] == 3
        corpus = {"name": "c", "dataset": "t", "text": ["text"], "id": "id", "drop_existing": True}
        assert (await lake.call("build_corpus", corpus))["count"] == 3
        folded = await lake.call("compact_dataset", {"name": "t"})
        assert folded["files"] == 1 and folded["row_count"] == 3
    assert folded["version"] == 4
    assert (await lake.call("datasets.get", {"name": "t", "version": 1}))["row_count"] == 3


async def test_what_is_refused(lake: Lakehouse, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,x\n1,a\n", encoding="utf-8")
    await lake.call("ingest.file", {"name": "t", "path": str(path)})
    with pytest.raises(InvalidInput, match="exactly one"):
        await lake.call("delete_rows", {"name": "t", "where": "true", "keys": [1]})
    with pytest.raises(InvalidInput, match="exactly one"):
        await lake.call("register_delta", {"name": "t"})
    with pytest.raises(Conflict, match="have none"):
        await lake.call("delete_rows", {"name": "t", "keys": [1]})
    with pytest.raises(InvalidInput, match="mode"):
        await lake.call("ingest.file", {"name": "t", "path": str(path), "mode": "merge"})
