"""What a caller wants read: the format a name stands for, and the local file behind a path, if it may be read."""

import base64
import binascii
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath

from lakehouse.engine.places import check_open, check_place
from lakehouse.errors import InvalidInput, NotFound, TooLarge

SOURCES = ("csv", "tsv", "json", "jsonl", "parquet", "xlsx", "pdf")
BINARY = ("parquet", "xlsx", "pdf")
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".pdf": "pdf",
}
_PACKED = (".gz", ".zst", ".zstd")


def source_of(name: str, given: str | None = None) -> str:
    """The format: the one given, else the one the name's suffix stands for, `.gz` and `.zst` aside.

    Raises InvalidInput for an unknown one.
    """
    if given is not None:
        found = given.lower() if given.lower() in SOURCES else None
        what = f"source: {given[:40]!r} is not a format."
    else:
        path = PurePath(name.lower())
        suffix = PurePath(path.stem).suffix if path.suffix in _PACKED else path.suffix
        found = _SUFFIXES.get(suffix)
        what = f"{PurePath(name).name[:100]!r} does not end like a format."
    if found is None:
        raise InvalidInput(what, fix=f"Give source= as one of {', '.join(SOURCES)}.")
    return found


def decoded(content: str, source: str | None) -> bytes:
    """Content that came as text: itself, or what it is base64 of where the format is binary. Raises InvalidInput."""
    try:
        return base64.b64decode(content, validate=True) if source in BINARY else content.encode()
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise InvalidInput("content: it cannot be decoded.", fix="Send text, or base64 for a binary format.") from None


def check_options(
    source: str, delimiter: str | None, encoding: str | None, sheet: str | None = None, header_row: int | None = None
) -> None:
    """Raises InvalidInput for an option that the format has no use for, and for an impossible delimiter."""
    if delimiter is not None and source not in ("csv", "tsv"):
        raise InvalidInput(f"delimiter: {source} has none.", fix="Leave it out.")
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\x00'):
        raise InvalidInput(f"delimiter: {delimiter[:10]!r} cannot be one.", fix="Give one ASCII character.")
    if encoding is not None and source in BINARY:
        raise InvalidInput(f"encoding: {source} has none.", fix="Leave it out.")
    if source != "xlsx" and (sheet is not None or header_row is not None):
        which = "sheet" if sheet is not None else "header_row"
        raise InvalidInput(f"{which}: {source} has none.", fix="Leave it out.")


def local_file(path: Path, roots: Sequence[Path] | None, max_bytes: int) -> Path:
    """The real path of a regular file, symbolic links resolved, below one of `roots` (None: anywhere; see places).

    Raises Forbidden outside them, whether the file is there or not; NotFound; InvalidInput for what is not a
    regular file, so that a pipe never blocks; TooLarge.
    """
    try:
        real = Path(os.path.realpath(path.expanduser()))
        check_open(real, path)
        if roots is not None:
            check_place(real, path, roots, "ingest.roots")
        str(real).encode()  # a name that is not UTF-8 cannot be told to the reader
        facts = real.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"there is no file {path}.", fix="Check the path; relative ones start where the server runs."
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(f"path: {str(path)[:200]!r} cannot be read: {reason}.", fix="Check the path.") from None
    if not stat.S_ISREG(facts.st_mode):
        what = "a folder" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
        raise InvalidInput(f"{path} is {what}.", fix="Name one data file.")
    check_size(facts.st_size, max_bytes, "ingest.max_path_bytes")
    return real


def check_size(size: int, limit: int, setting: str) -> None:
    """Raises TooLarge naming the setting."""
    if size > limit:
        raise TooLarge(f"{size} bytes are over the limit of {limit}.", fix=f"Raise {setting}.")
