"""An event loop in a thread of its own."""

import threading

import anyio
import pytest

from lakehouse.engine.chat.thread import Elsewhere

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """What is run last."""


async def test_it_runs_there_and_ends_with_its_owner() -> None:
    elsewhere = Elsewhere("there")

    async def where() -> str:
        return threading.current_thread().name

    async def failing() -> None:
        raise ValueError("no")

    assert await elsewhere.run(where) == "there"
    with pytest.raises(ValueError, match="no"):
        await elsewhere.run(failing)
    await elsewhere.aclose(nothing)
    assert "there" not in [thread.name for thread in threading.enumerate()]
    await elsewhere.aclose(nothing)


async def test_cancelling_cancels_there() -> None:
    elsewhere = Elsewhere("there")
    began, ended = threading.Event(), threading.Event()

    async def long() -> None:
        began.set()
        try:
            await anyio.sleep(600)
        finally:
            ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(elsewhere.run, long)
        await anyio.to_thread.run_sync(began.wait)
        group.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(ended.wait, 60)
    await elsewhere.aclose(nothing)


async def test_what_runs_there_ends_when_it_is_closed() -> None:
    elsewhere = Elsewhere("there")
    began, ended = threading.Event(), threading.Event()

    async def long() -> None:
        began.set()
        try:
            await anyio.sleep(600)
        finally:
            ended.set()

    async def close() -> None:
        await anyio.to_thread.run_sync(began.wait)
        await elsewhere.aclose(nothing)
        assert ended.is_set()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(elsewhere.run, long)
        group.start_soon(close)
