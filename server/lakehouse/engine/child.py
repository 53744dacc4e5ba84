"""Worker processes that can be killed: framed messages over pipes, no environment, gone when their parent goes.

A frame is two little-endian lengths (u32 header, u64 payload), a JSON header and raw payload bytes.
"""

import json
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, Process, UNIXSocketStream
from anyio.streams.stapled import StapledByteStream

from lakehouse.engine.template import TEMPLATE, CannotFork, Forked
from lakehouse.errors import LakehouseError, by_code

_LENGTHS = struct.Struct("<IQ")


class ChildDied(Exception):
    """The process ended (or was killed) before it answered."""


class Child:
    """The parent's end of one worker process. One request at a time; `kill` is safe at any moment."""

    def __init__(self, process: "Process | _Fork", stream: ByteStream) -> None:
        self._process, self._stream = process, stream
        self._unread = bytearray()

    @classmethod
    async def start(cls, module: str, setup: Mapping[str, Any]) -> "Child":
        """A process that runs `module.main()` with an empty environment, given its first message.

        It is forked from the template where there is one, and started where not.

        Raises OSError when it cannot be started, ChildDied when it takes no message; nothing is left of it then.
        """
        try:
            process: Process | _Fork = _Fork(await anyio.to_thread.run_sync(TEMPLATE.fork, module))
        except CannotFork:
            # -I: neither the working directory nor the user's site-packages can put code into the child.
            process = await anyio.open_process(
                [sys.executable, "-I", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,
                env=_no_environment(),
            )
        try:
            child = cls(process, await _stream_of(process))
            await child.send(setup)
        except BaseException:
            with anyio.CancelScope(shield=True):
                process.kill()
                await process.aclose()
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
        try:
            await self._stream.send(b"".join(_frame(header, payload)))
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
        while len(self._unread) < size:
            try:
                self._unread += await self._stream.receive(max(65536, min(size - len(self._unread), 2**20)))
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


class _Fork:
    """A forked process, to be used as one that `anyio.open_process` started."""

    def __init__(self, forked: Forked) -> None:
        self.pid, self._handle, self.end = forked
        self.stream: UNIXSocketStream | None = None
        self._closing = anyio.Lock()

    @property
    def returncode(self) -> int | None:
        """None while it is there; nobody but its template is told how it ended."""
        if self._handle < 0:
            return -1
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return -1 if poll.poll(0) else None

    def kill(self) -> None:
        if self._handle >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    async def aclose(self) -> None:
        """Wait until it has ended, and give back what stands for it."""
        async with self._closing:
            if self._handle < 0:
                return
            if self.stream is not None:
                await self.stream.aclose()
            else:
                self.end.close()
            await anyio.wait_readable(self._handle)
            os.close(self._handle)
            self._handle = -1


async def _stream_of(process: Process | _Fork) -> ByteStream:
    if isinstance(process, _Fork):
        process.stream = await UNIXSocketStream.from_socket(process.end)
        return process.stream
    assert process.stdin is not None and process.stdout is not None
    return StapledByteStream(process.stdin, process.stdout)


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
        with suppress(ConnectionError):  # a socket's end when the parent was killed with answers unread
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
