"""What a node's programs print, line by line as it comes, in a file of the run's folder."""

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.files import make_folder
from lakehouse.errors import disk_failed

MAX_BYTES = 4 * 2**20
MAX_LINE = 8192


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
