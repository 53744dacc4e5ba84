"""The whole data directory as one file, while it is used, and back."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.config import Settings
from lakehouse.engine import files, moment
from lakehouse.engine.backup import contents
from lakehouse.engine.backup.contents import Entry
from lakehouse.engine.backup.restoring import Restored, restore
from lakehouse.engine.bucket import PRIMARY, KeyNotFound
from lakehouse.engine.places import check_apart, check_place, check_remote, written_at
from lakehouse.engine.progress import Progress, unheard
from lakehouse.errors import Conflict, InvalidInput, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.backup.archive import Told, Writer
    from lakehouse.engine.journal import Journal
    from lakehouse.engine.storage import Storage

__all__ = ["BackedUp", "Backup", "Restored", "restore"]

_TOGETHER = 256  # files given to a worker thread at once


class BackedUp(BaseModel):
    """A finished backup."""

    path: str = Field(description="Where it lies.")
    size_bytes: int = Field(description="Its size.")
    entries: int = Field(description="Files in it.")
    content_bytes: int = Field(description="Their size.")
    left_out: list[str] = Field(description="What is not in it.")


class Backup:
    """Makes backups of one data directory. Calls and commits go on meanwhile; nothing is collected."""

    def __init__(self, settings: Settings, storage: "Storage", journal: "Journal") -> None:
        self._settings = settings
        self._storage = storage
        self._journal = journal

    async def write(
        self,
        path: Path,
        *,
        with_remote: bool = False,
        overwrite: bool = False,
        anywhere: bool = True,
        remote: bool = False,
        progress: Progress = unheard,
    ) -> BackedUp:
        """Write everything as of now into a new file, or with `overwrite` over one, whole or not at all.

        Objects of buckets that lie elsewhere are in it only `with_remote`. Unless `anywhere`, the file must lie below
        `export.roots`; for a `remote` caller there must be such, too.

        Raises Conflict when the file is there, Forbidden, InvalidInput, Busy while another backup is made, Upstream
        when a disk or a bucket fails.
        """
        target = await anyio.to_thread.run_sync(partial(self._target, path, overwrite, anywhere, remote))
        async with self._storage.removals.copying(), self._storage.scratch() as scratch:
            await self._journal.flush()
            entries, about, left = await self._listed(with_remote, scratch)
            unfinished = await anyio.to_thread.run_sync(files.beside, target)
            try:
                told = await self._written(unfinished, entries, about, scratch, progress)
                size = await anyio.to_thread.run_sync(_placed, unfinished, target, path, overwrite)
            except OSError as error:
                if error.errno is None:
                    raise
                raise Upstream(
                    f"the backup could not be written: {error.strerror}.", fix="Make room, or choose another place."
                ) from error
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(partial(unfinished.unlink, missing_ok=True))
        await self._journal.record("backup", "home", path.name, after={"entries": told.entries, "bytes": told.bytes})
        return BackedUp(path=str(path), size_bytes=size, entries=told.entries, content_bytes=told.bytes, left_out=left)

    def _target(self, given: Path, overwrite: bool, anywhere: bool, remote: bool) -> Path:
        settings = self._settings.config.export
        if remote:
            check_remote(given, settings.roots, "export.roots", "Run `lakehouse backup` on the server's machine")
        target = written_at(given)
        if not anywhere:
            check_place(target, given, settings.roots, "export.roots", "written to")
        check_apart(target, given, self._storage.shut[:1] if anywhere else self._storage.shut)
        if not target.parent.is_dir():
            raise InvalidInput(f"path: there is no folder {given.parent}.", fix="Make it first, or name another.")
        if os.path.lexists(target) and not (overwrite and target.is_file()):
            raise _taken(given)
        return target

    async def _listed(self, with_remote: bool, scratch: Path) -> tuple[list[Entry], dict[str, Any], list[str]]:
        """The entries, what the archive says of itself, and what is not in it."""
        home = self._settings.home
        own = home / "objects"
        entries: list[Entry] = []
        kept, left = {}, []
        roots = [bucket.root for bucket in self._storage.buckets.values() if bucket.root is not None]
        for name, bucket in self._storage.buckets.items():
            inside = bucket.root is not None and bucket.root.is_relative_to(home)
            if not (inside or with_remote):
                left.append(f"the objects of bucket {name}, which lie elsewhere (--with-remote)")
                continue
            prefix = "home/objects/" if name == PRIMARY else f"buckets/{name}/"
            entries += await contents.objects_of(bucket, prefix)
            kept[name] = {"moved": not (name == PRIMARY and bucket.root == own)}
        entries += await anyio.to_thread.run_sync(contents.files_of, self._settings, roots, scratch)
        settings = await anyio.to_thread.run_sync(contents.config_of, self._settings)
        if settings is not None:
            entries.append(settings)
        elif await anyio.to_thread.run_sync(contents.holds_credentials, self._settings):
            left.append(f"{contents.CONFIG}, which holds a credential")
        left.append("credentials, caches and result handles")
        about = {"created": moment.now(), "buckets": kept, "left_out": left}
        return entries, about, left

    async def _written(
        self, path: Path, entries: Sequence[Entry], about: dict[str, Any], scratch: Path, progress: Progress
    ) -> "Told":
        total = max(1, sum(entry.size for entry in entries))
        writer = await anyio.to_thread.run_sync(_begun, path, about)
        try:
            group: list[Entry] = []
            for entry in entries:
                group.append(entry)
                if len(group) == _TOGETHER or entry.bucket is not None:
                    await self._copied(writer, group, scratch, total, progress)
                    group = []
            await self._copied(writer, group, scratch, total, progress)
            await anyio.to_thread.run_sync(writer.finish)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(writer.close)
        return writer.told

    async def _copied(
        self, writer: "Writer", group: Sequence[Entry], scratch: Path, total: int, progress: Progress
    ) -> None:
        """Copy files that are here, of which the last may be an object that has to be fetched."""
        fetched: Path | None = None
        if group and (last := group[-1]).bucket is not None:
            fetched = scratch / "object"
            try:
                await last.bucket.get_to(last.key, fetched)
            except KeyNotFound:
                if last.needed:
                    raise _gone(last) from None
                group, fetched = group[:-1], None
        steps = _copy(writer, group, scratch, fetched)
        while (told := await anyio.to_thread.run_sync(next, steps, None)) is not None:
            await progress(min(told.bytes, total), total, f"{told.entries} files")


def _begun(path: Path, about: dict[str, Any]) -> "Writer":
    from lakehouse.engine.backup.archive import Writer

    return Writer(path, about)


def _copy(writer: "Writer", group: Sequence[Entry], scratch: Path, fetched: Path | None) -> "Iterator[Told]":
    for entry in group:
        try:
            path = contents.snapshot(entry.path, scratch) if entry.bucket is None else fetched
            assert path is not None
            yield from writer.add(entry.name, path)
        except FileNotFoundError:
            if entry.needed:
                raise _gone(entry) from None
    if group:
        yield writer.told


def _placed(unfinished: Path, target: Path, given: Path, overwrite: bool) -> int:
    try:
        files.place(unfinished, target, create=not overwrite)
    except FileExistsError:
        raise _taken(given) from None
    return target.stat().st_size


def _taken(path: Path) -> Conflict:
    return Conflict(f"{path} is there already.", fix="Name another file, or say overwrite.")


def _gone(entry: Entry) -> Upstream:
    return Upstream(
        f"{entry.name} is gone, which the catalog names; the backup was not made.", fix="Restore it, then try again."
    )
