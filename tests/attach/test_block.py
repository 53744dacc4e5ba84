"""The block around an open lake: what it raises, how it is cancelled, who may close it."""

import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.owners import opened

from lakehouse import (
    Lakehouse,
    Unavailable,
    config,
)

pytestmark = pytest.mark.anyio


async def test_what_the_block_raises_leaves_as_it_is(home: Path) -> None:
    class Own(BaseException):
        """Nobody catches it by mistake."""

    for raised in (ValueError("x"), Own(), KeyboardInterrupt(), ExceptionGroup("g", [ValueError("y")])):
        with pytest.raises(type(raised)) as caught:
            async with opened(home):
                raise raised
        assert caught.value is raised


async def test_one_that_is_closed_while_it_starts_gives_the_directory_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lakehouse(await anyio.to_thread.run_sync(lambda: config.read(home, environ={})))
    taken, go = anyio.Event(), anyio.Event()
    acquire = lake._owner.acquire

    async def slowly(command: str) -> None:
        await acquire(command)
        taken.set()
        await go.wait()

    monkeypatch.setattr(lake._owner, "acquire", slowly)
    async with anyio.create_task_group() as group:
        group.start_soon(lake.start)
        await taken.wait()
        group.start_soon(lake.aclose)
        await anyio.wait_all_tasks_blocked()
        go.set()
    with pytest.raises(Unavailable, match="closed"):
        await lake.start()
    async with Lakehouse(lake.settings) as following:
        await following.start()
        assert not following.attached_to


async def test_the_block_is_cancelled_like_any_other(home: Path, project: Path) -> None:
    """Others' calls are not cut short by it, and the directory is free afterwards."""
    async with opened(home, project) as keeps:
        reached = anyio.Event()
        await keeps.aclose()
        got: list[Any] = []
        other = Lakehouse(keeps.settings)

        async def hold_open() -> None:
            async with opened(home, project):
                reached.set()
                await anyio.sleep_forever()

        async def hear(done: float, total: float | None, message: str) -> None:
            closing.cancel_scope.cancel()
            await anyio.Path(home / "end").touch()

        async with anyio.create_task_group() as group:
            async with anyio.create_task_group() as closing:
                closing.start_soon(hold_open)
                await reached.wait()

                async def ask() -> None:
                    got.append(
                        await other.call(
                            "probe.once", {"line": "x", "note": home / "n", "path": home / "end"}, progress=hear
                        )
                    )

                group.start_soon(ask)
        assert got == [{"value": os.getpid()}] and await anyio.Path(home / "n").read_text() == "x\n"
        assert other.attached_to
        await other.aclose()
        async with opened(home) as again:
            assert not again.attached_to


async def test_a_lake_may_be_closed_by_another_task_than_opened_it(home: Path) -> None:
    """As test fixtures and notebooks do."""
    lake = opened(home)
    entered: list[Lakehouse] = []

    async def enter() -> None:
        entered.append(await lake.__aenter__())

    async def leave() -> None:
        await lake.__aexit__(None, None, None)

    for step in (enter, leave):
        async with anyio.create_task_group() as group:
            group.start_soon(step)
    with pytest.raises(Unavailable, match="closed"):
        await entered[0].call("fixture.upper", {"text": "x"})


@pytest.mark.slow
async def test_a_call_that_is_cancelled_while_it_opens_the_lake(home: Path) -> None:
    for turns in range(12):
        lake = Lakehouse(await anyio.to_thread.run_sync(config.read, home))
        async with anyio.create_task_group() as group:
            group.start_soon(lake.call, "fixture.upper", {"text": "x"})
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert await lake.call("fixture.upper", {"text": "x"}) == {"text": "X"} and not lake.attached_to
        await lake.aclose()


async def test_a_closed_lake_that_was_attached_stays_closed(home: Path) -> None:
    async with opened(home):
        async with opened(home) as second:
            assert await second.call("fixture.upper", {"text": "x"}) == {"text": "X"}
        with pytest.raises(Unavailable, match="closed"):
            await second.call("fixture.upper", {"text": "x"})
