"""A data directory made of a backup: whole, under its name in one step, or not at all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine import files, moment
from lakehouse.engine.acting import acting
from lakehouse.engine.backup.contents import CONFIG
from lakehouse.engine.journal.ahead import Ahead
from lakehouse.engine.journal.event import Event
from lakehouse.engine.progress import Progress, unheard
from lakehouse.errors import Conflict, InvalidInput, NotFound, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.backup.archive import Reader, Told

_UNDER_WAY = ".restoring-"
_OWN = ".original"
# Settings that no Lakehouse takes: a folder whose restoring was cut short cannot be opened.
_GUARD = b"[restoring]\nunder_way = true\n"


class Restored(BaseModel):
    """A restored data directory."""

    home: str = Field(description="Where it is.")
    entries: int = Field(description="Files in it.")
    content_bytes: int = Field(description="Their size.")
    created: str = Field(description="When the backup was made.")
    left_out: list[str] = Field(description="What the backup does not have.")
    notes: list[str] = Field(description="What is different from where it came from.")


async def restore(path: Path, home: Path, progress: Progress = unheard) -> Restored:
    """Make a data directory of a backup. `home` must not be there, or be empty.

    Every entry is verified before the directory appears under its name.

    Raises NotFound, Conflict for a directory that is in use, InvalidInput naming the entry for a file that is damaged
    or no backup, Upstream when a disk fails. There is nothing then at `home`.
    """
    home = await anyio.to_thread.run_sync(lambda: Path(os.path.abspath(home.expanduser())))
    try:
        staging, size = await anyio.to_thread.run_sync(_begin, path, home)
        try:
            reader = await anyio.to_thread.run_sync(_reader, path)
            steps = reader.unpack(staging, _place)
            while (told := await anyio.to_thread.run_sync(_step, steps)) is not None:
                await progress(told.entries, None, f"{told.bytes // 2**20} MiB of {size // 2**20} MiB packed")
            # From here on it takes no time.
            with anyio.CancelScope(shield=True):
                notes = await anyio.to_thread.run_sync(_finish, staging, home, reader, path)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(staging, ignore_errors=True))
    except OSError as error:
        if error.errno is None:
            raise
        raise Upstream(
            f"the backup could not be restored: {error.strerror}.", fix="Make room, or choose another place."
        ) from error
    return Restored(
        home=str(home),
        entries=reader.told.entries,
        content_bytes=reader.told.bytes,
        created=str(reader.about.get("created", "")),
        left_out=[str(one) for one in reader.about.get("left_out", ())],
        notes=notes,
    )


def _begin(path: Path, home: Path) -> tuple[Path, int]:
    if not path.is_file():
        raise NotFound(f"there is no file {path}.", fix="Name a file that `lakehouse backup` made.")
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Conflict(f"{home} is there already.", fix="Restore into a new directory, or one that is empty.")
    files.make_folder(home.parent)
    for left in home.parent.glob(f"{home.name}{_UNDER_WAY}*"):
        if not _alive(left.name.rpartition("-")[2]):
            shutil.rmtree(left, ignore_errors=True)
    staging = home.parent / f"{home.name}{_UNDER_WAY}{os.getpid()}"
    try:
        staging.mkdir(mode=0o700)
    except FileExistsError:
        raise Conflict(f"{home} is being restored already.", fix="Wait until that is done.") from None
    files.write(staging / CONFIG, _GUARD)
    return staging, path.stat().st_size


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _reader(path: Path) -> "Reader":
    from lakehouse.engine.backup.archive import Reader

    return Reader(path)


def _step(steps: "Iterator[Told]") -> "Told | None":
    """The next sign of life that is worth one: small files come by the hundred."""
    until = time.monotonic() + 0.1
    while (told := next(steps, None)) is not None and time.monotonic() < until:
        continue
    return told


def _place(name: PurePosixPath) -> Path:
    first, *rest = name.parts
    if first == "home" and rest == [CONFIG]:
        return Path(CONFIG + _OWN)
    if first == "home" and rest and rest[0] != CONFIG + _OWN:
        return Path(*rest)
    if first == "buckets" and len(rest) > 1:
        return Path("buckets", *rest)
    raise InvalidInput(f"the backup cannot be restored: entry {name} has no place.", fix="Use another backup.")


def _finish(staging: Path, home: Path, reader: "Reader", path: Path) -> list[str]:
    """Put the settings in place, note what was done, and give the folder its name."""
    buckets: dict[str, Any] = reader.about.get("buckets", {})
    moved = sorted(name for name, facts in buckets.items() if facts.get("moved"))
    settings, own, notes = staging / CONFIG, staging / (CONFIG + _OWN), []
    if moved:
        text = "".join(
            f'[[storage.buckets]]\nname = "{name}"\nurl = "{(home / "buckets" / name).as_uri()}"\n\n'
            for name in moved
            if name != "primary"
        )
        files.write(settings, f"# Written by restore: these buckets lie in the data directory now.\n{text}".encode())
        kept = f"; the settings there were are in {CONFIG}{_OWN}" if own.exists() else ""
        notes.append(f"The objects of {', '.join(moved)} lie in this directory now{kept}.")
    elif own.exists():
        os.replace(own, settings)
    else:
        settings.unlink()
    last = moment.now()
    event = Event(
        id=f"{time.time_ns() // 1000:014x}{os.urandom(4).hex()}",
        ts=last,
        actor=acting.get().name,
        action="restore",
        entity_type="home",
        entity_id=path.name,
        after={"created": reader.about.get("created"), "entries": reader.told.entries},
    )
    ahead = Ahead(staging / "journal")
    ahead.append([event])
    ahead.close()
    for folder, _, _ in os.walk(staging):
        files.sync_folder(Path(folder))
    with suppress(FileNotFoundError):
        home.rmdir()  # an empty one
    os.rename(staging, home)
    files.sync_folder(home.parent)
    return notes
