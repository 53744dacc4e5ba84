"""What callers at a distance, and those bound to a profile, must not get by way of the retrieval plane."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import numpy as np
import pytest

import lakehouse
from lakehouse import Forbidden, Lakehouse
from lakehouse.engine.vectors import masks
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio
AGENT = Caller(via="mcp")


@pytest.fixture
async def lake(tmp_path: Path) -> AsyncIterator[Lakehouse]:
    """A data directory and a secrets file within a folder that corpora may be built from."""
    work = tmp_path / "work"
    (work / "docs").mkdir(parents=True)
    (work / "docs" / "guide.md").write_text("# Guide\nAll about it.\n")
    (work / "secrets.toml").write_text('token = "open sesame"\n')
    (work / "docs" / "linked.md").symlink_to(work / "secrets.toml")
    settings = {
        "embed.provider": "hash",
        "corpora.folders": [str(work)],
        "storage.secrets": str(work / "secrets.toml"),
    }
    async with lakehouse.open(work / "lake", overrides=settings) as lake:
        yield lake


async def test_a_folder_is_read_without_what_is_lakehouses_own(lake: Lakehouse, tmp_path: Path) -> None:
    """The data directory, buckets and credentials within an allowed folder: neither named, nor walked into."""
    work = tmp_path / "work"
    (work / "lake" / "uploads").mkdir(exist_ok=True)
    (work / "lake" / "uploads" / "others.txt").write_text("of somebody else")
    for own in ("lake", "lake/uploads", "docs/../lake"):
        with pytest.raises(Forbidden):
            await lake.call("build_corpus", {"name": "own", "folder": str(work / own), "include": ["*"]}, caller=AGENT)
    given = {"name": "all", "folder": str(work), "include": ["*"]}
    built = await lake.call("build_corpus", given, caller=AGENT)
    found = await lake.call("matrix_search", {"query_text": "open sesame", "corpora": ["all"], "k": 50})
    assert {hit["metadata"]["doc_id"] for hit in found["results"]} == {"docs/guide.md"}
    assert built["skipped"] == 2  # the secrets, and the link to them


async def test_a_search_ends_with_its_call(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 regular expressions over many long texts take minutes: a call that is over gives its thread back."""
    await lake.call("create_index", {"name": "long", "dimension": 1})
    ids = [f"i{n}" for n in range(1000)]
    rows = np.ones((len(ids), 1), np.float32)
    await lake.vectors.add_matrix("long", ids, rows, [{"t": "ab " * 60 + id} for id in ids])
    tested: list[Any] = []
    known = masks._tested
    with anyio.CancelScope() as call:

        def one(test: Any, fields: Any) -> Any:
            if not tested:
                anyio.from_thread.run_sync(call.cancel)
            tested.append(test)
            return known(test, fields)

        monkeypatch.setattr(masks, "_tested", one)
        some = [{"t": {"$regex": f"(a|b)*{n}$"}} for n in range(60)]
        await lake.call("search_vectors", {"index": "long", "vector": [1.0], "filter": {"$or": some}})
    assert call.cancelled_caught and len(tested) == 1
