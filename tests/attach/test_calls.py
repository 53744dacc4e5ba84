"""Calls over a connection: side by side, with progress, cancelled from either end, and what an end tells."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from lakehouse.attach import Asked, Attachment, Gone, Reception, connect, guest
from lakehouse.observe import Caller, Progress, no_progress
from lakehouse.transfer import Download

pytestmark = pytest.mark.anyio
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was left unread")


async def report(progress: Progress, done: float) -> None:
    await progress(done, None, "x" * 50_000)


class Host:
    """Answers by name, and notes what begins and how it ends."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.go = anyio.Event()
        self.begun = anyio.Event()

    async def answer(self, request: Asked, progress: Progress) -> tuple[Any, bytes]:
        if request.name == "echo":
            return request.arguments, b""
        if request.name == "download":
            return Download(path=Path("/x"), size=3), b""
        if request.name == "reports":
            async with anyio.create_task_group() as group:
                for n in range(request.arguments):
                    group.start_soon(report, progress, n)
            return "done", b""
        self.events.append("begun")
        self.begun.set()
        try:
            await progress(1, 2, "begun")
            await self.go.wait()
        except BaseException:
            self.events.append("cancelled")
            raise
        self.events.append("ended")
        return "waited", b""


@asynccontextmanager
async def open_host(home: Path) -> AsyncIterator[tuple[Host, Reception, Attachment]]:
    await anyio.Path(home).mkdir(exist_ok=True)
    host = Host()
    reception = Reception(home, host.answer, {"pid": os.getpid(), "command": "the host"}, str)
    attachment = await connect(await reception.open())
    assert attachment is not None
    yield host, reception, attachment
    await attachment.aclose()
    await reception.aclose(0)


def asked(name: str, arguments: Any = None) -> Asked:
    return Asked(name, arguments, Caller())


async def test_the_socket_is_private_and_goes_with_its_owner(home: Path) -> None:
    async with open_host(home) as (_, reception, attachment):
        found = await anyio.Path(home / "lake.sock").stat()
        assert found.st_mode & 0o777 == 0o600
        assert attachment.owner == f"process {os.getpid()} (the host)"
        await reception.aclose(0)
        assert not await anyio.Path(home / "lake.sock").exists()


async def test_calls_run_side_by_side_and_connections_are_used_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "MAX_LINES", 10)
    async with open_host(home) as (_, reception, attachment):
        answers: dict[int, Any] = {}

        async def ask(n: int) -> None:
            answers[n], _ = await attachment.call(asked("echo", [n, "x" * 1000 * n]), no_progress)

        for _ in range(2):
            async with anyio.create_task_group() as group:
                for n in range(100):
                    group.start_soon(ask, n)
        assert answers == {n: [n, "x" * 1000 * n] for n in range(100)}
        assert len(reception._lines) <= guest.MAX_IDLE + 10


async def test_a_large_answer_and_a_file(home: Path) -> None:
    async with open_host(home) as (_, _, attachment):
        text = "x" * 30_000_000
        value, payload = await attachment.call(asked("echo", text), no_progress)
        assert value == text and len(payload) == len(text) + 2
        value, payload = await attachment.call(asked("download"), no_progress)
        assert value == Download(path=Path("/x"), size=3) and payload == b""


async def test_progress_of_many_tasks_at_once(home: Path) -> None:
    """More than fits a connection, to a listener that takes its time."""
    heard: list[float] = []

    async def hear(done: float, total: float | None, message: str) -> None:
        await anyio.lowlevel.checkpoint()
        heard.append(done)

    async with open_host(home) as (_, _, attachment):
        assert (await attachment.call(asked("reports", 200), hear))[0] == "done"
    assert sorted(heard) == list(range(200))


async def test_cancelling_here_cancels_there(home: Path) -> None:
    async with open_host(home) as (host, reception, attachment):
        async with anyio.create_task_group() as group:
            group.start_soon(attachment.call, asked("wait"), no_progress)
            await host.begun.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(30):
            while reception._running:
                await anyio.lowlevel.checkpoint()
        assert host.events == ["begun", "cancelled"]
        assert (await attachment.call(asked("echo", 1), no_progress))[0] == 1


async def test_a_listener_that_fails_ends_its_call(home: Path) -> None:
    async def deaf(done: float, total: float | None, message: str) -> None:
        raise RuntimeError("deaf")

    async with open_host(home) as (host, reception, attachment):
        with pytest.raises(RuntimeError, match="deaf"):
            await attachment.call(asked("wait"), deaf)
        with anyio.fail_after(30):
            while reception._running:
                await anyio.lowlevel.checkpoint()
        assert host.events == ["begun", "cancelled"]


async def test_closing_lets_calls_end_and_takes_no_more(home: Path) -> None:
    """Idle connections do not hold it up; a request that meets it on the way was not begun."""
    async with open_host(home) as (host, reception, attachment):
        got: list[Any] = []

        async def ask() -> None:
            got.append((await attachment.call(asked("wait"), no_progress))[0])

        async with anyio.create_task_group() as group:
            for _ in range(3):  # two of them idle afterwards
                group.start_soon(attachment.call, asked("echo", 1), no_progress)
            group.start_soon(ask)
            await host.begun.wait()
            group.start_soon(reception.aclose, 60)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Gone) as gone:
                await attachment.call(asked("echo", 1), no_progress)
            assert not gone.value.sent
            host.go.set()
        assert got == ["waited"] and host.events == ["begun", "ended"]


async def test_closing_ends_calls_that_take_too_long(home: Path) -> None:
    async with open_host(home) as (host, reception, attachment):
        ends: list[Gone] = []

        async def ask() -> None:
            try:
                await attachment.call(asked("wait"), no_progress)
            except Gone as gone:
                ends.append(gone)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await host.begun.wait()
            await reception.aclose(0.01)
        assert [end.sent for end in ends] == [True] and host.events == ["begun", "cancelled"]


async def test_a_request_that_crosses_the_end_was_not_begun(home: Path) -> None:
    """Both at once, many times: whatever the order, the guest is answered or told that nothing was begun."""
    for n in range(30):
        async with open_host(home) as (_, reception, attachment):
            outcomes: list[str] = []

            async def ask(attachment: Attachment = attachment, outcomes: list[str] = outcomes) -> None:
                try:
                    await attachment.call(asked("echo", 1), no_progress)
                    outcomes.append("answered")
                except Gone as gone:
                    outcomes.append(f"sent {gone.sent}")

            async with anyio.create_task_group() as group:
                for step in range(6):
                    group.start_soon(ask)
                    if step == n % 6:
                        group.start_soon(reception.aclose, 5)
            assert set(outcomes) <= {"answered", "sent False"} and len(outcomes) == 6


async def test_connections_to_an_owner_that_was_replaced_are_not_used(home: Path) -> None:
    async with open_host(home) as (_, reception, attachment):
        assert (await attachment.call(asked("echo", 1), no_progress))[0] == 1
        await reception.aclose(0)
        async with open_host(home):
            # The address is the same, so the next call may as well be answered there.
            assert (await attachment.call(asked("echo", 2), no_progress))[0] == 2


async def test_closing_the_guest_ends_its_calls(home: Path) -> None:
    async with open_host(home) as (host, _, attachment):
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                with pytest.raises(Gone):
                    await attachment.call(asked("wait"), no_progress)

            group.start_soon(ask)
            await host.begun.wait()
            await attachment.aclose()


async def test_where_no_socket_can_lie_it_is_loopback(home: Path) -> None:
    await anyio.Path(home / "lake.sock" / "in the way").mkdir(parents=True)
    reception = Reception(home, Host().answer, {"pid": 1, "command": "it"}, str)
    address = await reception.open()
    attachment = await connect(address)
    assert address.startswith("tcp:") and attachment is not None
    assert (await attachment.call(asked("echo", 1), no_progress))[0] == 1
    await attachment.aclose()
    await reception.aclose(0)


async def test_a_reception_that_is_closed_at_once(home: Path) -> None:
    """Before it has attended to anybody, and with somebody at the door."""
    await anyio.Path(home).mkdir()
    for knocks in (False, True):
        reception = Reception(home, Host().answer, {"pid": 1, "command": "it"}, str)
        address = await reception.open()
        async with anyio.create_task_group() as group:
            if knocks:

                async def knock(address: str = address) -> None:
                    found = await connect(address)
                    if found is not None:
                        await found.aclose()

                group.start_soon(knock)
            group.start_soon(reception.aclose, 5)


OWNER = """
import os, sys
from pathlib import Path
import anyio, anyio.to_thread
from lakehouse.attach import Reception

async def answer(request, progress):
    if request.name == "wait":
        await progress(1, None, "begun")
        await anyio.sleep_forever()
    return os.getpid(), b""

async def main():
    await Reception(Path(sys.argv[1]), answer, {"pid": os.getpid(), "command": "it"}, str).open()
    print("open", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


@contextmanager
def another(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    home.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", OWNER, str(home)], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"open\n"
            yield child
        finally:
            child.kill()


async def outcome(attachment: Attachment, name: str, progress: Progress = no_progress) -> str:
    try:
        await attachment.call(asked(name, "x" * 1000), progress)
    except Gone as gone:
        return f"sent {gone.sent}"
    return "answered"


@pytest.mark.slow
@linux
@pytest.mark.parametrize("used", [False, True])
async def test_a_request_a_killed_owner_never_read_was_not_sent(home: Path, used: bool) -> None:
    """Stopped, it reads nothing; killed then, it has begun nothing: the call can be made again, whatever it does."""
    with another(home) as child:
        attachment = await connect(f"unix:{home / 'lake.sock'}")
        assert attachment is not None
        if used:
            assert await outcome(attachment, "echo") == "answered"
        os.kill(child.pid, signal.SIGSTOP)
        said: list[str] = []

        async def ask() -> None:
            said.append(await outcome(attachment, "echo"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            child.kill()
        assert said == ["sent False"]
        assert await outcome(attachment, "echo") == "sent False"  # nobody is there
        await attachment.aclose()


@pytest.mark.slow
async def test_a_request_a_killed_owner_had_begun_was_sent(home: Path) -> None:
    with another(home) as child:
        attachment = await connect(f"unix:{home / 'lake.sock'}")
        assert attachment is not None

        async def kill(done: float, total: float | None, message: str) -> None:
            child.kill()

        assert await outcome(attachment, "wait", kill) == "sent True"
        await attachment.aclose()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_an_owner_that_is_frozen_is_not_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it runs, a call may take as long as it takes."""
    monkeypatch.setattr(guest, "QUIET_SECS", 0.05)
    with another(home) as child:
        attachment = await connect(f"unix:{home / 'lake.sock'}")
        assert attachment is not None
        asked_again = 0
        dialled = attachment._dialled

        async def count() -> Any:
            nonlocal asked_again
            asked_again += 1
            if asked_again == 4:
                monkeypatch.setattr(guest, "HELLO_SECS", 0.05)
                os.kill(child.pid, signal.SIGSTOP)
            return await dialled()

        monkeypatch.setattr(attachment, "_dialled", count)
        assert await outcome(attachment, "wait") == "sent True"
        assert asked_again >= 4
        monkeypatch.undo()
        monkeypatch.setattr(guest, "HELLO_SECS", 0.05)
        with pytest.raises(guest.Silent):
            await connect(f"unix:{home / 'lake.sock'}")
        assert not await guest.answers(f"unix:{home / 'lake.sock'}")
        await attachment.aclose()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_a_forked_child_keeps_no_connection(home: Path) -> None:
    """The owner's end is seen although its child lives on."""
    script = OWNER.replace(
        'if request.name == "wait":',
        'if request.name == "wait" and os.fork() == 0:\n        sys.stdin.readline()\n        os._exit(0)\n'
        '    if request.name == "wait":',
    )
    await anyio.Path(home).mkdir()
    command = [sys.executable, "-W", "ignore", "-c", script, str(home)]
    child = await anyio.to_thread.run_sync(
        lambda: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    )
    try:
        assert child.stdout is not None and child.stdin is not None
        assert await anyio.to_thread.run_sync(child.stdout.readline) == b"open\n"
        attachment = await connect(f"unix:{home / 'lake.sock'}")
        assert attachment is not None

        async def kill(done: float, total: float | None, message: str) -> None:
            child.kill()

        assert await outcome(attachment, "wait", kill) == "sent True"
        assert await connect(f"unix:{home / 'lake.sock'}") is None
        await attachment.aclose()
    finally:
        child.kill()
        with contextlib.suppress(BrokenPipeError):
            await anyio.to_thread.run_sync(child.communicate)
