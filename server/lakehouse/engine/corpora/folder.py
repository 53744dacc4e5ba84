"""The text, markdown, code and table files of a folder as documents, each called by its path inside the folder."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse.engine.chunks import SUFFIXES
from lakehouse.engine.corpora.documents import MAX_ID_BYTES, Document, Skipped
from lakehouse.engine.corpora.globs import matcher
from lakehouse.engine.places import check_place, forbidden
from lakehouse.errors import InvalidInput

MAX_BYTES = 16 * 2**20
FILES = 16
_MATCHED = 4096


class Folder:
    """The files below a folder whose names end as those of texts, markdown, code and tables do.

    With `include` it is those that match one of its patterns, whatever they end in; never those of `exclude`. Hidden
    files and folders and linked folders are passed over. `roots` None allows any place, else the folder must lie in
    one of them. What is Lakehouse's `own` is passed over, too: an agent may be talked into reading it.
    """

    paths = True

    def __init__(
        self,
        path: str,
        roots: Sequence[Path] | None,
        limit: int | None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        own: Sequence[Path] = (),
    ) -> None:
        self.name = path
        self.skipped: list[Skipped] = []
        self._given = path
        self._roots = roots
        self._limit = limit
        self._include, self._exclude = include, exclude
        self._root = Path()
        self._own = own
        self._found: list[str] = []

    def facts(self) -> dict[str, Any]:
        """The folder, and which of its files."""
        patterns = {"include": list(self._include), "exclude": list(self._exclude)}
        return {"source": "folder", "folder": str(self._root)} | {name: few for name, few in patterns.items() if few}

    async def prepare(self) -> int:
        """The number of files. Raises InvalidInput when there is none, Forbidden outside the allowed folders."""
        await anyio.to_thread.run_sync(self._find)
        return len(self._found)

    async def documents(self) -> AsyncIterator[list[Document]]:
        """The files by path; those that are not UTF-8 text are added to `skipped` instead.

        Raises InvalidInput when the folder is removed meanwhile: its files are not the only thing that is gone.
        """
        for at in range(0, len(self._found), FILES):
            yield await anyio.to_thread.run_sync(self._read, self._found[at : at + FILES])
        if not await anyio.to_thread.run_sync(self._root.is_dir):
            raise InvalidInput(f"folder: {self._given} was removed while it was read.", fix="Put it back.")

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _find(self) -> None:
        try:
            self._root = Path(self._given).expanduser().resolve()
            is_folder = self._root.is_dir()
        except (OSError, ValueError, RuntimeError):
            is_folder = False
        if self._roots is not None:
            check_place(self._root, self._given, self._roots, "corpora.folders")
        self._own = [Path(os.path.realpath(place)) for place in self._own]
        if any(self._root.is_relative_to(place) for place in self._own):
            raise forbidden(self._given)
        if not is_folder:
            raise InvalidInput(f"folder: there is no folder {self._given}.", fix="Give the path of a folder.")
        self.name = self._root.name or str(self._root)
        self._found = self._wanted()
        self._found = sorted(self._found)[: self._limit]
        if not self._found and self.skipped:
            first = self.skipped[0]
            raise InvalidInput(f"folder: {self._given} cannot be read: {first.path}: {first.reason}.", fix="Allow it.")
        if not self._found:
            usual = f"Files that count end in {', '.join(SUFFIXES)}."
            which = ", ".join(self._include)
            raise InvalidInput(
                f"folder: {self._given} holds no {f'files that match {which}' if which else 'text files'}.",
                fix="Mend include and exclude." if self._include or self._exclude else usual,
            )

    def _wanted(self) -> list[str]:
        """The files' paths below the folder."""
        included, excluded = matcher(self._include), matcher(self._exclude)
        found: list[str] = []
        waiting: list[str] = []

        def sift() -> None:
            usual = [Path(path).suffix.lower() in SUFFIXES for path in waiting] if not self._include else ()
            kept = zip(waiting, usual or included(waiting), excluded(waiting), strict=True)
            found.extend(path for path, wanted, left_out in kept if wanted and not left_out)
            waiting.clear()

        for parent, folders, names in os.walk(self._root, onerror=self._unread):
            here = Path(parent)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name not in self._own)
            waiting.extend((here / name).relative_to(self._root).as_posix() for name in names if name[0] != ".")
            if len(waiting) >= _MATCHED:
                sift()
        sift()
        return found

    def _unread(self, error: OSError) -> None:
        path = Path(error.filename).relative_to(self._root).as_posix()
        self.skipped.append(Skipped(path.encode("utf-8", "replace").decode(), error.strerror or type(error).__name__))

    def _read(self, names: list[str]) -> list[Document]:
        documents = []
        for name in names:
            try:
                documents.append(Document(_printable(name), self._text(name)))
            except _Unusable as why:
                self.skipped.append(Skipped(name.encode("utf-8", "replace").decode(), str(why)))
        return documents

    def _text(self, name: str) -> str:
        path = self._root / name
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root):
                raise _Unusable("it is a link that leads outside the folder")
            if any(real.is_relative_to(place) for place in self._own):
                raise _Unusable("it is Lakehouse's own")
            if not path.is_file():
                raise _Unusable("it is not a regular file")
            if path.stat().st_size > MAX_BYTES:
                raise _Unusable(f"it is over {MAX_BYTES} bytes")
            data = path.read_bytes()
        except OSError as error:
            raise _Unusable(error.strerror or type(error).__name__) from error
        except RuntimeError as error:  # what it was before Python 3.13
            raise _Unusable("its links go round in a circle") from error
        if b"\0" in data:
            raise _Unusable("it is binary")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise _Unusable(f"line {line} is not UTF-8") from error


class _Unusable(Exception):
    """A file cannot be a document."""


def _printable(name: str) -> str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise _Unusable("its name is not UTF-8") from error
    if size > MAX_ID_BYTES:
        raise _Unusable(f"its path is over {MAX_ID_BYTES} bytes")
    return name
