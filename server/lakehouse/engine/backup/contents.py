"""What belongs into a backup of a data directory, listed so that what commits name is there."""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lakehouse.config import Settings
from lakehouse.engine.bucket import Bucket

# Copies, what is derived, what ends with the process, and results that end by themselves.
LEFT = {"cache", "tmp", "uploads", "results", "lake.lock", "lake.sock", "lake.owner.json"}
CONFIG = "lakehouse.toml"
RUNS = Path("runs") / "runs.db"
_DERIVED = re.compile(r"catalog\.db(-\w+)?")
_COMMIT = re.compile(r"(_catalog/[^/]+|_vectors/[^/]+/(?:manifest|log))/[^/]+")
_PASSING = ("_catalog/_held/", "_catalog/_condemned/", "_probe/")
_SQLITE = b"SQLite format 3\0"
_SIDE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Entry:
    """One file of a backup: its name there, and where it is now: a file, or an object of a bucket."""

    name: str
    size: int
    path: Path
    needed: bool = True  # one that has gone meanwhile is left out, unless a commit names it
    bucket: Bucket | None = None  # that has to be asked for it
    key: str = ""


async def objects_of(bucket: Bucket, prefix: str) -> list[Entry]:
    """The objects of a bucket. Commits are listed before what they name: whatever comes later is not among them."""
    newest: dict[str, str] = {}
    for one in (await bucket.list(limit=None)).objects:
        if found := _COMMIT.fullmatch(one.key):
            newest[found[1]] = max(one.key, newest.get(found[1], ""))
    entries = []
    # Again: of two objects made during a listing, it may show the second alone.
    for one in (await bucket.list(limit=None)).objects:
        found = _COMMIT.fullmatch(one.key)
        if one.key.startswith(_PASSING) or (found and one.key > newest.get(found[1], "")):
            continue
        needed = one.key.startswith(("_", "datasets/"))
        path = bucket.root / one.key if bucket.root is not None else Path()
        asked = bucket if bucket.root is None else None
        entries.append(Entry(f"{prefix}{one.key}", one.size, path, needed, asked, one.key))
    return entries


def files_of(settings: Settings, roots: Sequence[Path], scratch: Path) -> list[Entry]:
    """The files of the data directory beside its buckets, whose folders `roots` are. It blocks.

    The file of runs is copied into `scratch` before the files that it names are listed.
    """
    home, secrets = settings.home, settings.config.storage.secrets
    found = []
    # Before the folder it lies in is listed: that of a run which began meanwhile would not be among those looked into.
    runs = _runs(home / RUNS, scratch) if (home / RUNS).is_file() else None
    for folder, below, names in os.walk(home):
        here = Path(folder)
        below[:] = sorted(n for n in below if n[0] != "." and not _outside(home, here / n, roots))
        for name in sorted(names):
            path = here / name
            if name[0] == "." or path == secrets or _outside(home, path, roots) or not path.is_file():
                continue
            if name.endswith(_SIDE) and (here / name.rpartition("-")[0]).exists():
                continue
            if here == home and name == CONFIG:
                continue
            entry = f"home/{path.relative_to(home).as_posix()}"
            if path == home / RUNS:
                path = runs or _runs(path, scratch)
            found.append(Entry(entry, path.stat().st_size, path, False))
    return found


def _runs(path: Path, scratch: Path) -> Path:
    copy = snapshot(path, scratch)
    return copy if copy == path else copy.rename(scratch / "runs")


def config_of(settings: Settings) -> Entry | None:
    """The settings' file, where it is the data directory's own and holds no credential."""
    path = settings.home / CONFIG
    if not path.is_file() or holds_credentials(settings):
        return None
    return Entry(f"home/{CONFIG}", path.stat().st_size, path, False)


def holds_credentials(settings: Settings) -> bool:
    """Whether the settings' file of the data directory has a token in it, or a URL with a password."""
    path = settings.home / CONFIG
    if not path.is_file():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return bool(re.search(r"(?m)^[^#\n]*\btoken\b|://[^/\s@\"']+@", text))


def snapshot(path: Path, scratch: Path) -> Path:
    """A file that can be copied as it is: of a SQLite database a copy of its last commit. It blocks."""
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return path
    copy = scratch / "database"
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _outside(home: Path, path: Path, roots: Sequence[Path]) -> bool:
    if path in roots:
        return True
    return path.parent == home and (path.name in LEFT or _DERIVED.fullmatch(path.name) is not None)
