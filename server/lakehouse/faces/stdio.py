"""MCP over this process's own pipes: native asyncio pipes, and an end within a second of whatever ends us."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from lakehouse.faces import lines
from lakehouse.faces.ending import insist_on_ending

PARENT_CHECK = 0.25  # seconds between looks at whether our parent is still there


@dataclass(frozen=True)
class Wire:
    """Descriptors of the pipes a client writes to and reads from."""

    reading: int
    writing: int


def take_wire() -> Wire | None:
    """Our stdin and stdout; from here on fd 0 is empty and fd 1 is stderr, so that no stray print, no plugin and no
    child process can touch the wire. None where pipes cannot be native (Windows; stdin from a file)."""
    if sys.platform == "win32" or not (_pipe(0) and _pipe(1)):
        return None
    wire = Wire(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return wire


async def serve_stdio(server: Server[Any], max_line: int, wire: Wire | None) -> None:
    """Serve until the client closes its end, SIGINT, SIGTERM, or the death of our parent.

    A line over `max_line` bytes, or one that is no message, is answered with a JSON-RPC error. Without a wire the SDK's
    transport does it.
    """
    options = server.create_initialization_options()
    await pump(lambda reading, writing: server.run(reading, writing, options), max_line, wire)


async def pump(answer: Callable[[Any, Any], Awaitable[None]], max_line: int, wire: Wire | None) -> None:
    """Give what the client sends to `answer`, as a stream of messages, and send what it puts into the other stream."""
    async with anyio.create_task_group() as group:
        group.start_soon(_end_with_parent, group.cancel_scope)
        group.start_soon(_end_on_signals, group.cancel_scope)
        async with _streams(group, max_line, wire) as (reading, writing):
            await answer(reading, writing)
        group.cancel_scope.cancel()


async def _end_on_signals(scope: anyio.CancelScope) -> None:
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            insist_on_ending()
            scope.cancel()


async def _end_with_parent(scope: anyio.CancelScope) -> None:
    # A host that is killed may leave our pipes open in another child of its own; then no end of file comes.
    parent = os.getppid()
    while os.getppid() == parent:
        await anyio.sleep(PARENT_CHECK)
    insist_on_ending()
    scope.cancel()


@asynccontextmanager
async def _streams(group: TaskGroup, max_line: int, wire: Wire | None) -> AsyncIterator[tuple[Any, Any]]:
    if wire is None:
        async with stdio_server() as streams:
            yield streams
        return
    reader, writer = await _native_pipes(max_line, wire)
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](64)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](64)
    group.start_soon(_read, reader, max_line, to_server, outgoing.clone())
    group.start_soon(_write, writer, from_server)
    yield incoming, outgoing


def _pipe(handle: int) -> bool:
    """Whether the event loop can wait on it: a pipe, a socket or a terminal, not a file and not /dev/null."""
    mode = os.fstat(handle).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(handle)


async def _native_pipes(max_line: int, wire: Wire) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=max_line)
    wire_in, wire_out = os.fdopen(wire.reading, "rb", 0), os.fdopen(wire.writing, "wb", 0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), wire_in)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, wire_out)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _read(
    reader: asyncio.StreamReader,
    max_line: int,
    to_server: MemoryObjectSendStream[SessionMessage | Exception],
    to_client: MemoryObjectSendStream[SessionMessage],
) -> None:
    async with to_server, to_client:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
                if not line.strip():
                    insist_on_ending()
                    return
            except asyncio.LimitOverrunError as error:
                head, tail = await _skip_line(reader, error.consumed)
                await to_client.send(SessionMessage(lines.too_long(head, tail, max_line)))
                continue
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError as error:
                if (answer := lines.refused(line, error)) is not None:
                    await to_client.send(SessionMessage(answer))
                continue
            if isinstance(message, types.JSONRPCNotification) and (answer := lines.unanswerable(line)) is not None:
                await to_client.send(SessionMessage(answer))
                continue
            await to_server.send(SessionMessage(message))


async def _skip_line(reader: asyncio.StreamReader, consumed: int) -> tuple[bytes, bytes]:
    """Drop an over-long line without ever holding it whole; what remains are its first and last bytes."""
    head = tail = b""
    while True:
        part = await reader.readexactly(consumed)
        try:
            part += await reader.readuntil(b"\n")
            consumed = 0
        except asyncio.LimitOverrunError as error:
            consumed = error.consumed
        except asyncio.IncompleteReadError as end:
            part, consumed = part + end.partial, 0
        head = head or part[: lines.EDGE]
        tail = (tail + part)[-lines.EDGE :]
        if not consumed:
            return head, tail


async def _write(writer: asyncio.StreamWriter, from_server: MemoryObjectReceiveStream[SessionMessage]) -> None:
    async with from_server:
        async for outgoing in from_server:
            text = outgoing.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                writer.write(text.encode("utf-8", "replace") + b"\n")
                await writer.drain()
            except (BrokenPipeError, ConnectionResetError):
                return
