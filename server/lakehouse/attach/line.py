"""One connection between two processes of this machine: frames out, frames in, and what its end means."""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

MAX_FRAME = 2**30
HEAD = 5  # bytes before a frame's payload: its length, four of them, and its kind
MAX_WAITING = 64  # frames kept for a slow reader before the sender has to wait


class Ended(Exception):
    """The connection is over. `unread` is set when the other side certainly did not get what was sent last."""

    def __init__(self, unread: bool) -> None:
        super().__init__("the connection ended")
        self.unread = unread


class Oversized(Exception):
    """A frame was announced that is longer than may be; nothing of it is read."""


class Line(asyncio.Protocol):
    """Frames over one connection. One task at a time receives; any number may send.

    A protocol and not a stream: the end of the connection has to be seen while a call runs, and a task that waits for
    it would cost 0.1 ms a call.
    """

    def __init__(self, opened: Callable[["Line"], None] | None = None) -> None:
        self.limit = MAX_FRAME
        self.watch: Callable[[], None] | None = None  # told once, when anything arrives or the connection ends
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._frames: deque[tuple[bytes, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._error: Exception | None = None
        self._oversized = False

    @property
    def over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    @property
    def waiting(self) -> bool:
        """Whether a frame has arrived that nobody has taken yet."""
        return bool(self._frames)

    async def send(self, kind: bytes, payload: bytes) -> None:
        """Write one frame; returns when the other side keeps up. Raises Ended."""
        if self.over:
            raise Ended(unread=True)
        assert self._transport is not None
        self._transport.write(len(payload).to_bytes(4, "big") + kind + payload)
        if not self._writable.is_set():
            await self._writable.wait()
            if self._lost.is_set():
                raise self._end()

    async def receive(self) -> tuple[bytes, bytes]:
        """The next frame: its kind and its payload. Raises Ended, and Oversized for what is over `limit`."""
        while not self._frames:
            if self._oversized:
                raise Oversized
            if self._lost.is_set():
                raise self._end()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frame = self._frames.popleft()
        if not self._frames and not self.over and not self._oversized:
            assert self._transport is not None
            self._transport.resume_reading()
        return frame

    def close(self) -> None:
        """Close it once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def fileno(self) -> int:
        """Its number among this process' open files; -1 when it is closed."""
        if self._transport is None:
            return -1
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    async def closed(self) -> None:
        """Wait until it is closed."""
        await self._lost.wait()

    def _end(self) -> Ended:
        # Linux says at a close whether the other side left something unread; of a reset elsewhere nothing follows.
        told = (ConnectionResetError, BrokenPipeError) if sys.platform == "linux" else BrokenPipeError
        return Ended(unread=isinstance(self._error, told))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        watch, self.watch = self.watch, None
        if watch is not None:
            watch()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop: the connection is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        only_here(self)
        if self._opened is not None:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """The event loop: something arrived."""
        self._buffer += data
        while len(self._buffer) >= HEAD and not self._oversized:
            end = HEAD + int.from_bytes(self._buffer[:4], "big")
            if end > HEAD + self.limit:
                self._oversized = True
            elif len(self._buffer) < end:
                break
            else:
                self._frames.append((bytes(self._buffer[4:HEAD]), bytes(self._buffer[HEAD:end])))
                del self._buffer[:end]
        if (self._oversized or len(self._frames) > MAX_WAITING) and not self.over:
            assert self._transport is not None
            self._transport.pause_reading()
        if self._frames or self._oversized:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The event loop: it is over, here or there."""
        self._error = exc
        self._lost.set()
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """The event loop: the other side does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The event loop: it does again."""
        self._writable.set()


_here: WeakSet[Any] = WeakSet()


def only_here(opened: Any) -> None:
    """A forked child must not keep a connection or a listening socket of ours open: nobody would see our end."""
    _here.add(opened)


def _forget() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for opened in list(_here):
        if opened.fileno() >= 0:
            os.dup2(null, opened.fileno(), inheritable=False)  # its number stays taken, for whoever closes it later
    os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
