"""The process that worker processes are forked from: what they inherit, and what happens when one of them is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import lakehouse
from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.template import TEMPLATE, CannotFork, Template

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(os, "pidfd_open") or sys.platform != "linux", reason="no template is had here"),
]
WORKER = "lakehouse.engine.tables.worker"


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[Template]:
    """One of the test's own, held."""
    own = Template()
    monkeypatch.setattr("lakehouse.engine.child.TEMPLATE", own)
    own.hold()
    yield own
    if own._holders:
        own.release()


async def started(tmp_path: Path, **setup: Any) -> Child:
    usual = {
        "folder": str(tmp_path),
        "max_bytes": 10**6,
        "memory_limit": "100MB",
        "threads": 1,
        "nice": 0,
        "tables": {},
    }
    return await Child.start(WORKER, {**usual, **setup})


async def answer(child: Child) -> Any:
    await child.send({"do": "rows", "sql": "SELECT 42", "params": [], "foreign": False, "conditions": {}})
    return (await child.receive())[0]["rows"]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


async def test_a_child_inherits_nothing(template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment, no open file but its socket and the log, no thread, no limit of another; its own signals."""
    monkeypatch.setenv("LAKEHOUSE_SECRET", "hidden")
    with (tmp_path / "held").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        first, second = await started(tmp_path), await started(tmp_path, max_bytes=5000)
        try:
            assert await answer(first) == await answer(second) == [[42]]
            place = Path("/proc") / str(second.pid)
            files = {int(file.name): os.readlink(file) for file in (place / "fd").iterdir()}
            sockets = {name for name in files.values() if name.startswith("socket:")}
            assert len(sockets) == 1 and files[0] == os.devnull
            assert not sockets & {os.readlink(file) for file in Path(f"/proc/{first.pid}/fd").iterdir()}
            assert str(tmp_path / "held") not in files.values()
            assert (place / "environ").read_bytes() == b"" == Path(f"/proc/{template.pid}/environ").read_bytes()
            assert "Max file size             5000 " in (place / "limits").read_text()
            assert "Max file size             1000000 " in Path(f"/proc/{first.pid}/limits").read_text()
            status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
            assert not int(status["SigIgn"], 16) & 1 << signal.SIGINT - 1
            assert len(list(Path(f"/proc/{template.pid}/task").iterdir())) == 1
        finally:
            await first.aclose()
            await second.aclose()
        left = {os.readlink(file) for file in Path(f"/proc/{template.pid}/fd").iterdir()}
        assert str(tmp_path / "held") not in left and len([name for name in left if "socket" in name]) == 1


async def test_many_at_once_leave_nothing_open(template: Template, tmp_path: Path) -> None:
    async with await anyio.open_file(os.devnull):
        open_before = len(os.listdir("/proc/self/fd"))
        children: list[Child] = []

        async def one() -> None:
            child = await started(tmp_path)
            children.append(child)
            assert await answer(child) == [[42]]

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(one)
        assert len({child.pid for child in children}) == 12
        for child in children:
            await child.aclose()
            await child.aclose()
        assert not any(child.alive for child in children)
        await until(lambda: not any(Path(f"/proc/{child.pid}").exists() for child in children))
        # What the template itself takes: its socket, beside whatever the loop opens once.
        assert len(os.listdir("/proc/self/fd")) <= open_before + 1


async def test_a_killed_child_is_a_child_that_died(template: Template, tmp_path: Path) -> None:
    child = await started(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildDied):
        await answer(child)
    await until(lambda: not child.alive)
    child.kill()
    await child.aclose()


async def test_a_killed_template_is_replaced_and_its_children_go_on(template: Template, tmp_path: Path) -> None:
    child = await started(tmp_path)
    first = template.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await answer(child) == [[42]]
    other = await started(tmp_path)
    assert template.pid not in (None, first)
    assert await answer(other) == await answer(child) == [[42]]
    for one in (child, other):
        await one.aclose()
        await until(lambda one=one: not is_there(one.pid))  # type: ignore[misc]


async def test_a_template_that_hangs_is_replaced(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = await started(tmp_path)
    await child.aclose()
    first = template.pid
    assert first is not None and template._running is not None
    template._running[1].settimeout(0.05)
    os.kill(first, signal.SIGSTOP)
    other = await started(tmp_path)
    assert template.pid != first and await answer(other) == [[42]]
    await other.aclose()


async def test_released_it_ends_and_children_are_started(template: Template, tmp_path: Path) -> None:
    child, pid = await started(tmp_path), template.pid
    assert pid is not None
    await anyio.to_thread.run_sync(template.release)
    assert template.pid is None and not Path(f"/proc/{pid}").exists()
    assert await answer(child) == [[42]]
    await child.aclose()
    with pytest.raises(CannotFork):
        await anyio.to_thread.run_sync(template.fork, WORKER)
    other = await started(tmp_path)
    assert await answer(other) == [[42]]
    await other.aclose()


async def test_what_is_not_alone_in_its_process_forks_nothing(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of a library may hold any lock while its process forks: then each child is started by itself."""
    threaded = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    real = subprocess.Popen

    def with_thread(command: list[str], **more: Any) -> Any:
        code = f"{threaded}; from lakehouse.engine import template; template.main()"
        return real([command[0], "-I", "-c", code], **more)

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", with_thread)
        with pytest.raises(CannotFork, match="2 threads"):
            await anyio.to_thread.run_sync(template.fork, WORKER)
    with pytest.raises(CannotFork, match=r"No module named 'lakehouse\.nothing'"):
        await anyio.to_thread.run_sync(template.fork, "lakehouse.nothing")
    child = await started(tmp_path)
    assert await answer(child) == [[42]]
    await child.aclose()


@pytest.mark.slow
async def test_all_go_with_a_killed_parent(home: Path) -> None:
    code = (
        "import anyio, sys, lakehouse\n"
        "from lakehouse.engine.template import TEMPLATE\n"
        "async def main():\n"
        "    async with lakehouse.open(sys.argv[1]) as lake:\n"
        "        await lake.sql.query('SELECT 1')\n"
        "        print(TEMPLATE.pid, *lake.sql.pids, flush=True)\n"
        "        await anyio.sleep(60)\n"
        "anyio.run(main)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in (await anyio.to_thread.run_sync(parent.stdout.readline)).split()]
        assert len(pids) == 3 and all(map(is_there, pids))
        parent.kill()
    await until(lambda: not any(map(is_there, pids)))


async def test_a_lake_holds_it_while_it_is_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = TEMPLATE._holders
    async with lakehouse.open(home):
        assert TEMPLATE._holders == before + 1
    assert TEMPLATE._holders == before
