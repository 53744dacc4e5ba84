"""Local files that survive a crash: contents reach the disk before the name does, and the name before we say so."""

import hashlib
import os
import secrets
from pathlib import Path

COPY_BYTES = 8 * 2**20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's contents durable."""
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, each durable in its parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def beside(path: Path, folder: Path | None = None) -> Path:
    """A fresh temporary name, in the same folder unless another of the same file system is given.

    Object listings skip names that end in `#` and digits.
    """
    # 20 characters of any script are at most 80 bytes; names may have 255.
    return (folder or path.parent) / f"{path.name[:20]}#{secrets.randbits(63)}"


def write(
    path: Path,
    data: bytes | memoryview,
    *,
    create: bool = False,
    mode: int = 0o644,
    unfinished: Path | None = None,
) -> None:
    """Write a whole file durably: it is there complete, or not at all.

    The unfinished file lies in the same folder, or in `unfinished`, which must be on the same file system.

    Raises FileExistsError when `create` is set and the name is taken.
    """
    make_folder(path.parent)
    temporary = beside(path, unfinished)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, path, create=create)
    finally:
        temporary.unlink(missing_ok=True)


def place(source: Path, target: Path, *, create: bool = False) -> None:
    """Give a durable file its name, in one step, within one file system; `source` is gone afterwards.

    Raises FileExistsError when `create` is set and the name is taken.
    """
    if create:
        os.link(source, target)  # fails when the target exists, on every file system with links
        source.unlink()
    else:
        os.replace(source, target)
    sync_folder(target.parent)


def sha256_of(path: Path) -> str:
    """The lowercase hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
