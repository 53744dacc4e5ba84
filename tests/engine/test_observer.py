"""Observed operations: ring, journal, refill, statistics, and never in the way of the work."""

import json
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from lakehouse import config
from lakehouse.engine import log
from lakehouse.engine.log import Log
from lakehouse.engine.observer import SOURCES, WORKFLOW, Observer
from lakehouse.engine.redact import Redactor
from lakehouse.errors import InvalidInput

pytestmark = pytest.mark.anyio


def observer(home: Path, ring: int = 1000) -> Observer:
    return Observer(home, config.Observer(ring_size=ring), Redactor({"A_TOKEN": "very-secret-value"}))


async def record(to: Observer, id: str, **changes: Any) -> None:
    call: dict[str, Any] = {
        "parent": None,
        "source": "python",
        "op": "x.y",
        "input": {},
        "output": {},
        "error": None,
        "seconds": 0.001,
    }
    await to.record_call(id=id, **{**call, **changes})


def lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "observer/ops.jsonl").read_text().splitlines()]


async def test_the_ring_wraps_the_journal_keeps_all_and_a_restart_refills(home: Path) -> None:
    """A-S19-2."""
    first = observer(home, ring=5)
    await first.start()
    for n in range(12):
        await record(first, f"{n:02d}")
    assert [op.id for op in first.recent(100)] == ["11", "10", "09", "08", "07"]
    assert [line["id"] for line in lines(home)] == [f"{n:02d}" for n in range(12)]
    kept = first.recent(100)
    await first.aclose()
    again = observer(home, ring=5)
    await again.start()
    assert again.recent(100) == kept
    assert again.stats().since == kept[-1].ts
    larger = observer(home, ring=100)
    await larger.start()
    assert len(larger.recent(100)) == 12
    await record(larger, "12")
    assert larger.stats().total == 13
    await larger.aclose()


async def test_corrupt_lines_are_skipped_at_the_restart(home: Path) -> None:
    first = observer(home)
    for n in range(3):
        await record(first, f"{n}")
    await first.aclose()
    path = home / "observer/ops.jsonl"
    text = path.read_text().splitlines()
    path.write_text("\n".join([text[0], text[1][:-20], text[2], text[2][:30]]))
    again = observer(home)
    await again.start()
    assert [op.id for op in again.recent()] == ["2", "0"]
    await record(again, "3")
    assert [line["id"] for line in (json.loads(path.read_text().splitlines()[-1]),)] == ["3"]
    await again.aclose()


async def test_a_journal_that_cannot_be_written_fails_nothing(home: Path) -> None:
    """A-S19-3: the op is in the ring, the call goes on, persist_errors is 1 and says why without a path."""
    (home / "observer/ops.jsonl").mkdir(parents=True)
    broken = observer(home)
    await broken.start()
    await record(broken, "1")
    stats = broken.stats()
    assert (stats.total, stats.ring_size, stats.persist_errors) == (1, 1, 1)
    assert stats.last_error == "Is a directory"
    (home / "observer/ops.jsonl").rmdir()
    await record(broken, "2")
    assert broken.stats().persist_errors == 1
    assert [line["id"] for line in lines(home)] == ["2"]
    await broken.aclose()


async def test_statistics(home: Path) -> None:
    """A-S19-5, S19.3: counts, rate and nearest-rank percentiles."""
    watched = observer(home, ring=20)
    empty = watched.stats()
    assert (empty.total, empty.success_rate, empty.p50_ms, empty.p95_ms) == (0, None, None, None)
    for n in range(1, 21):
        source, error = "mcp" if n <= 15 else "cli", "bad" if n > 17 else None
        await record(watched, f"{n}", source=source, op=f"op.{n % 2}", seconds=n / 1000, error=error)
    stats = watched.stats()
    assert (stats.total, stats.failed, stats.success_rate) == (20, 3, 0.85)
    assert stats.by_source == {"cli": 5, "mcp": 15}
    assert stats.by_op == {"op.0": 10, "op.1": 10}
    assert (stats.p50_ms, stats.p95_ms) == (10.0, 19.0)
    assert (stats.ring_size, stats.ring_capacity, stats.persist_errors, stats.last_error) == (20, 20, 0, None)
    stats.by_op.clear()
    assert watched.stats().by_op == {"op.0": 10, "op.1": 10}
    await watched.aclose()


async def test_recent_chooses(home: Path) -> None:
    watched = observer(home)
    await record(watched, "1", source="mcp", op="a.b")
    await record(watched, "2", source="cli", op="a.b", error="boom")
    await record(watched, "3", source="cli", op="c.d", parent="2")
    assert [op.id for op in watched.recent(2)] == ["3", "2"]
    assert [op.id for op in watched.recent(op="a.b")] == ["2", "1"]
    assert [op.id for op in watched.recent(source="cli", failed=True)] == ["2"]
    assert watched.recent(1)[0].parent == "2"
    with pytest.raises(AttributeError):
        watched.recent(1)[0].op = "changed"  # type: ignore[misc]
    await watched.aclose()


async def test_summaries_are_short_and_hold_no_credentials(home: Path) -> None:
    """S19.1, S3.5: also in the file on disk."""
    watched = observer(home)
    await record(
        watched,
        "1",
        input={"password": "hunter2hunter2", "q": "x very-secret-value y"},
        output={"rows": [["very-secret-value", n] for n in range(1000)]},
        error="could not reach postgres://joe:very-secret-value@db " + "x" * 1000,
    )
    (op,) = watched.recent()
    assert max(len(op.input_summary), len(op.output_summary), len(op.error or "")) <= 500
    on_disk = (home / "observer/ops.jsonl").read_text()
    for text in (str(op), on_disk):
        assert "hunter2" not in text and "very-secret" not in text
    assert not op.success and op.output_summary.startswith('{"rows":[["[redacted]",0]')
    await watched.aclose()


async def test_unknown_sources_and_empty_ops_are_refused(home: Path) -> None:
    """S19.1, A-S19-1 without HTTP."""
    watched = observer(home)
    for changes in ({"source": "elsewhere"}, {"op": "  "}):
        with pytest.raises(InvalidInput):
            await record(watched, "1", **changes)
    assert watched.stats().total == 0
    assert WORKFLOW in SOURCES and len(SOURCES) == 11
    await watched.aclose()


async def test_calls_that_end_together_are_all_written(home: Path) -> None:
    """Those that finish while a write is under way gather for the next; a cancelled one is written, too."""
    watched = observer(home)
    async with anyio.create_task_group() as tasks:
        for n in range(100):
            tasks.start_soon(record, watched, f"{n:03d}")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await record(watched, "100")
    await watched.aclose()
    assert sorted(line["id"] for line in lines(home)) == [f"{n:03d}" for n in range(101)]


async def test_reads_do_not_fill_the_memory_while_the_disk_hangs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too many is counted; the rest is written, in order, once the disk answers."""
    monkeypatch.setattr(log, "MAX_BEHIND", 10)
    at_it, answers = threading.Event(), threading.Event()
    real = Log.append

    def hang(self: Log, records: Any) -> None:
        at_it.set()
        answers.wait()
        real(self, records)

    monkeypatch.setattr(Log, "append", hang)
    watched = observer(home)
    await record(watched, "first", settled=False)
    await anyio.to_thread.run_sync(at_it.wait)
    for n in range(12):
        await record(watched, f"{n:02d}", settled=False)
    assert watched.stats().persist_errors == 2 and watched.stats().last_error == "the disk does not keep up"
    assert watched.stats().total == 13
    answers.set()
    await watched.aclose()
    assert [line["id"] for line in lines(home)] == ["first", *(f"{n:02d}" for n in range(10))]


async def test_records_of_another_version_are_read_as_far_as_they_go(home: Path) -> None:
    first = observer(home)
    await record(first, "1")
    newer = [{"id": "2"}, {**vars(first.recent()[0]), "id": "3", "tags": ["new"]}]
    await first.aclose()
    await anyio.to_thread.run_sync(Log(home / "observer/ops.jsonl").append, newer)
    again = observer(home)
    await again.start()
    assert [op.id for op in again.recent()] == ["3", "1"]


async def test_a_read_is_written_behind_and_in_order(home: Path) -> None:
    """Nobody waits for it; closing does, and another life goes on where this one ended."""
    seen = observer(home)
    await seen.start()
    for n in range(200):
        await record(seen, f"{n:03d}", settled=False)
    assert seen.stats().total == 200
    await seen.aclose()
    assert [line["id"] for line in lines(home)] == [f"{n:03d}" for n in range(200)]
    await record(seen, "more", settled=False)
    await seen.aclose()
    assert lines(home)[-1]["id"] == "more"


async def test_a_read_is_on_disk_soon_without_anybody_closing(home: Path) -> None:
    seen = observer(home)
    await seen.start()
    await record(seen, "one", settled=False)
    with anyio.fail_after(20):
        while not await anyio.Path(home / "observer/ops.jsonl").exists() or not lines(home):
            await anyio.sleep(0.005)
    assert lines(home)[0]["id"] == "one"
    await seen.aclose()


async def test_a_failed_write_behind_is_counted(home: Path) -> None:
    """A-S19-3."""
    (home / "observer/ops.jsonl").mkdir(parents=True)
    broken = observer(home)
    await broken.start()
    await record(broken, "x", settled=False)
    await broken.aclose()
    stats = broken.stats()
    assert (stats.total, stats.persist_errors) == (1, 1) and str(home) not in (stats.last_error or "")
