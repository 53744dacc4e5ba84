"""What a node's programs print, line by line as it comes, in a file of the run's folder."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.files import make_folder
from lakehouse.errors import disk_failed

MAX_BYTES = 4 * 2**20
MAX_LINE = 8192
MAX_NAME = 120


def file_name(path: str) -> str:
    """A node's path as a name for files: no separators, and none too long."""
    name = quote(path, safe="#").replace(".", "%2E")
    if len(name) <= MAX_NAME:
        return name
    return f"{name[:MAX_NAME]}-{hashlib.sha256(path.encode('utf-8', 'replace')).hexdigest()[:16]}"


def log_of(folder: Path, path: str) -> Path:
    """The log of a node in its run's folder: lines of when (ISO, UTC), `out` or `err`, and what."""
    return folder / "logs" / f"{file_name(path)}.log"


class Log:
    """The log of one node, added to. Credentials are cut out; after 4 MiB nothing more is kept."""

    def __init__(self, path: Path, clean: Callable[[str], str], now: Callable[[], float]) -> None:
        self._path = path
        self._clean = clean
        self._now = now
        self._rest = {"stdout": b"", "stderr": b""}
        self._room: int | None = None
        self._turn = anyio.Lock(fast_acquire=True)

    async def write(self, stream: str, chunk: bytes) -> None:
        """Keep what is whole lines by now."""
        whole, _, rest = (self._rest[stream] + chunk).rpartition(b"\n")
        if len(rest) > MAX_LINE:
            whole, rest = (whole + b"\n" if whole else b"") + rest, b""
        self._rest[stream] = rest
        if whole:
            await self._keep(stream, whole)

    async def close(self) -> None:
        """Keep the last lines, though nothing ended them."""
        for stream, rest in self._rest.items():
            if rest:
                await self._keep(stream, rest)

    async def _keep(self, stream: str, lines: bytes) -> None:
        async with self._turn:
            if self._room is None or self._room > 0:
                try:
                    await anyio.to_thread.run_sync(self._append, "out" if stream == "stdout" else "err", lines)
                except OSError as error:
                    raise disk_failed(error) from error

    def _append(self, name: str, lines: bytes) -> None:
        if self._room is None:
            make_folder(self._path.parent)
            self._room = MAX_BYTES - (self._path.stat().st_size if self._path.exists() else 0)
        head = f"{moment.text_of(self._now())} {name} "
        text = self._clean(lines[: max(self._room, 0)].decode("utf-8", "replace"))
        data = "".join(f"{head}{line}\n" for line in text.split("\n")).encode("utf-8", "replace")
        with self._path.open("ab") as file:
            file.write(data[: max(self._room, 0)])
            self._room -= len(data)
            if self._room <= 0:
                file.write(f"\n{head}… what follows is not kept.\n".encode())
