"""The journal of mutations: nothing lost, nothing twice, whoever is killed when."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from lakehouse.engine.acting import Actor, acting
from lakehouse.engine.journal import Journal
from lakehouse.engine.journal import event as form
from lakehouse.engine.journal.ahead import Ahead
from lakehouse.engine.journal.event import Event
from lakehouse.engine.redact import Redactor
from lakehouse.engine.storage import Storage
from lakehouse.errors import InvalidInput, TooLarge, Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(home: Path, storage: Storage) -> Journal:
    return made(home, storage)


def made(home: Path, storage: Storage) -> Journal:
    return Journal(home, lambda: storage.bucket, Redactor(environ={}, values=["sesame"]))


async def ids(journal: Journal, **asked: Any) -> list[str]:
    return [event.entity_id for event in (await journal.query(**asked)).events]


async def test_flushed_and_fresh_ones_are_one(journal: Journal, storage: Storage) -> None:
    """A-S28-3: newest first over files and what is not in one yet, nothing twice, also while it is flushed."""
    for number in range(6):
        await journal.record("put", "object", str(number))
        if number % 2:
            await journal.flush()
    await journal.record("put", "object", "6")
    wanted = [str(number) for number in range(6, -1, -1)]
    assert await ids(journal) == wanted and await ids(journal, limit=3) == wanted[:3]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.flush)
        for _ in range(10):
            assert await ids(journal) == wanted
    assert await ids(journal) == wanted
    assert len((await storage.bucket.list("_journal/")).objects) == 4
    found = (await journal.query()).events
    assert [event.id for event in found] == sorted((event.id for event in found), reverse=True)


async def test_what_is_asked_for(journal: Journal) -> None:
    """S28.2: by entity, action, actor and time."""
    token = acting.set(Actor("ann", "call-1"))
    await journal.record("ingest", "dataset", "a", after={"version": 1})
    acting.reset(token)
    await journal.flush()
    await journal.record("drop", "dataset", "a", before={"version": 1})
    await journal.record("put", "object", "a")
    assert len(await ids(journal, entity_id="a")) == 3
    (one,) = (await journal.query(actor="ann")).events
    assert (one.action, one.after, one.correlation_id, one.appended) == ("ingest", {"version": 1}, "call-1", False)
    assert [e.action for e in (await journal.query(entity_type="dataset")).events] == ["drop", "ingest"]
    assert await ids(journal, action="put", since=one.ts, until=one.ts[:10]) == ["a"]
    assert await ids(journal, until=one.ts) == ["a"] and await ids(journal, since="2999-01-01") == []
    assert len(await ids(journal, since=one.ts[:10])) == 3 and await ids(journal, until="2001-01-01") == []
    with pytest.raises(InvalidInput, match="since: 'soon' is no moment"):
        await journal.query(since="soon")


@pytest.mark.parametrize("stored", [False, True])
async def test_a_flush_that_is_cut_short(
    journal: Journal, home: Path, storage: Storage, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the file is stored, or after that and before the write-ahead file is gone."""
    for number in range(3):
        await journal.record("put", "object", str(number))

    class Killed(Exception):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Ahead, "remove", killed) if stored else patch.setattr(form, "encoded", killed)
        with pytest.raises(Killed):
            await journal.flush()
    again = made(home, storage)
    assert await ids(again) == ["2", "1", "0"]
    await again.record("put", "object", "3")
    await again.flush()
    assert await ids(again) == ["3", "2", "1", "0"]
    assert not list((home / "journal").iterdir())
    assert len((await storage.bucket.list("_journal/")).objects) == 2


WRITER = """
import sys, anyio
from pathlib import Path
from lakehouse.engine.journal import Journal
from lakehouse.engine.redact import Redactor
from lakehouse.engine.storage import Storage

async def main(home):
    storage = Storage(home, config.Storage())
    journal = Journal(home, lambda: storage.bucket, Redactor(environ={}))
    async def write(mine):
        for number in range(10_000):
            await journal.record("put", "object", f"{mine}-{number}")
            print(f"{mine}-{number}", flush=True)
            if number % 7 == 0:
                await journal.flush()
    async with anyio.create_task_group() as tasks:
        for mine in range(4):
            tasks.start_soon(write, mine)

anyio.run(main, Path(sys.argv[1]))
"""


@pytest.mark.slow
async def test_killed_writers_lose_nothing(home: Path, storage: Storage) -> None:
    """A-S28-2: every event that was acknowledged is there after kill -9, once, whatever was under way."""
    acknowledged: set[str] = set()
    for count in (1, 25, 120):
        args = [sys.executable, "-c", WRITER, str(home)]

        def run(args: list[str] = args, count: int = count) -> list[str]:
            process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(count)]
            process.send_signal(signal.SIGKILL)
            return lines + process.communicate()[0].splitlines(keepends=True)

        lines = await anyio.to_thread.run_sync(run)
        acknowledged |= {f"{count}:{line.strip()}" for line in lines if line.endswith("\n")}
        journal = made(home, storage)
        found = await ids(journal, limit=100_000)
        mine = [line.partition(":")[2] for line in acknowledged if line.startswith(f"{count}:")]
        for name in mine:
            assert name in found
        events = (await journal.query(limit=100_000)).events
        assert len({event.id for event in events}) == len(events)
        await journal.aclose()


async def test_who_it_is_of_is_not_said_by_callers(journal: Journal) -> None:
    """What a caller appends is marked as that, and has the caller's own name."""
    token = acting.set(Actor("bob", "call-2"))
    made = await journal.append("reviewed", "dataset", "a", after={"api_key": "k1", "note": "open sesame"})
    acting.reset(token)
    assert (made.actor, made.appended, made.correlation_id) == ("bob", True, "call-2")
    assert made.after == {"api_key": "[redacted]", "note": "open [redacted]"}
    assert (await journal.query()).events == [made]
    await journal.flush()
    assert (await journal.query()).events == [made]
    for action in ("", "x" * 201):
        with pytest.raises(InvalidInput, match="action: "):
            await journal.append(action, "b", "c")
    with pytest.raises(TooLarge, match="after: "):
        await journal.append("a", "b", "c", after={"a": "x" * 20_000})


async def test_a_disk_that_takes_no_event_undoes_nothing(home: Path, storage: Storage, journal: Journal) -> None:
    """Fail-open: counted and said; what a caller itself appends fails."""
    home.mkdir()
    (home / "journal").write_text("a file where the folder has to be", encoding="utf-8")
    await journal.record("put", "object", "a")
    assert journal.unwritten == 1 and "1 events could not be written" in journal.problems[0]
    with pytest.raises(Upstream, match="could not be written"):
        await journal.append("a", "b", "c")


async def test_a_bucket_that_fails_keeps_events_here(
    journal: Journal, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any, **__: Any) -> None:
        raise Upstream("the bucket is away.")

    await journal.record("put", "object", "a")
    with monkeypatch.context() as patch:
        patch.setattr(storage.bucket, "put", failing)
        await journal.flush()
        assert journal.problems == ["Events wait on this disk: the bucket is away."]
        assert await ids(journal) == ["a"]
    await journal.flush()
    assert journal.problems == [] and await ids(journal) == ["a"]


async def test_a_damaged_file_hides_no_other(journal: Journal, storage: Storage) -> None:
    for name in "ab":
        await journal.record("put", "object", name)
        await journal.flush()
    key = (await storage.bucket.list("_journal/")).objects[0].key
    await storage.bucket.put(key, b"PAR1 not any more")
    found = await journal.query()
    assert [event.entity_id for event in found.events] == ["b"] and key in found.problems[0]


def test_a_write_ahead_file_ends_by_count_and_by_time(tmp_path: Path) -> None:
    """What a file may hold is bounded, so that a query can pass over it by its name."""

    def event(micros: int) -> Event:
        return Event(f"{micros:014x}00000000", "", "a", "b", "c", "d")

    ahead = Ahead(tmp_path / "journal")
    ahead.append([event(1), event(2)])
    ahead.append([event(3 + 10 * 10**6)])
    assert len(ahead.seal()) == 2
    for number in range(1001):
        ahead.append([event(20 * 10**6 + number)])
    assert [len(json.loads(line)) > 0 for line in ahead.seal()[-1].read_text(encoding="utf-8").splitlines()] == [True]
    assert len(ahead.events()) == 1004
