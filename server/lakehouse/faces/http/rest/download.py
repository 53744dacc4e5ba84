"""Files on their way out: streamed, with their tag, whole or a range of them."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import IO
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Receive, Scope, Send

from lakehouse.errors import LakehouseError, NotFound
from lakehouse.transfer import Download

PIECE = 2**18
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class Sending:
    """An ASGI answer that sends one file; a file that was made for it is removed afterwards."""

    def __init__(self, download: Download) -> None:
        self._download = download

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NotFound before anything is sent when the file has gone meanwhile."""
        file: IO[bytes] | None = None
        try:
            opened, size = await anyio.to_thread.run_sync(self._open)
            file = opened
            await self._send(opened, size, scope, send)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close, file)

    async def _send(self, file: IO[bytes], size: int, scope: Scope, send: Send) -> None:
        asked = Headers(scope=scope)
        headers = MutableHeaders(dict(self._download.headers))
        tag = self._tag(size)
        headers["etag"] = tag
        headers["accept-ranges"] = "bytes"
        if _holds(asked.get("if-none-match"), tag):
            await send({"type": "http.response.start", "status": 304, "headers": headers.raw})
            await send({"type": "http.response.body", "body": b""})
            return
        status, begin, end = 200, 0, size
        if "range" in asked and asked.get("if-range", tag) == tag:
            status, begin, end = _part(asked["range"], size)
        headers["content-type"] = self._download.media_type
        headers["content-length"] = str(end - begin)
        # What somebody stored is data, whatever it says: a browser must not run it as a page of ours.
        headers["x-content-type-options"] = "nosniff"
        headers["content-security-policy"] = "default-src 'none'; sandbox"
        if self._download.filename:
            headers["content-disposition"] = "attachment; filename*=UTF-8''" + quote(self._download.filename, safe="")
        if status != 200:
            headers["content-range"] = f"bytes {begin}-{end - 1}/{size}" if status == 206 else f"bytes */{size}"
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        if scope["method"] != "HEAD":
            await anyio.to_thread.run_sync(file.seek, begin)
            while begin < end:
                piece = await anyio.to_thread.run_sync(file.read, min(PIECE, end - begin))
                if not piece:
                    raise LakehouseError("a file became shorter while it was sent.")
                begin += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": begin < end})
                if begin == end:
                    return
        await send({"type": "http.response.body", "body": b""})

    def _open(self) -> tuple[IO[bytes], int]:
        try:
            file = self._download.path.open("rb")
        except FileNotFoundError:
            raise NotFound("it is not there any more.", fix="List what there is.") from None
        return file, os.fstat(file.fileno()).st_size

    def _close(self, file: IO[bytes] | None) -> None:
        if file is not None:
            file.close()
        if self._download.temporary:
            with suppress(OSError):
                self._download.path.unlink()

    def _tag(self, size: int) -> str:
        given = self._download.etag
        # Replaced between being looked up and being opened: its tag is that of other contents.
        if given is None or size != self._download.size:
            given = os.urandom(16).hex()
        return '"' + re.sub(r'["\x00-\x20\x7f-\U0010ffff]', "", given) + '"'


def preferred(headers: Headers, formats: Mapping[str, str]) -> str | None:
    """The format that an Accept header likes best of those there are, by media type; None where it names none."""
    best: tuple[float, str | None] = (0.0, None)
    for part in headers.get("accept", "").split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in formats:
            said = next((p.partition("=")[2] for p in parameters if p.startswith("q=")), "1")
            quality = float(said) if re.fullmatch(r"[01](\.\d{0,3})?", said) else 0.0
            best = max(best, (quality, formats[kind]), key=lambda liked: liked[0])  # of equals the first
    return best[1]


def _holds(tags: str | None, tag: str) -> bool:
    """Whether a list of tags as headers have it names this one, or any."""
    return tags is not None and (tags.strip() == "*" or tag in (t.strip().removeprefix("W/") for t in tags.split(",")))


def _part(asked: str, size: int) -> tuple[int, int, int]:
    """The status and the bytes for a Range header. Several ranges, or none that can be read: the whole."""
    found = _RANGE.fullmatch(asked.strip().replace(" ", ""))
    if found is None:
        return 200, 0, size
    first, last, tail = found.groups()
    begin = int(first) if first else max(0, size - int(tail))
    end = min(size, int(last) + 1) if last else size
    if first and last and int(last) < int(first):
        return 200, 0, size
    return (206, begin, end) if begin < end else (416, 0, 0)
