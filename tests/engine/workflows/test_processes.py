"""Programs: what they print is bounded, and nothing they start outlives them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from lakehouse import TimedOut, TooLarge, Unavailable
from lakehouse.engine.workflows.processes import Exited, Finished, OnOutput, run, running
from lakehouse.engine.workflows.processes.environment import MAX_STRING, fitted, inherited
from lakehouse.engine.workflows.processes.log import Log
from lakehouse.errors import InvalidInput, Unprocessable

pytestmark = pytest.mark.anyio
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt what leaves its group")


async def _unheard(stream: str, chunk: bytes) -> None:
    pass


async def bash(
    script: str,
    *arguments: str,
    timeout: float = 60,
    max_bytes: int = 2**20,
    on_output: OnOutput = _unheard,
    env: Mapping[str, str] | None = None,
) -> Finished:
    return await run(
        ["/bin/bash", "-c", script, *arguments],
        cwd="/",
        env=os.environ if env is None else env,
        timeout=timeout,
        max_bytes=max_bytes,
        on_output=on_output,
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


async def gone(pid: int) -> None:
    with anyio.fail_after(20):
        while await anyio.to_thread.run_sync(alive, pid):
            await anyio.sleep(0.01)


async def test_what_a_program_says_and_how_it_ended() -> None:
    done = await bash("echo out; echo problem >&2; read line || echo nothing; ps -o tty= $$; exit 3")
    assert done == Finished(3, "out\nnothing\n?\n", "problem\n")
    with pytest.raises(Exited, match=r"exited with code 3\. stderr: problem stdout: out") as caught:
        done.check()
    assert caught.value.data == {"exit_code": 3}
    with pytest.raises(Exited, match="ended by SIGKILL"):
        (await bash("kill -9 $$")).check()
    (await bash("echo problem >&2")).check()  # stderr alone is no failure


async def test_a_pipe_that_nobody_reads_ends_who_writes() -> None:
    assert await bash("yes | head -1; echo ${PIPESTATUS[0]}") == Finished(0, "y\n141\n", "")


async def test_what_is_not_utf8_is_replaced_and_said() -> None:
    done = await bash(r"printf 'a\xffb'")
    assert (done.stdout, done.replaced) == ("a\ufffdb", True)


async def test_output_is_bounded_while_it_comes() -> None:
    """100 MB are asked for: at most one piece over the limit was ever read, and the program is ended."""
    most = 0

    async def heard(stream: str, chunk: bytes) -> None:
        nonlocal most
        most += len(chunk)

    with pytest.raises(TooLarge, match=r"more than 100,000 bytes") as caught:
        await bash("head -c 100000000 /dev/zero; sleep 1000", max_bytes=100_000, on_output=heard)
    assert "workflows.max_output_bytes" in caught.value.fix
    assert most <= 100_000 + 65536
    done = await bash("head -c 5000000 /dev/zero >&2; echo end >&2", max_bytes=1000)
    assert done.stderr.endswith("end\n") and len(done.stderr) <= 4096


async def test_output_is_told_as_it_comes() -> None:
    told = anyio.Event()

    async def heard(stream: str, chunk: bytes) -> None:
        assert (stream, chunk) == ("stderr", b"here\n")
        told.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: bash("echo here >&2; sleep 1000", on_output=heard))
        with anyio.fail_after(30):
            await told.wait()
        group.cancel_scope.cancel()


async def test_what_hearing_raises_ends_the_program() -> None:
    async def heard(stream: str, chunk: bytes) -> None:
        raise Unavailable("no room for it.")

    with pytest.raises(Unavailable, match="no room"):
        await bash("echo x; sleep 1000", on_output=heard)


@LINUX
async def test_time_ends_all_of_it() -> None:
    with pytest.raises(TimedOut, match=r"longer than 0\.5 s.*stderr: slow") as caught:
        await bash("echo slow >&2; sleep 1000 & setsid sleep 1000 & echo $! >&2; wait", timeout=0.5)
    await gone(int(str(caught.value).split("stderr: slow")[1].split()[0]))


@LINUX
async def test_nothing_outlives_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that holds the pipe open, one that left the session, one that hears no SIGTERM: none keeps a node."""
    monkeypatch.setattr("lakehouse.engine.workflows.processes.running.LINGER", 0.1)
    monkeypatch.setattr("lakehouse.engine.workflows.processes.running.GRACE", 0.1)
    stubborn = "bash -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo $!"
    done = await bash(f"sleep 1000 & echo $!; setsid sleep 1000 >/dev/null 2>&1 & echo $!; {stubborn}")
    assert done.code == 0 and done.left >= 3
    pids = [int(line) for line in done.stdout.split()]
    assert len(pids) == 3
    for pid in pids:
        await gone(pid)


@LINUX
async def test_what_finishes_shortly_after_is_waited_for() -> None:
    done = await bash("echo late > >(sleep 0.1; cat)")
    assert done == Finished(0, "late\n", "")


@LINUX
@pytest.mark.slow
async def test_forks_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that forks for ever, also into sessions of its own, is gone when its time is over."""
    monkeypatch.setattr("lakehouse.engine.workflows.processes.running.GRACE", 0.1)
    mark = f"forks-{os.getpid()}"
    # Each lives for a moment, so that there are some hundred at a time.
    bomb = f"f() {{ bash -c ': {mark}; sleep 0.5' & setsid bash -c ': {mark}; sleep 0.5' & sleep 0.005; f & }}; f; wait"
    with pytest.raises(TimedOut):
        await bash(bomb, timeout=0.5)
    found = await anyio.run_process(["pgrep", "-f", mark], check=False)
    assert found.stdout == b""


@LINUX
async def test_a_cancelled_program_is_gone() -> None:
    pids: list[int] = []

    async def heard(stream: str, chunk: bytes) -> None:
        pids.append(int(chunk))
        scope.cancel()

    with anyio.CancelScope() as scope:
        await bash("sleep 1000 & echo $!; wait", on_output=heard)
    assert scope.cancelled_caught and not alive(pids[0])


@LINUX
async def test_a_program_that_ends_its_guard() -> None:
    done = await bash("echo $$; kill -9 $PPID; sleep 1000")
    assert done.code == -signal.SIGKILL
    await gone(int(done.stdout))


@LINUX
async def test_nothing_is_left_of_a_program_that_is_cancelled_as_it_starts(tmp_path: Path) -> None:
    for number in range(20):
        script = f"echo $$ > {number}.part; mv {number}.part {number}; sleep 1000"
        with anyio.move_on_after(number / 1600):
            await run(["/bin/bash", "-c", script], cwd=str(tmp_path), env=os.environ, timeout=60, max_bytes=1)
    for told in await anyio.to_thread.run_sync(lambda: [*tmp_path.glob("[0-9]*")]):
        if told.suffix != ".part":
            await gone(int(told.read_text()))


@LINUX
async def test_a_program_that_ends_its_guard_before_that_told_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Path(running._GUARD).read_text().replace('    _tell(f"pid', '    time.sleep(0.3)\n    _tell(f"pid')
    (tmp_path / "guard.py").write_text(slow)
    monkeypatch.setattr(running, "_GUARD", str(tmp_path / "guard.py"))
    done = await bash("echo $$; kill -9 $PPID; sleep 1000")
    await gone(int(done.stdout))


@LINUX
@pytest.mark.slow
async def test_programs_end_with_lakehouse(tmp_path: Path) -> None:
    """kill -9 of the process that runs them: they are gone, and what left their group too."""
    code = """
import anyio, os, sys
from lakehouse.engine.workflows.processes import run
script = "sleep 1000 & echo $! > a; setsid sleep 1000 & echo $! > b; mv b c; wait"
anyio.run(lambda: run(["/bin/bash", "-c", script], cwd=sys.argv[1], env=os.environ, timeout=900, max_bytes=1))
"""
    parent = await anyio.open_process([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.DEVNULL)
    with anyio.fail_after(60):
        while not await anyio.Path(tmp_path / "c").exists():
            await anyio.sleep(0.01)
    pids = [int(await anyio.Path(tmp_path / name).read_text()) for name in "ac"]
    assert all(map(alive, pids))
    parent.kill()
    await parent.wait()
    for pid in pids:
        await gone(pid)
    await parent.aclose()


async def test_what_cannot_be_run(tmp_path: Path) -> None:
    file = tmp_path / "program"
    await anyio.Path(file).write_text("no program")
    with pytest.raises(Unavailable, match="cannot be run: Permission denied"):
        await run([str(file)], cwd="/", env={}, timeout=9, max_bytes=1)


def test_what_a_program_is_given() -> None:
    environ = {"PATH": "/bin", "LC_ALL": "C", "MY_KEY": "1", "EMBED_KEY": "2", "Lakehouse_Auth__Token": "3"}
    hidden = {"EMBED_KEY", "LAKEHOUSE_AUTH__TOKEN"}
    assert inherited(environ, hidden, local=True) == {"PATH": "/bin", "LC_ALL": "C", "MY_KEY": "1"}
    assert inherited(environ, hidden, local=False) == {"PATH": "/bin", "LC_ALL": "C"}


@pytest.mark.parametrize("over", [0, 1])
async def test_a_variable_as_long_as_there_can_be(tmp_path: Path, over: int) -> None:
    """What is one byte longer than the system takes lies in a file; what is not reaches the program."""
    value = "é" * ((MAX_STRING - 2) // 2) + "x" * ((MAX_STRING - 2) % 2 + over)
    env = await anyio.to_thread.run_sync(fitted, {"A": value}, "", tmp_path)
    done = await bash('printf %s "$A$(cat "$A_FILE")" 2>/dev/null', env={"PATH": os.environ["PATH"], **env})
    assert done.stdout == value and ("A_FILE" in env) == bool(over)


@pytest.mark.parametrize(
    ("value", "error"), [("x" * 2**20, Unprocessable), ("a\0b", InvalidInput), ("\ud800", InvalidInput)]
)
def test_what_no_environment_can_hold(tmp_path: Path, value: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="ARGUMENTS"):
        fitted({"ARGUMENTS": value}, 'echo "$ARGUMENTS"', tmp_path)


async def test_a_log(tmp_path: Path) -> None:
    """Whole lines as they come, credentials cut out though a piece ends within one."""
    path = tmp_path / "logs" / "a.log"
    log = Log(path, lambda text: text.replace("hunter2", "[redacted]"), lambda: 0.0)
    await log.write("stdout", b"one\ntw")
    assert path.read_text() == "1970-01-01T00:00:00.000000Z out one\n"
    await log.write("stderr", b"hunt")
    await log.write("stdout", b"o\n")
    await log.write("stderr", b"er2")
    await log.close()
    lines = [line.partition("Z ")[2] for line in path.read_text().splitlines()]
    assert lines == ["out one", "out two", "err [redacted]"]


async def test_a_log_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = Log(path, str, lambda: 0.0)
    for _ in range(100):
        await log.write("stdout", b"x" * 99_999 + b"\n")
    assert path.stat().st_size < 2**22 + 100
    assert path.read_text().endswith("what follows is not kept.\n")
