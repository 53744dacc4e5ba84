"""What the door records, through the door."""

from pathlib import Path

import pytest

import lakehouse
from lakehouse import InvalidInput, Lakehouse

pytestmark = pytest.mark.anyio


async def test_every_call_is_an_op(lake: Lakehouse, home: Path) -> None:
    """S19.2: successes and failures, with their source, on disk and again after a restart."""
    await lake.call("fixture.upper", {"text": "hello"}, via="cli")
    with pytest.raises(InvalidInput):
        await lake.call("fixture.upper", {"txt": "hello"})
    recent = await lake.call("observer_recent", {})
    assert recent["count"] == 2
    bad, good = recent["ops"]
    assert (good["op"], good["source"], good["success"], good.get("error")) == ("fixture.upper", "cli", True, None)
    assert (good["input_summary"], good["output_summary"]) == ('{"text":"hello"}', '{"text":"HELLO"}')
    assert not bad["success"] and bad["error"].startswith("invalid_request:") and bad["source"] == "python"
    assert [op["id"] for op in (await lake.call("observer_recent", {"failed": True}))["ops"]] == [bad["id"]]
    assert (await lake.call("observer_recent", {"op": "fixture.upper", "limit": 1}))["count"] == 1
    stats = await lake.call("observer_stats", {})
    assert (stats["total"], stats["failed"], stats["by_op"]["fixture.upper"]) == (5, 1, 2)
    assert stats["by_source"] == {"cli": 1, "python": 4} and stats["persist_errors"] == 0
    assert (await lake.call("observer.stats_resource", {}))["total"] == 6
    await lake.aclose()
    async with lakehouse.open(home) as again:
        assert (await again.call("observer_recent", {"limit": 1000}))["ops"][-1] == good


async def test_what_changed_something_is_on_record_before_its_caller_hears_of_it(lake: Lakehouse, home: Path) -> None:
    """A process that is killed right after an answer has left its record; that of a read may come a little later."""
    await lake.call("ingest.file", {"name": "t", "content": "a\n1\n"})
    assert '"op":"ingest.file"' in (home / "observer" / "ops.jsonl").read_text(encoding="utf-8")


async def test_an_unknown_source_is_refused(lake: Lakehouse) -> None:
    """S19.1: no call can come from there, so an empty answer would mislead."""
    with pytest.raises(InvalidInput, match="source: 'mpc' is unknown"):
        await lake.call("observer_recent", {"source": "mpc"})
    assert (await lake.call("observer_recent", {"source": "workflow"}))["count"] == 0


@pytest.mark.parametrize("limit", [0, 1001, "x"])
async def test_bad_limits(lake: Lakehouse, limit: object) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        await lake.call("observer_recent", {"limit": limit})
