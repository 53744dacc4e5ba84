"""The owner's side: a socket in the data directory, open to the same user only, where attached processes call."""

import asyncio
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.attach import wire
from lakehouse.attach.line import MAX_FRAME, Ended, Line, Oversized, only_here
from lakehouse.errors import LakehouseError, TooLarge
from lakehouse.observe import Progress, log
from lakehouse.preview import compact
from lakehouse.transfer import Download

SOCKET = "lake.sock"
MAX_SOCKET_PATH = 100  # bytes: what every system takes as a socket's path
SECRET_SECS = 10  # how long a stranger may take to prove itself
BACKLOG = 1024  # guests that may knock at once
LAST_SECS = 1  # how long the last answers may take to leave
Answer = Callable[[wire.Asked, Progress], Awaitable[tuple[Any, bytes]]]


class Reception:
    """Answers attached processes until it is closed.

    `answer` runs one call, `about` says who answers, and `clean` cuts credentials out of what caused an error.
    """

    def __init__(self, home: Path, answer: Answer, about: Mapping[str, Any], clean: Callable[[str], str]) -> None:
        self._path = home / SOCKET
        self._answer = answer
        self._hello = wire.hello(about)
        self._clean = clean
        self._secret = b""
        self._knocking: asyncio.Queue[Line] = asyncio.Queue()
        self._lines: set[Line] = set()
        self._running: set[Line] = set()
        self._quiet = anyio.Event()
        self._closing = False
        self._scope = anyio.CancelScope()
        self._listener: asyncio.Server | None = None
        self._bound: tuple[int, int] | None = None  # our socket's file
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> str:
        """Listen; returns the address. Raises OSError when that cannot be."""
        address = await self._listen()
        # A task of its own, ended in `aclose`, and not a task group around the open lake: that would tie the lake to
        # the task that opened it, wrap what its block raises, and end guests' calls at the first sign of an end here.
        # An empty context: what a guest asks for is not part of the call that happened to open the lake.
        self._serving = asyncio.create_task(self._serve(), context=Context())
        return address

    async def renew(self) -> None:
        """Listen again where somebody removed the socket. Connections stay. Raises OSError when that cannot be."""
        if not self._secret and not await anyio.to_thread.run_sync(self._ours) and not self._closing:
            if self._listener is not None:
                self._listener.close()
            await self._listen()

    async def _listen(self) -> str:
        bound, address, self._secret = await anyio.to_thread.run_sync(_bound, self._path)
        only_here(bound)
        loop = asyncio.get_running_loop()
        try:
            if self._secret:
                self._listener = await loop.create_server(self._line, sock=bound, backlog=BACKLOG)
            else:
                self._listener = await loop.create_unix_server(self._line, sock=bound, backlog=BACKLOG)
        except BaseException:
            bound.close()
            raise
        if not self._secret:
            self._bound = await anyio.to_thread.run_sync(_identity, self._path)
        return address

    async def aclose(self, grace: float) -> None:
        """Take no more calls, give the running ones `grace` seconds, then end them."""
        self._closing = True
        with anyio.CancelScope(shield=True):
            if self._listener is not None:
                self._listener.close()
            if not self._secret:
                await anyio.to_thread.run_sync(self._remove)
            for line in self._lines - self._running:
                if not line.waiting:  # what has just arrived is told that we are going
                    line.close()
            if self._running:
                with anyio.move_on_after(grace):
                    await self._quiet.wait()
            self._scope.cancel()
            if self._serving is not None:
                await asyncio.wait([self._serving])
            for line in list(self._lines):  # nobody has attended to it yet
                line.abort()
                await line.closed()

    def _ours(self) -> bool:
        return self._bound is not None and _identity(self._path) == self._bound

    def _remove(self) -> None:
        if self._ours():  # else it is that of another owner, of another directory at our path
            self._path.unlink(missing_ok=True)

    async def _serve(self) -> None:
        with self._scope:
            async with anyio.create_task_group() as group:
                while True:
                    group.start_soon(self._attend, await self._knocking.get())

    def _line(self) -> Line:
        return Line(self._opened)

    def _opened(self, line: Line) -> None:
        self._lines.add(line)
        self._knocking.put_nowait(line)

    async def _attend(self, line: Line) -> None:
        """One connection, from its first frame to its end. Its failure harms no other."""
        try:
            if self._secret and not await self._proven(line):
                return
            await line.send(wire.HELLO, self._hello)
            while True:
                kind, payload = await line.receive()
                if self._closing:
                    await line.send(wire.GOING, b"")
                    return
                # A guest says nothing while it waits: whatever comes then is its end, or its mistake.
                if kind != wire.ASK or line.waiting or not await self._one(line, payload):
                    return
        except Ended:
            return  # it went; what it asked for is cancelled
        except Oversized:
            error = TooLarge(f"the request is over {MAX_FRAME} bytes.", fix="Put the data into a file.")
            await self._last(line, wire.problem(error, self._clean))
        except Exception:
            log.exception("attach.failed a connection was dropped")
        finally:
            line.close()
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(LAST_SECS):
                    await line.closed()
                line.abort()
                await line.closed()
            self._lines.discard(line)

    async def _last(self, line: Line, problem: bytes) -> None:
        with suppress(Ended):
            await line.send(wire.PROBLEM, problem)

    async def _proven(self, line: Line) -> bool:
        """Whether the other side knows the secret. Nothing is answered before it is."""
        line.limit = len(self._secret)
        with anyio.move_on_after(SECRET_SECS):
            try:
                kind, given = await line.receive()
            except Oversized:
                return False
            line.limit = MAX_FRAME
            return kind == wire.SECRET and secrets.compare_digest(given, self._secret)
        return False

    async def _one(self, line: Line, payload: bytes) -> bool:
        """One call. False when the other side did not wait for its end."""
        self._running.add(line)
        try:
            with anyio.CancelScope() as scope:
                line.watch = scope.cancel
                kind, answer = await self._answered(line, payload)
                line.watch = None
            if scope.cancelled_caught:
                return False
            await line.send(kind, answer)
            return True
        finally:
            line.watch = None
            self._running.discard(line)
            if not self._running and self._closing:
                self._quiet.set()

    async def _answered(self, line: Line, payload: bytes) -> tuple[bytes, bytes]:
        async def progress(done: float, total: float | None, message: str) -> None:
            with suppress(Ended):  # who asked has gone, and what it asked for is being cancelled
                await line.send(wire.PROGRESS, compact([done, total, message]))

        try:
            value, text = await self._answer(wire.unpacked(payload), progress)
            kind, body = wire.RESULT, text
            if isinstance(value, Download):
                kind, body = wire.DOWNLOAD, value.model_dump_json().encode()
            elif not text:
                body = wire.result(value)
            if len(body) > MAX_FRAME:
                raise TooLarge(
                    f"the result has {len(body)} bytes; at most {MAX_FRAME} can be sent.", fix="Ask for less."
                )
        except LakehouseError as error:
            return wire.PROBLEM, wire.problem(error, self._clean)
        return kind, body


def _bound(path: Path) -> tuple[socket.socket, str, bytes]:
    """A bound socket, its address, and the secret a guest has to begin with where anybody can reach it."""
    if reachable(path):
        with suppress(OSError):  # not every file system takes sockets
            return _bound_at(path), f"unix:{path}", b""
    # Loopback, behind a secret that stands in a file only this user can read.
    secret = secrets.token_hex(16)
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    return server, f"tcp:{server.getsockname()[1]}:{secret}", secret.encode()


def _bound_at(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # a dead owner's: only the owner comes here
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(str(path))
        path.chmod(0o600)  # before anybody can connect: it does not listen yet
    except BaseException:
        server.close()
        raise
    return server


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def reachable(path: Path) -> bool:
    """Whether a socket can lie at a path here."""
    return sys.platform != "win32" and len(str(path).encode(errors="surrogateescape")) <= MAX_SOCKET_PATH
