"""Owners nobody can attach to are waited for or named, and what dead ones left behind does not matter."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.owners import another, end, opened, posix

from lakehouse import (
    Busy,
    Lakehouse,
    attach,
    config,
)
from lakehouse.attach import guest, host, wire
from lakehouse.engine.doctor.places import check_owner
from lakehouse.engine.owner import Owner
from lakehouse.lake import hold

pytestmark = pytest.mark.anyio


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for long."""
    monkeypatch.setattr(hold, "OWNER_WAIT_SECS", 0.1)
    monkeypatch.setattr(guest, "HELLO_SECS", 0.2)
    monkeypatch.setenv("LAKEHOUSE_SERVER__DRAIN_SECS", "0")


async def test_an_owner_that_has_not_said_where_it_answers_is_waited_for(home: Path) -> None:
    owner = Owner(home)
    await owner.acquire("the starting one")
    got: list[Any] = []

    async def ask() -> None:
        async with opened(home) as lake:
            got.append(lake.attached_to)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert not got
        await owner.release()
    assert got == [""]


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ({}, r"since 20.*Z\.$"),
        ({"address": None}, "; it answers no other process.$"),
        ({"address": "unix:/nowhere"}, r"Z\.$"),
        ({"host": "elsewhere"}, "on elsewhere .*; it runs on another machine.$"),
    ],
)
async def test_an_owner_that_cannot_be_reached_is_named(
    home: Path, impatient: None, note: dict[str, Any], why: str
) -> None:
    owner = Owner(home)
    await owner.acquire("the other one")
    text = await anyio.Path(home / "lake.owner.json").read_text()
    await anyio.Path(home / "lake.owner.json").write_text(json.dumps({**json.loads(text), **note}))
    with pytest.raises(Busy, match=rf"process {os.getpid()} \(the other one\)") as busy:
        async with opened(home):
            pass
    assert re.search(why, busy.value.detail)
    await owner.release()


async def test_an_owner_of_an_older_version_is_named(home: Path, impatient: None) -> None:
    """It knows of no address."""
    owner = Owner(home)
    await owner.acquire("an old one")
    note = json.loads(await anyio.Path(home / "lake.owner.json").read_text())
    del note["address"]
    await anyio.Path(home / "lake.owner.json").write_text(json.dumps(note))
    with pytest.raises(Busy, match=r"an old one.*; it answers no other process\."):
        async with opened(home):
            pass
    await owner.release()


@pytest.mark.slow
async def test_an_owner_of_another_version_is_named(
    home: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with another(home) as child:
        monkeypatch.setattr(wire, "PROTOCOL", 2)
        with pytest.raises(Busy, match=rf"process {child.pid} .*; it is of another version of Lakehouse\."):
            async with opened(home):
                pass


@pytest.mark.slow
@posix
async def test_a_frozen_owner_is_named(home: Path, project: Path, impatient: None) -> None:
    """Calls that wait meanwhile share the wait; when it runs again, they go there."""
    async with another(home, project) as child:
        lake = Lakehouse(await anyio.to_thread.run_sync(config.read, home))
        os.kill(child.pid, signal.SIGSTOP)
        busy: list[Busy] = []

        async def ask() -> None:
            try:
                await lake.call("probe.who")
            except Busy as error:
                busy.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        assert len(busy) == 3
        for error in busy:
            assert error.detail.endswith("; it does not answer.") and f"process {child.pid} " in error.detail
        os.kill(child.pid, signal.SIGCONT)
        with anyio.fail_after(30):
            while True:
                try:
                    assert (await lake.call("probe.who"))["value"][0] == child.pid
                    break
                except Busy:
                    continue
        await lake.aclose()


async def test_an_owner_no_socket_can_be_had_for_works_and_says_so(
    home: Path, caplog: pytest.LogCaptureFixture, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> Any:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(host, "_bound", refused)
    async with opened(home) as lake:
        assert (await lake.call("fixture.upper", {"text": "x"})) == {"text": "X"}
        with pytest.raises(Busy, match="it answers no other process"):
            async with opened(home):
                pass
    assert [r.getMessage() for r in caplog.records] == [
        "attach.closed no other process can attach to this one: Permission denied"
    ]


@pytest.mark.slow
async def test_a_dead_owners_leftovers_do_not_matter(home: Path) -> None:
    """A socket nobody listens at, a note with the number of another process, something else in the socket's place."""
    home.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(home / "lake.sock"))
    note = {"pid": os.getppid(), "command": "x", "started": "then", "host": socket.gethostname()}
    for address in (f"unix:{home / 'lake.sock'}", "tcp:1:secret", "tcp:nonsense", "", "rubbish"):
        (home / "lake.owner.json").write_text(json.dumps({**note, "address": address}))
        async with opened(home) as lake:
            assert not lake.attached_to
            async with opened(home) as second:
                assert second.attached_to
    (home / "lake.sock").write_text("a file")
    async with opened(home) as lake:
        assert not lake.attached_to


@pytest.mark.slow
async def test_a_home_too_deep_for_a_socket(tmp_path: Path, project: Path) -> None:
    """Loopback, with a secret only this user can read."""
    home = tmp_path / ("deep" * 30)
    async with another(home, project) as child, opened(home, project) as lake:
        note = json.loads(await anyio.Path(home / "lake.owner.json").read_text())
        assert note["address"].startswith("tcp:")
        assert (await anyio.Path(home / "lake.owner.json").stat()).st_mode & 0o777 == 0o600
        assert (await lake.call("probe.who"))["value"][0] == child.pid
        await end(child)
        assert (await lake.call("probe.who"))["value"][0] == os.getpid()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_a_forked_child_does_not_hold_the_directory(home: Path) -> None:
    """An owner is killed while its forked child lives on: whoever comes next owns the directory."""
    script = """
import os, sys
import anyio, lakehouse
async def main():
    async with lakehouse.open(sys.argv[1]):
        if os.fork() == 0:
            print("forked", flush=True)
            sys.stdin.readline()
            os._exit(0)
        await anyio.sleep_forever()
anyio.run(main)
"""
    command = [sys.executable, "-W", "ignore", "-c", script, str(home)]
    child = await anyio.to_thread.run_sync(
        lambda: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    )
    assert child.stdout is not None and child.stdin is not None
    assert await anyio.to_thread.run_sync(child.stdout.readline) == b"forked\n"
    async with opened(home) as lake:
        assert lake.attached_to == f"process {child.pid} (-c {home})"
        child.kill()
        await anyio.to_thread.run_sync(child.wait)
        assert await lake.call("fixture.upper", {"text": "x"}) == {"text": "X"}
        assert not lake.attached_to
    child.stdin.close()
    child.stdout.close()


@pytest.mark.slow
@posix
async def test_doctor_says_whether_the_owner_answers(home: Path, impatient: None) -> None:
    async with another(home) as child:
        (found,) = await check_owner(home, attach.answers)
        assert found.ok and f"process {child.pid} " in found.detail and found.detail.endswith("others attach to it")
        os.kill(child.pid, signal.SIGSTOP)
        (found,) = await check_owner(home, attach.answers)
        assert not found.ok and found.detail.endswith("does not answer.")
