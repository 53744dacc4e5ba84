"""The owner's side: a socket in the data directory, open to the same user only, where attached processes call."""

import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketListener, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from lakehouse.attach import wire
from lakehouse.errors import LakehouseError
from lakehouse.observe import Progress, log
from lakehouse.preview import compact
from lakehouse.transfer import Download

SOCKET = "lake.sock"
MAX_SOCKET_PATH = 100  # bytes: what every system takes as a socket's path
Answer = Callable[[wire.Asked, Progress], Awaitable[tuple[Any, bytes]]]


class Reception:
    """Answers attached processes until it is closed. `answer` runs one call."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._scope = anyio.CancelScope()
        self._running = 0
        self._idle = anyio.Event()
        self._closing = False

    async def serve(self, home: Path, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen; the address is the task's start value. A failure of one connection harms no other."""
        with self._scope:
            bound, address, token = await anyio.to_thread.run_sync(_bound, home / SOCKET)
            async with await SocketListener.from_socket(bound) as listener:
                task_status.started(address)
                await listener.serve(lambda stream: self._connection(stream, token))

    async def aclose(self, grace: float) -> None:
        """Take no more calls, give the running ones `grace` seconds, then end them."""
        self._closing = True
        if self._running:
            with anyio.move_on_after(grace):
                await self._idle.wait()
        self._scope.cancel()

    async def _connection(self, stream: ByteStream, token: str) -> None:
        async with stream:
            try:
                reading = BufferedByteReceiveStream(stream)
                if token and not secrets.compare_digest(await reading.receive_exactly(len(token)), token.encode()):
                    return
                while not self._closing:
                    frame = await wire.receive(reading)
                    if frame is None:
                        return
                    await self._one(stream, reading, frame[1])
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, OSError):
                return  # it went; what it asked for is cancelled
            except Exception:
                log.exception("attach.failed a connection was dropped")

    async def _one(self, stream: ByteStream, reading: BufferedByteReceiveStream, payload: bytes) -> None:
        self._running += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._end_with_guest, reading, group.cancel_scope)
                kind, answer = await self._answered(stream, wire.unpacked(payload))
                group.cancel_scope.cancel()
            await wire.send(stream, kind, answer)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _answered(self, stream: ByteStream, request: wire.Asked) -> tuple[bytes, bytes]:
        async def progress(done: float, total: float | None, message: str) -> None:
            await wire.send(stream, wire.PROGRESS, compact([done, total, message]))

        try:
            value, text = await self._answer(request, progress)
        except LakehouseError as error:
            return wire.PROBLEM, wire.problem(error)
        if isinstance(value, Download):
            return wire.DOWNLOAD, value.model_dump_json().encode()
        return wire.RESULT, text or compact(value)

    async def _end_with_guest(self, reading: BufferedByteReceiveStream, scope: anyio.CancelScope) -> None:
        # A guest says nothing while it waits, so whatever arrives is its end.
        try:
            await reading.receive(1)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            scope.cancel()


def _bound(path: Path) -> tuple[socket.socket, str, str]:
    """A listening socket, its address, and the secret a guest has to begin with where anybody can reach it."""
    if sys.platform == "win32" or len(os.fsencode(path)) > MAX_SOCKET_PATH:
        # No socket can lie there: loopback, behind a secret that stands in a file only this user can read.
        token = secrets.token_hex(16)
        server = socket.create_server(("127.0.0.1", 0))
        return server, f"tcp:{server.getsockname()[1]}:{token}", token
    path.unlink(missing_ok=True)  # a dead owner's
    server = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(before)
    server.listen()
    return server, f"unix:{path}", ""
