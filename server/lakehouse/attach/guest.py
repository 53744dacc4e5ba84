"""The attached side: calls go to the owner of the data directory over its socket."""

import os
from dataclasses import replace
from typing import Any

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic_core import from_json

from lakehouse.attach import wire
from lakehouse.observe import Caller, Progress
from lakehouse.transfer import Download, Upload

_BROKEN = (OSError, BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead)
MAX_IDLE = 8  # connections kept for the next call


class Gone(Exception):
    """The owner ended. `sent` says whether it may have begun what it was asked."""

    def __init__(self, sent: bool) -> None:
        super().__init__("the owner of the data directory is gone")
        self.sent = sent


class _Line:
    """One connection; one call at a time."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.reading = BufferedByteReceiveStream(stream)


async def connect(address: str) -> "Attachment | None":
    """Attach to the owner that answers at an address; None when nobody does."""
    attachment = Attachment(address)
    try:
        attachment.keep(await attachment.dial())
    except OSError:
        return None
    return attachment


class Attachment:
    """Connections to the owner, as many as there are calls at once."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._idle: list[_Line] = []

    async def dial(self) -> _Line:
        """A new connection. Raises OSError when the owner does not answer."""
        kind, _, rest = self._address.partition(":")
        if kind == "unix":
            return _Line(await anyio.connect_unix(rest))
        port, _, token = rest.partition(":")
        stream = await anyio.connect_tcp("127.0.0.1", int(port))
        await stream.send(token.encode())
        return _Line(stream)

    def keep(self, line: _Line) -> None:
        """Keep a connection for the next call."""
        self._idle.append(line)

    async def call(
        self,
        name: str,
        arguments: Any,
        caller: Caller,
        progress: Progress,
        *,
        upload: Upload | None,
        limit: int | None,
    ) -> tuple[Any, bytes]:
        """Have the owner run a capability: its result, and that as compact JSON.

        Raises Gone when the owner ends, and what the capability raises.
        """
        here = replace(caller, folder=caller.folder or os.getcwd())
        request = wire.packed(wire.Asked(name, arguments, here, upload, limit))
        sent, done = False, False
        try:
            line = self._idle.pop() if self._idle else await self.dial()
        except OSError:
            raise Gone(sent=False) from None
        try:
            sent = True
            await wire.send(line.stream, wire.ASK, request)
            while True:
                frame = await wire.receive(line.reading)
                if frame is None:
                    raise Gone(sent)
                kind, payload = frame
                if kind == wire.PROGRESS:
                    await progress(*from_json(payload))
                    continue
                done = True
                if kind == wire.PROBLEM:
                    raise wire.raised(payload)
                if kind == wire.DOWNLOAD:
                    return Download.model_validate_json(payload), b""
                return from_json(payload), payload
        except _BROKEN:
            raise Gone(sent) from None
        finally:
            if done and len(self._idle) < MAX_IDLE:
                self._idle.append(line)
            else:
                with anyio.CancelScope(shield=True):
                    await anyio.aclose_forcefully(line.stream)

    async def aclose(self) -> None:
        """Close the idle connections."""
        idle, self._idle = self._idle, []
        for line in idle:
            await anyio.aclose_forcefully(line.stream)
