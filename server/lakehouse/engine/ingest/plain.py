"""The plain file a reader gets: not compressed, UTF-8, and really of the format it claims."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.errors import InvalidInput, TooLarge

CHUNK = 2**20
# Python's text codecs that stand for themselves; others can be converted before they come here.
ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252")

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
# UTF-32's mark starts with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ZIP = "a ZIP archive (an .xlsx file is one)"
_LOOKS = (
    (b"PAR1", "Parquet"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", _ZIP),
    (b"\xd0\xcf\x11\xe0", "an old or encrypted Office document"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "gzip inside compression"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)
_CALLED = {"parquet": "Parquet", "json": "JSON", "jsonl": "JSON", "xlsx": "an Excel workbook", "pdf": "PDF"}
_BINARY = {"parquet": "Parquet", "xlsx": _ZIP, "pdf": "PDF"}
_JSON = re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{\]])")


@dataclass(frozen=True)
class Limits:
    """What the reader may use. `max_bytes` bounds the unpacked file, `max_cell` one line, cell or record."""

    max_bytes: int
    max_cell: int


def not_utf8(line: int, found: bytes) -> InvalidInput:
    """The error for bytes that are not UTF-8."""
    return InvalidInput(
        f"line {line}: the bytes {found[:4].hex(' ')} are not UTF-8.",
        fix='Save the file as UTF-8, or give encoding="latin-1" if that is what it is.',
        data={"line": line},
    )


def plain(path: Path, source: str, limits: Limits, encoding: str | None = None) -> Path:
    """The file itself when a reader can take it as it is, else a plain copy in the working folder.

    gzip and zstd are known by their first bytes, whatever the name says; UTF-16 and UTF-32 by their byte order mark.

    Raises InvalidInput when the contents are damaged or of another format, TooLarge when they unpack to too much.
    """
    if encoding is not None and encoding.lower() not in ENCODINGS:
        raise InvalidInput(
            f"encoding: {encoding[:40]!r} is not one to ask for.", fix=f"Use one of {', '.join(ENCODINGS)}."
        )
    head = _head(path)
    packed = next((how for mark, how in _COMPRESSED.items() if head.startswith(mark)), None)
    claimed = _SUFFIXES.get(path.suffix.lower())
    if claimed and not packed:
        raise InvalidInput(f"the name says {claimed}, and the contents are not compressed.", fix="Rename the file.")
    if packed:
        unpacked = Path("unpacked")
        _write(unpacked, _unpacked(path, packed), limits)
        path, head = unpacked, _head(unpacked)
    if not head:
        raise InvalidInput("the file is empty.", fix="It needs at least one row.")
    _check_format(head, source)
    if source in _BINARY:
        return path
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), (encoding or "utf-8").lower())
    if encoding == "utf-8":
        return path
    target = Path("utf8")
    _write(target, _decoded(path, encoding), limits)
    return target


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _check_format(head: bytes, source: str) -> None:
    looks = next((name for mark, name in _LOOKS if head.startswith(mark)), None)
    if looks is None and source in ("csv", "tsv") and _JSON.match(head):
        looks = "JSON"
    if source == "pdf" and b"%PDF-" in head[:1024]:  # other bytes may come before it
        looks = "PDF"
    if looks == _BINARY.get(source):
        if (
            source not in ("json", "jsonl")
            or head.startswith((codecs.BOM_UTF8, *_MARKS))
            or head.lstrip()[:1] in (b"{", b"[", b"")
        ):
            return
    seen = f"the file looks like {looks}" if looks else f"the file is not {_CALLED[source]}"
    raise InvalidInput(
        f"{seen}, and it was to be read as {source}.", fix="Name the right format with source=, or another file."
    )


def _unpacked(path: Path, how: str) -> Iterator[bytes]:
    with closing(_opened(path, how)) as opened:
        try:
            while block := opened.read(CHUNK):
                yield block
        except (EOFError, zlib.error, OSError) as error:
            raise InvalidInput(
                f"the {how} data is damaged or cut short: {str(error)[:120]}.", fix="Compress the file again."
            ) from None


def _opened(path: Path, how: str) -> Any:
    if how == "gzip":
        return gzip.open(path, "rb")
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


def _decoded(path: Path, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            block = file.read(CHUNK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise InvalidInput(
                    f"near line {line + block.count(10, 0, error.start)}: the bytes are not {encoding}.",
                    fix="Name the file's real encoding=.",
                ) from None
            line += text.count("\n")
            yield text.encode("utf-8", "surrogatepass")
            if not block:
                return


def mixes_ends(path: Path) -> bool:
    """Whether a file has more than one kind of line end, in quotes or out."""
    crlf = lf = cr = 0
    held = b""
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            pairs = (held + block).count(b"\r\n")
            crlf += pairs
            lf += block.count(b"\n")
            cr += block.count(b"\r")
            held = block[-1:]
    return sum((crlf > 0, lf > crlf, cr > crlf)) > 1


def uniform(path: Path, limits: Limits) -> Path:
    """A copy whose line ends outside quotes are all LF."""
    target = Path("uniform")
    _write(target, _uniform(path), limits)
    return target


def _uniform(path: Path) -> Iterator[bytes]:
    quoted = False
    held = b""
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            block = held + block
            held = b"\r" if block.endswith(b"\r") else b""  # its LF may be in the next block
            parts = block.removesuffix(held).split(b'"') if held else block.split(b'"')
            for n, part in enumerate(parts):
                quoted ^= n > 0
                parts[n] = part if quoted else part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            yield b'"'.join(parts)
    yield b"" if not held else b"\n"


def bad_utf8(path: Path) -> InvalidInput | None:
    """The error for the first bytes that are not UTF-8, if there are any."""
    line, tail = 1, b""
    with path.open("rb") as file:
        while True:
            block = file.read(CHUNK)
            data = tail + block
            try:
                used = codecs.utf_8_decode(data, "strict", not block)[1]
            except UnicodeDecodeError as error:
                return not_utf8(line + data.count(b"\n", 0, error.start), data[error.start : error.end])
            line += data.count(b"\n", 0, used)
            tail = data[used:]
            if not block:
                return None


def _write(target: Path, blocks: Iterator[bytes], limits: Limits) -> None:
    written = 0
    with target.open("wb") as file:
        for block in blocks:
            written += len(block)
            if written > limits.max_bytes:
                raise TooLarge(
                    f"the file unpacks to over {limits.max_bytes} bytes.", fix="Raise ingest.max_path_bytes."
                )
            file.write(block)
