"""Outputs too long for the file of runs: each lies in a file of its run's folder, named after what is in it."""

import hashlib
import shutil
from pathlib import Path

from lakehouse.engine import files
from lakehouse.errors import TooLarge, disk_failed

INLINE_BYTES = 64 * 2**10  # a longer text lies in a file
SETTING = "workflows.max_output_bytes"


class Damaged(Exception):
    """A file of an output is not there, or holds something else."""


class Outputs:
    """The long texts of runs, below the folder that holds a folder for each run. Its methods block."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit` is how many bytes one text may have."""
        self._folder = folder
        self._limit = limit

    def folder(self, run: str) -> Path:
        """The folder of a run."""
        return self._folder / run

    def check(self, text: str, what: str) -> None:
        """Raises TooLarge for a text over the limit."""
        if len(text) * 4 > self._limit and (size := len(text.encode("utf-8", "replace"))) > self._limit:
            raise TooLarge(f"{what}: it is {size} bytes, over the {self._limit} there may be.", fix=f"Raise {SETTING}.")

    def put(self, run: str, text: str) -> str:
        """Make a text durable; the name it is read by. Raises Upstream when the disk fails."""
        data = text.encode()
        name = hashlib.sha256(data).hexdigest()
        try:
            files.write(self._path(run, name), data)
        except OSError as error:
            raise disk_failed(error) from error
        return name

    def get(self, run: str, name: str) -> str:
        """A text. Raises Damaged."""
        try:
            data = self._path(run, name).read_bytes()
        except OSError as error:
            raise Damaged(name) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise Damaged(name)
        return data.decode()

    def remove(self, run: str) -> int:
        """Remove all that lies in a run's folder; how many bytes that were. What cannot be removed stays."""
        folder = self.folder(run)
        size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())
        shutil.rmtree(folder, ignore_errors=True)
        return size

    def _path(self, run: str, name: str) -> Path:
        return self.folder(run) / "nodes" / f"{name}.txt"


def long(text: str) -> bool:
    """Whether a text lies in a file."""
    return len(text) > INLINE_BYTES or (len(text) * 4 > INLINE_BYTES and len(text.encode()) > INLINE_BYTES)


def clean(text: str) -> str:
    """A text that can be stored: half characters, which UTF-8 does not have, become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
