"""Files on their way in: spooled to the data directory's disk, within their limits, and gone after the call."""

import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import Receive

from lakehouse.config import Config
from lakehouse.declare import Capability
from lakehouse.errors import Busy, InvalidInput, disk_failed
from lakehouse.faces.http.rest import body
from lakehouse.faces.http.rest.form import FIX, MAX_FIELD_BYTES, Form
from lakehouse.transfer import Accepts, Upload

FOLDER = "uploads"
LEFTOVER_SECS = 24 * 3600
RETRY_SECS = 5
FORM = "multipart/form-data"
_FLUSH = 2**20  # bytes kept in memory of an upload, and written at once
_FORM_ROOM = MAX_FIELD_BYTES + 2**16  # what a form may hold beside its file


class Uploads:
    """The uploads that run, and the folder they are spooled to."""

    def __init__(self, home: Path, config: Config, received: Callable[[int], None]) -> None:
        """`received` is told the size of each file that came whole."""
        self._received = received
        self._folder = home / FOLDER
        self._config = config
        self._slots = anyio.Semaphore(config.storage.upload_slots)

    async def sweep(self) -> None:
        """Remove what killed processes left. Others may run on this data directory, so only what is a day old goes."""
        await anyio.to_thread.run_sync(self._sweep)

    @asynccontextmanager
    async def raw(
        self, capability: Capability, arguments: Mapping[str, Any], receive: Receive, headers: Headers
    ) -> AsyncIterator[Upload]:
        """A body that is the file itself. Raises TooLarge naming the setting, Busy at once when all slots are taken."""
        with self._slot(capability) as accepts:
            limit, fix = accepts.limit(self._config, arguments), _raise(accepts)
            body.plain(headers)
            async with self._spooled() as spool:
                async for piece in body.pieces(receive, headers, limit, fix):
                    await spool.write(piece)
                self._received(spool.size)
                yield await spool.finished("", headers.get("content-type", ""))

    @asynccontextmanager
    async def form(
        self, capability: Capability, arguments: Mapping[str, Any], receive: Receive, headers: Headers
    ) -> AsyncIterator[tuple[Upload, dict[str, list[str]]]]:
        """The file of a form, and its other fields. Raises as `raw` does, and InvalidInput for what is no such form."""
        with self._slot(capability) as accepts:
            limit, fix = accepts.limit(self._config, arguments), _raise(accepts)
            body.plain(headers)
            form = Form(headers.get("content-type", ""))
            async with self._spooled() as spool:
                async for piece in body.pieces(receive, headers, limit + _FORM_ROOM, fix):
                    for part in form.feed(piece):
                        await spool.write(part)
                    if spool.size > limit:
                        raise body.too_large("its file is", limit, fix)
                form.finish()
                self._received(spool.size)
                yield await spool.finished(form.filename, form.media_type), form.fields

    @asynccontextmanager
    async def _spooled(self) -> AsyncIterator["_Spool"]:
        spool: _Spool | None = None
        try:
            spool = await anyio.to_thread.run_sync(_Spool, self._folder)
            yield spool
        except OSError as error:
            if error.errno is None:  # a time limit is an OSError, too
                raise
            raise disk_failed(error) from error
        finally:
            if spool is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(spool.remove)

    @contextmanager
    def _slot(self, capability: Capability) -> Iterator[Accepts]:
        """One of the places for uploads, and how much the capability takes."""
        assert capability.upload is not None
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            fix = f"Try again in {RETRY_SECS} seconds."
            raise Busy("all upload slots are taken.", fix=fix, retry_after=RETRY_SECS) from None
        try:
            yield capability.upload[1]
        finally:
            self._slots.release()

    def _sweep(self) -> None:
        oldest = time.time() - LEFTOVER_SECS
        for path in self._folder.glob("*"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


class _Spool:
    """A file that grows. Its methods that touch the disk run in worker threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        descriptor, path = tempfile.mkstemp(dir=folder)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb", buffering=0)
        self._path = Path(path)
        self._kept = bytearray()
        self.size = 0

    async def write(self, piece: bytes) -> None:
        self._kept += piece
        self.size += len(piece)
        if len(self._kept) >= _FLUSH:
            await anyio.to_thread.run_sync(self._flush)

    async def finished(self, filename: str, media_type: str) -> Upload:
        await anyio.to_thread.run_sync(self._close)
        return Upload(path=self._path, size=self.size, filename=plain_name(filename), media_type=media_type)

    def remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        kept, self._kept = memoryview(self._kept), bytearray()
        while kept:
            kept = kept[self._file.write(kept) :]

    def _close(self) -> None:
        self._flush()
        self._file.close()


def plain_name(filename: str) -> str:
    """The last part of what a sender calls a file, without what a name cannot hold."""
    return re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename)[-1])[:255]


def refused(headers: Headers) -> InvalidInput:
    """The error for a body that is neither JSON nor a form."""
    kind = body.media_type(headers)[:100] or "missing"
    return InvalidInput(f"the body: its content type is {kind}.", fix=f"{FIX} Or send JSON.")


def _raise(accepts: Accepts) -> str:
    return f"Send less, or raise {accepts.setting}."
