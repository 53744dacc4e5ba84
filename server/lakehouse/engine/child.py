"""Worker processes that can be killed: framed messages over pipes, no environment, gone when their parent goes.

A frame is two little-endian lengths (u32 header, u64 payload), a JSON header and raw payload bytes.
"""

import json
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import anyio
from anyio.abc import Process

from lakehouse.errors import LakehouseError, by_code

_LENGTHS = struct.Struct("<IQ")


class ChildDied(Exception):
    """The process ended (or was killed) before it answered."""


class Child:
    """The parent's end of one worker process. One request at a time; `kill` is safe at any moment."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._unread = bytearray()

    @classmethod
    async def start(cls, module: str, setup: Mapping[str, Any]) -> "Child":
        """Start `python -m module` with an empty environment and send it its first message.

        Raises OSError when it cannot be started, ChildDied when it takes no message; nothing is left of it then.
        """
        # -I: neither the working directory nor the user's site-packages can put code into the child.
        process = await anyio.open_process(
            [sys.executable, "-I", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env=_no_environment(),
        )
        child = cls(process)
        try:
            await child.send(setup)
        except BaseException:
            await child.aclose()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send one frame. Raises ChildDied when nobody reads it."""
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(b"".join(_frame(header, payload)))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise ChildDied from None

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next frame. Raises ChildDied at the end of the stream, and the error that an error frame carries."""
        head, size = _LENGTHS.unpack(await self._exactly(_LENGTHS.size))
        header: dict[str, Any] = json.loads(await self._exactly(head))
        payload = await self._exactly(size)
        if "error" in header:
            problem = header["error"]
            raise by_code(problem["code"], problem["detail"], fix=problem["fix"], data=problem["data"])
        return header, payload

    async def _exactly(self, size: int) -> bytes:
        assert self._process.stdout is not None
        while len(self._unread) < size:
            try:
                self._unread += await self._process.stdout.receive(max(65536, min(size - len(self._unread), 2**20)))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise ChildDied from None
        found = bytes(self._unread[:size])
        del self._unread[:size]
        return found

    def kill(self) -> None:
        """End the process at once."""
        if self.alive:
            self._process.kill()

    async def aclose(self) -> None:
        """End the process and reap it."""
        with anyio.CancelScope(shield=True):
            self.kill()
            await self._process.aclose()


def _frame(header: Mapping[str, Any], payload: bytes | memoryview) -> tuple[bytes, bytes, bytes | memoryview]:
    text = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(text), len(payload)), text, payload


def _no_environment() -> dict[str, str]:
    keep = ("SYSTEMROOT",) if os.name == "nt" else ()  # Windows cannot start Python without it
    return {name: os.environ[name] for name in keep if name in os.environ}


Reply = Callable[..., None]


def serve(
    taken: Callable[[dict[str, Any], bytes], bool] = lambda header, payload: False,
) -> tuple[dict[str, Any], Iterator[tuple[dict[str, Any], bytes]], Reply]:
    """The child's side: its setup message, the requests after it, and `reply(header, payload=b"")`.

    `reply` may be called from any thread. `taken` is shown every message first, in a thread of its own; what it takes
    is no request.

    The process ends at once when the parent does, even in the middle of a query: a thread of its own waits for the
    end of the pipe. Whatever is printed goes to stderr; the pipe is the protocol's alone.
    """
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    inbox: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    replying = threading.Lock()

    def pump() -> None:
        while (message := _read(reading)) is not None:
            if not taken(*message):
                inbox.put(message)
        os._exit(0)

    def reply(header: Mapping[str, Any], payload: bytes | memoryview = b"") -> None:
        with replying:
            for part in _frame(header, payload):
                writing.write(part)
            writing.flush()

    def requests() -> Iterator[tuple[dict[str, Any], bytes]]:
        while True:
            yield inbox.get()

    threading.Thread(target=pump, daemon=True).start()
    setup, _ = inbox.get()
    return setup, requests(), reply


def bound(file_size: int, address_space: int | None = None) -> None:
    """Limit what the child may take, in bytes: no core dump, no file it writes over `file_size`, so much memory.

    Where the system has no such limit, or a stricter one came from outside, what there is holds.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_size}
    if address_space is not None:
        limits[resource.RLIMIT_AS] = address_space
    for kind, most in limits.items():
        with suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(kind, (most, most))


def error_frame(error: LakehouseError) -> dict[str, Any]:
    """An error as the header of a frame; the parent's `receive` raises it again."""
    return {"error": {"code": error.code, "detail": error.detail, "fix": error.fix, "data": error.data}}


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head, size = _LENGTHS.unpack(lengths)
    header, payload = stream.read(head), stream.read(size)
    return (json.loads(header), payload) if len(payload) == size else None
