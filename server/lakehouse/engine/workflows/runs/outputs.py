"""Outputs too long for the file of runs: each lies in a file of its run's folder, named after what is in it."""

import hashlib
import json
import re
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakehouse.engine import files
from lakehouse.errors import InvalidInput, TooLarge, disk_failed

INLINE_BYTES = 64 * 2**10  # a longer text lies in a file
_ID = re.compile(r"[0-9a-f]{22}|[0-9a-f]{30}")
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

    def copy(self, run: str, to: str) -> None:
        """Give a run the artifacts of another. Raises Upstream when the disk fails."""
        source = self.folder(run) / "artifacts"
        if not source.is_dir():
            return
        try:
            files.make_folder(self.folder(to))
            shutil.copytree(source, self.folder(to) / "artifacts", symlinks=True)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(self.folder(to), ignore_errors=True)
            raise disk_failed(error if error.errno else OSError(0, "the artifacts cannot be copied")) from error

    def place(self, run: str, name: str) -> str:
        """Where a text lies, in the data directory."""
        return f"runs/{self._path(run, name).relative_to(self._folder).as_posix()}"

    def folders(self) -> list[str]:
        """The runs that have a folder; one that was made within the hour may be of a run about to begin."""
        if not self._folder.is_dir():
            return []
        old = time.time() - 3600
        found = [path for path in self._folder.iterdir() if _ID.fullmatch(path.name) and path.is_dir()]
        return sorted(path.name for path in found if path.stat().st_mtime < old)

    def size(self, run: str) -> int:
        """Bytes in a run's folder."""
        found = (path.lstat() for path in self.folder(run).rglob("*"))
        return sum(one.st_size for one in found if not stat.S_ISDIR(one.st_mode))

    def remove(self, *runs: str) -> None:
        """Remove all that lies in the folders of runs. What cannot be removed stays."""
        for run in runs:
            shutil.rmtree(self.folder(run), ignore_errors=True)

    def _path(self, run: str, name: str) -> Path:
        return self.folder(run) / "nodes" / f"{name}.txt"


def check_inputs(inputs: Mapping[str, Any], message: str, limit: int) -> None:
    """Raises TooLarge for what a run is given, over a limit in bytes, and InvalidInput for what is no JSON."""
    try:
        size = len(json.dumps(dict(inputs), allow_nan=False)) + len(message.encode("utf-8", "replace"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"input: it is no JSON: {error}.", fix="Give texts, numbers, lists and objects.") from error
    if size > limit:
        raise TooLarge(f"input: it is {size} bytes, over the {limit} there may be.", fix=f"Raise {SETTING}.")


def long(text: str) -> bool:
    """Whether a text lies in a file."""
    return len(text) > INLINE_BYTES or (len(text) * 4 > INLINE_BYTES and len(text.encode()) > INLINE_BYTES)


def clean(text: str) -> str:
    """A text that can be stored: half characters, which UTF-8 does not have, become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
