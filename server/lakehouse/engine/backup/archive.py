"""The file a backup is: a tar compressed with zstd, that begins with what it is and ends with a hash of each entry.

`lakehouse-backup.json` is the first entry, `SHA256SUMS` the last: lines as sha256sum has them, in the order of the
entries. `tar --zstd -x` reads one. All of this blocks.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from lakehouse.engine import files
from lakehouse.errors import InvalidInput, Upstream

FORMAT = 1
HEADER, SUMS = "lakehouse-backup.json", "SHA256SUMS"
PIECE = 2**20
STEP = 64 * PIECE  # between two signs of life
_BLOCK = tarfile.BLOCKSIZE
_MAX_HEADER = 2**20
MAX_PATH_BYTES = 4096


@dataclass
class Told:
    """How far it is: entries and their bytes."""

    entries: int = 0
    bytes: int = 0


# Where below the folder an entry goes, given its name. Raises InvalidInput for one that has no place.
Target = Callable[[PurePosixPath], Path]


class Writer:
    """Writes an archive into a file that is not there yet."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        import pyarrow

        self.told = Told()
        self._path = path
        self._file = path.open("xb")
        self._out: Any = pyarrow.CompressedOutputStream(pyarrow.PythonFile(self._file, "w"), "zstd")
        self._sums: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)
        header = json.dumps({"format": FORMAT, **about}, indent=1).encode()
        for _ in self._entry(HEADER, io.BytesIO(header), len(header), 0o644):
            pass

    def add(self, name: str, path: Path) -> Iterator[Told]:
        """Write a file's contents as they are at this moment; yields now and then. Raises OSError."""
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            yield from self._entry(name, file, facts.st_size, facts.st_mode & 0o777)
        self.told.entries += 1

    def finish(self) -> int:
        """Write the hashes, and make all of it durable; returns its size."""
        size = self._sums.tell()
        self._sums.seek(0)
        for _ in self._entry(SUMS, self._sums, size, 0o644):
            pass
        self._out.write(bytes(2 * _BLOCK))
        self._out.close()  # and the file with it
        files.sync_file(self._path)
        return self._path.stat().st_size

    def close(self) -> None:
        """Let the files go."""
        self._sums.close()
        self._file.close()

    def _entry(self, name: str, file: IO[bytes], size: int, mode: int) -> Iterator[Told]:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, mode
        self._out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        digest, left, since = hashlib.sha256(), size, 0
        while left:
            piece = file.read(min(PIECE, left))
            if not piece:
                raise OSError(0, f"{name} became shorter while it was read")
            digest.update(piece)
            self._out.write(piece)
            left -= len(piece)
            since += len(piece)
            self.told.bytes += len(piece) * (name not in (HEADER, SUMS))
            if since >= STEP:
                since = 0
                yield self.told
        self._out.write(bytes(-size % _BLOCK))
        if name != SUMS:
            self._sums.write(f"{digest.hexdigest()}  {name}\n".encode("utf-8", "surrogateescape"))


class Reader:
    """Reads an archive into a folder. Every entry is checked before the last step returns."""

    def __init__(self, path: Path) -> None:
        self.told = Told()
        self._path = path
        self._at = "its beginning"
        self.about: dict[str, Any] = {}

    def unpack(self, folder: Path, target: Target) -> Iterator[Told]:
        """Write the entries below a folder, where `target` says; yields now and then.

        Raises InvalidInput naming the entry for what is no backup, damaged, or not to be unpacked; OSError.
        """
        import pyarrow

        try:
            with (
                pyarrow.input_stream(str(self._path), compression="zstd") as stream,
                tempfile.TemporaryFile(dir=folder) as sums,
            ):
                yield from self._unpack(stream, folder, target, sums)
        except (tarfile.TarError, EOFError, pyarrow.ArrowException) as error:
            raise self._bad(f"it is damaged or cut off at {self._at}") from error
        except OSError as error:
            # The decompressor's own have no number.
            if error.errno is None:
                raise self._bad(f"it is damaged or cut off at {self._at}") from error
            raise

    def _unpack(self, stream: Any, folder: Path, target: Target, sums: IO[bytes]) -> Iterator[Told]:
        with tarfile.open(
            fileobj=cast(Any, _Readable(stream)), mode="r|", errors="strict", encoding="utf-8"
        ) as archive:
            whole = False
            for info in archive:
                if whole:
                    raise self._bad(f"{info.name!r} comes after its end")
                self._at = f"entry {info.name!r}"
                data = archive.extractfile(info) if info.isreg() else None
                if data is None:
                    raise self._bad(f"entry {info.name!r} is no file")
                if not self.about:
                    self._begin(info, data, sums)
                elif info.name == SUMS:
                    self._check(data, sums)
                    whole = True
                else:
                    yield from self._file(info, data, folder, target, sums)
            if not whole:
                raise self._bad(f"it is cut off after {self._at}")

    def _begin(self, info: tarfile.TarInfo, data: IO[bytes], sums: IO[bytes]) -> None:
        if info.name != HEADER or info.size > _MAX_HEADER:
            raise self._bad(f"it begins with {info.name!r}: it is no backup of Lakehouse")
        try:
            text = data.read()
            about = json.loads(text)
            if about["format"] != FORMAT:
                raise self._bad(f"it has format {about['format']!r}; this Lakehouse reads {FORMAT}")
        except (ValueError, KeyError, TypeError) as error:
            raise self._bad(f"its {HEADER} cannot be read") from error
        self.about = about
        sums.write(f"{hashlib.sha256(text).hexdigest()}  {HEADER}\n".encode())

    def _file(
        self, info: tarfile.TarInfo, data: IO[bytes], folder: Path, target: Target, sums: IO[bytes]
    ) -> Iterator[Told]:
        path = folder / target(checked(info.name))
        digest, since = hashlib.sha256(), 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise self._bad(f"entry {info.name!r} is there twice, or is a folder of others") from None
        with file:
            while piece := data.read(PIECE):
                digest.update(piece)
                file.write(piece)
                since += len(piece)
                self.told.bytes += len(piece)
                if since >= STEP:
                    since = 0
                    yield self.told
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o444 if not info.mode & 0o200 else 0o600 if not info.mode & 0o044 else 0o644)
        sums.write(f"{digest.hexdigest()}  {info.name}\n".encode("utf-8", "surrogateescape"))
        self.told.entries += 1
        yield self.told

    def _check(self, given: IO[bytes], found: IO[bytes]) -> None:
        found.seek(0)
        for line in given:
            mine = found.readline()
            if line != mine:
                name = (mine or line).decode("utf-8", "replace").rstrip("\n").partition("  ")[2]
                raise self._bad(f"entry {name!r} is not what was backed up")
        if found.readline():
            raise self._bad("it has entries without a hash")

    def _bad(self, why: str) -> InvalidInput:
        return InvalidInput(f"{self._path} cannot be restored: {why}.", fix="Use another backup; nothing was restored.")


class _Readable:
    """What tarfile wants of a stream: reads that are only short at the end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """So many bytes, or all that are left."""
        parts = []
        while size and (piece := self._stream.read(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)


def checked(name: str) -> PurePosixPath:
    """An entry's name as a relative path. Raises InvalidInput for one that leads elsewhere or that no backup has."""
    path = PurePosixPath(name)
    parts = name.split("/")
    wrong = not name or "\0" in name or "\\" in name or len(name.encode("utf-8", "surrogateescape")) > MAX_PATH_BYTES
    if wrong or path.is_absolute() or any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        raise InvalidInput(
            f"the backup cannot be restored: entry {name[:200]!r} leads out of the data directory.",
            fix="It was not made by Lakehouse; use another.",
        )
    return path


def lost(error: OSError, what: str) -> Upstream:
    """The error for a file that cannot be read or written."""
    return Upstream(f"{what}: {error.strerror or error}.", fix="Make room, or mend the disk, and try again.")
