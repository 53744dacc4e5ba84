"""What is written to a connection goes out together, and none of it stays behind."""

import asyncio
from typing import cast

import anyio.lowlevel
import pytest

from lakehouse.faces.http.listener.together import MAX_HELD, Together

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def write_eof(self) -> None:
        self.told.append(b"<eof>")

    def close(self) -> None:
        self.told.append(b"<closed>")

    def is_closing(self) -> bool:
        return b"<closed>" in self.told


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def together(wire: Wire) -> Together:
    return Together(wire, asyncio.get_running_loop())


async def test_one_turn_is_one_write(wire: Wire, together: Together) -> None:
    together.write(b"head ")
    together.write(b"body")
    assert wire.told == []
    await anyio.lowlevel.checkpoint()
    assert wire.told == [b"head body"]
    together.write(b"more")
    await anyio.lowlevel.checkpoint()
    assert wire.told == [b"head body", b"more"]


async def test_what_is_large_goes_at_once(wire: Wire, together: Together) -> None:
    together.write(b"head ")
    together.write(b"x" * MAX_HELD)
    assert [len(data) for data in wire.told] == [5 + MAX_HELD]
    await anyio.lowlevel.checkpoint()
    assert len(wire.told) == 1


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_nothing_is_left_at_the_end(wire: Wire, together: Together, end: str) -> None:
    together.write(b"last")
    getattr(cast(asyncio.Transport, together), end)()
    await anyio.lowlevel.checkpoint()
    assert wire.told == [b"last", b"<eof>" if end == "write_eof" else b"<closed>"]
    assert together.is_closing() is (end == "close")
