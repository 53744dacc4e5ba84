"""The files a path stands for: itself, those a folder holds, or those a pattern matches."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lakehouse import config
from lakehouse.engine.ingest.source import local_file, source_of
from lakehouse.engine.places import check_place
from lakehouse.errors import InvalidInput, NotFound, TooLarge

_MARKS = "*?["
_SEEN = 1_000_000  # names looked at for one pattern
_SHOWN = 5


@dataclass(frozen=True)
class Match:
    """One file: where it really is, what it is called below the folder or pattern that was given, and its format."""

    path: Path
    called: str
    source: str
    sha256: str | None = None  # of its contents, where that is known beforehand


@dataclass(frozen=True)
class Matches:
    """Files in the order of their names, and the names in a folder that are left out."""

    files: tuple[Match, ...]
    left_out: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What was left out."""
        if not self.left_out:
            return []
        more = ", …" if len(self.left_out) > _SHOWN else ""
        names = ", ".join(repr(name[:100]) for name in self.left_out[:_SHOWN])
        return [f"{len(self.left_out)} entries of the folder are not data files and were left out: {names}{more}"]


def files_of(path: Path, roots: Sequence[Path] | None, source: str | None, settings: config.Ingest) -> Matches | None:
    """The files of a folder (not those of folders in it) or of a pattern with `*`, `?`, `[…]` or `**`; None for a path
    that is neither. Names that begin with a dot are hidden, and in a folder those with a `_` are not data.

    Blocking. Each file is judged as if it had been given by itself (see local_file). Raises what that raises, NotFound
    when nothing matches, InvalidInput for a match of no known format, and TooLarge for too many, or too many bytes.
    """
    max_bytes, max_files = settings.max_path_bytes, settings.max_files
    path = path.expanduser()
    text = str(path)
    folder = os.path.isdir(text)  # a name too long for the system is none: whoever reads it as a file says so
    pattern = not os.path.lexists(text) and any(mark in text for mark in _MARKS)
    if not pattern and not folder:
        return None
    base = _base(path) if pattern else path
    if roots is not None:
        check_place(Path(os.path.realpath(base)), path, roots, "ingest.roots")
    if pattern:
        rest = path.relative_to(base).parts
        found = [Path(match) for match in dict.fromkeys(_expanded(str(base), rest, [0])) if not os.path.isdir(match)]
        left_out: tuple[str, ...] = ()
    else:
        found, left_out = _listed(path, source)
    if not found:
        raise NotFound(
            f"{path.name if pattern else path} matches no data file.",
            fix=("Check the pattern" if pattern else "Name what lies deeper with a pattern: folder/**/*.csv")
            + "; relative paths start where the server runs.",
        )
    if len(found) > max_files:
        raise TooLarge(f"{len(found)} files are over the limit of {max_files}.", fix="Raise ingest.max_files.")
    files = tuple(
        Match(local_file(file, roots, max_bytes), str(file.relative_to(base)), source_of(file.name, source))
        for file in sorted(found)
    )
    if sum(match.path.stat().st_size for match in files) > max_bytes:
        raise TooLarge(f"the files are over {max_bytes} bytes together.", fix="Raise ingest.max_path_bytes.")
    return Matches(files, left_out)


def _base(path: Path) -> Path:
    """The folder a pattern starts in."""
    plain = []
    for part in path.parts:
        if any(mark in part for mark in _MARKS):
            break
        plain.append(part)
    return Path(*plain)


def _listed(folder: Path, source: str | None) -> tuple[list[Path], tuple[str, ...]]:
    found, left_out = [], []
    for name in sorted(os.listdir(folder)):
        if name.startswith("."):
            continue
        path = folder / name
        if path.is_dir() or name.startswith("_") or (source is None and not _known(name)):
            left_out.append(name)
        else:
            found.append(path)
    return found, tuple(left_out)


def _known(name: str) -> bool:
    try:
        source_of(name)
    except InvalidInput:
        return False
    return True


def _expanded(base: str, parts: Sequence[str], seen: list[int]) -> Iterator[str]:
    """The paths below `base` that fit the parts of a pattern."""
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if not any(mark in part for mark in _MARKS):
        path = os.path.join(base, part)
        if os.path.lexists(path):
            yield from _expanded(path, rest, seen)
        return
    if part == "**":
        yield from _expanded(base, rest or ("*",), seen)
    for entry in _entries(base, seen):
        if part == "**":
            if entry.is_dir(follow_symlinks=False):  # links may lead back
                yield from _expanded(entry.path, parts, seen)
        elif fnmatchcase(entry.name, part) and (not rest or entry.is_dir()):
            yield from _expanded(entry.path, rest, seen)


def _entries(folder: str, seen: list[int]) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:  # not a folder, or not ours to read: nothing in it matches
        return []
    seen[0] += len(found)
    if seen[0] > _SEEN:
        raise TooLarge(f"the pattern looks at over {_SEEN} names.", fix="Begin it with a narrower folder.")
    return sorted(found, key=lambda entry: entry.name)
