"""One owner a data directory: real second processes, kill -9, stale notes, and what a second one is told."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from lakehouse.engine import files
from lakehouse.engine.owner import Owner
from lakehouse.errors import Busy, Unavailable

pytestmark = pytest.mark.anyio

HOLDER = """
import sys
from pathlib import Path
import anyio
from lakehouse.engine.owner import Owner

async def main():
    owner = Owner(Path(sys.argv[1]))
    await owner.acquire("the other one")
    print("held", flush=True)
    sys.stdin.readline()
    await owner.release()

anyio.run(main)
"""


@contextmanager
def another(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the data directory until its stdin closes."""
    command = [sys.executable, "-c", HOLDER, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        yield child


async def test_a_second_process_is_told_who_holds_it(home: Path) -> None:
    """S3.8: pid, command and since when; afterwards the directory is free again."""
    with another(home) as child:
        with pytest.raises(Busy) as busy:
            await Owner(home).acquire("me")
        assert f"process {child.pid} (the other one)" in busy.value.detail and "since 20" in busy.value.detail
        assert busy.value.data["pid"] == child.pid
        assert "--home" in busy.value.fix
        assert (await Owner(home).holder() or {})["address"] == ""  # it has not said where it answers
    owner = Owner(home)
    await owner.acquire("me")
    await owner.release()


async def test_kill_9_gives_the_directory_free(home: Path) -> None:
    with another(home) as child:
        child.kill()
        child.wait()
        note = json.loads((home / "lake.owner.json").read_bytes())
        assert note["pid"] == child.pid
        owner = Owner(home)
        await owner.acquire("me")
        assert json.loads((home / "lake.owner.json").read_bytes())["pid"] == os.getpid()
        await owner.release()


async def test_one_process_cannot_open_it_twice(home: Path) -> None:
    owner, second = Owner(home), Owner(home)
    await owner.acquire("lakehouse stdio")
    await owner.acquire("again")
    for _ in range(2):
        with pytest.raises(Busy, match=f"process {os.getpid()} \\(lakehouse stdio\\)"):
            await second.acquire("me")
    await second.release()
    with pytest.raises(Busy):
        await second.acquire("me")
    await owner.release()
    await owner.release()
    await second.acquire("me")
    await second.release()


async def test_the_directory_and_the_note_are_private(home: Path) -> None:
    owner = Owner(home / "new")
    await owner.acquire("lakehouse stdio")
    assert (home / "new").stat().st_mode & 0o777 == 0o700
    for name in ("lake.lock", "lake.owner.json"):
        assert (home / "new" / name).stat().st_mode & 0o777 == 0o600
    note = json.loads((home / "new" / "lake.owner.json").read_bytes())
    assert set(note) == {"pid", "command", "started", "host", "address"}
    await owner.release()
    assert not (home / "new" / "lake.owner.json").exists()


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"1", b'{"pid": 1}', b"\xff", b'{"pid": "x", "command": 1, "started": 2, "host": 3}']
)
async def test_a_stale_or_torn_note_does_not_matter(home: Path, note: bytes) -> None:
    """Only the lock counts: a note nobody stands behind is replaced, and never named as the owner."""
    home.mkdir()
    (home / "lake.owner.json").write_bytes(note)
    owner = Owner(home)
    await owner.acquire("me")
    (home / "lake.owner.json").write_bytes(note)
    with pytest.raises(Busy):
        await Owner(home).acquire("other")
    await owner.release()


async def test_a_dead_process_is_not_named_as_the_owner(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    owner = Owner(home)
    await owner.acquire("me")
    note = json.loads((home / "lake.owner.json").read_bytes())
    (home / "lake.owner.json").write_text(json.dumps({**note, "pid": gone.pid}))
    with pytest.raises(Busy, match="has not said who it is"):
        await Owner(home).acquire("other")
    await owner.release()


async def test_a_home_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Unavailable, match="data directory"):
            await Owner(home).acquire("me")


async def test_a_full_disk_can_still_be_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note needs room, the lock does not: without it nobody could look at the data, or delete some."""

    def full(*args: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    owner = Owner(home)
    await owner.acquire("me")
    with pytest.raises(Busy, match="has not said who"):
        await Owner(home).acquire("another")
    await owner.release()


async def test_the_note_says_where_the_owner_answers(home: Path) -> None:
    owner, other = Owner(home), Owner(home)
    await owner.acquire("me")
    await owner.tell("unix:/somewhere")
    holder = await other.holder()
    assert holder is not None and (holder["address"], holder["here"]) == ("unix:/somewhere", True)
    await owner.tell(None)
    holder = await other.holder()
    assert holder is not None and holder["address"] is None
    busy = await other.busy("it answers no other process")
    assert busy.detail.endswith("; it answers no other process.") and busy.data["pid"] == os.getpid()
    await owner.release()
    assert await other.holder() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_holds_nothing(home: Path) -> None:
    """It neither keeps the directory when its parent dies nor gives it free when it ends itself."""
    script = """
import os, sys
from pathlib import Path
import anyio
from lakehouse.engine.owner import Owner

owner = Owner(Path(sys.argv[1]))
anyio.run(owner.acquire, "the parent")
for stays in (False, True):
    reading, writing = os.pipe()
    if os.fork() == 0:
        if stays:
            print("two", flush=True)
            sys.stdin.readline()
        else:
            anyio.run(owner.release)
        os._exit(0)
    if not stays:
        os.wait()
        print("one", flush=True)
        sys.stdin.readline()
sys.stdin.readline()
"""
    command = [sys.executable, "-W", "ignore", "-c", script, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "one\n"
        with pytest.raises(Busy, match=f"process {child.pid} "):
            anyio.run(Owner(home).acquire, "me")
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "two\n"
        child.kill()
        child.wait()
        owner = Owner(home)
        anyio.run(owner.acquire, "me")
        anyio.run(owner.release)


async def test_a_note_that_cannot_be_written_lets_the_lock_go(home: Path) -> None:
    (home / "lake.owner.json").mkdir(parents=True)
    owner = Owner(home)
    with pytest.raises(Unavailable):
        await owner.acquire("me")
    (home / "lake.owner.json").rmdir()
    await Owner(home).acquire("me")
