"""The manifests of one bucket as they are stored: listed, and read singly or many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio.to_thread

from lakehouse.engine.bucket import Bucket, StoredObject
from lakehouse.engine.datasets.failures import DatasetDamaged
from lakehouse.engine.datasets.index import At, Index
from lakehouse.engine.manifests import (
    PREFIX,
    BadManifest,
    Manifest,
    decoded,
    folder_of,
    manifest_key,
    shown_name,
    version_of,
)
from lakehouse.errors import LakehouseError

Read = Manifest | LakehouseError


class Stored:
    """What a bucket has of datasets' versions. An index keeps copies of what was read."""

    def __init__(self, bucket: Bucket, index: Index) -> None:
        self.bucket = bucket
        self._index = index
        # A name may come to stand for another place; one place may be reached by two URLs, which costs a copy.
        self._of = f"{bucket.name} {bucket.url}"

    async def tags(self, folder: str = "") -> dict[At, str]:
        """Every version there is, or every one of a dataset, with the store's tag for its manifest: one listing.

        A tag is empty where the listing has none: of a folder it is names alone (see `tagged`). Raises Upstream.
        """
        if self.bucket.root is not None:
            # A catalog has many versions of which only the newest are read.
            folders = [folder] if folder else [name for name in await self.bucket.names(PREFIX) if name.isascii()]
            inside = await self.bucket.names_of([f"{PREFIX}{name}/" for name in folders])
            return await anyio.to_thread.run_sync(_by_name, folders, inside)
        listed = (await self.bucket.list(f"{PREFIX}{folder}/" if folder else PREFIX, limit=None)).objects
        # 20,000 keys take a tenth of a second.
        return await anyio.to_thread.run_sync(_tags, listed)

    async def tagged(self, wanted: Mapping[At, str]) -> Mapping[At, str]:
        """These versions with tags, where the listing had none and the file system has: a file's number, time, size."""
        root = self.bucket.root
        if root is None:
            return wanted
        return await anyio.to_thread.run_sync(lambda: {at: _tag(root / manifest_key(*at)) for at in wanted})

    async def numbers(self, folder: str, first: int = 1) -> list[int]:
        """The numbers of one dataset's versions, oldest first, from one on. Raises Upstream."""
        below = f"{PREFIX}{folder}/"
        if self.bucket.root is not None:
            # Names alone: to list objects is to ask for the size and times of each.
            keys = [f"{below}{name}" for name in await self.bucket.names(below)]
        else:
            after = manifest_key(folder, first - 1) if first > 1 else None
            keys = [stored.key for stored in (await self.bucket.list(below, after=after, limit=None)).objects]
        found = [version_of(key) for key in keys]
        return sorted(pair[1] for pair in found if pair is not None and pair[0] == folder and pair[1] >= first)

    async def read(self, folder: str, version: int) -> Manifest:
        """One version, from the bucket. Raises KeyNotFound, DatasetDamaged, Upstream."""
        return self._decoded((folder, version), await self.bucket.get(manifest_key(folder, version)))

    async def read_all(self, wanted: Mapping[At, str]) -> dict[At, Read]:
        """Versions by place, given their tags of a listing; for one that cannot be read, what keeps it from that."""
        known = {at: tag for at, tag in wanted.items() if tag}
        found: dict[At, Read] = await anyio.to_thread.run_sync(self._of_index, known)
        missing = [at for at in wanted if at not in found]
        bodies = dict(zip(missing, await self.bucket.get_each([manifest_key(*at) for at in missing]), strict=True))
        return found | await anyio.to_thread.run_sync(self._settled, bodies, known)

    async def forget_all_but(self, there: Collection[At]) -> None:
        """Let the index forget versions that a listing of the whole bucket does not have."""
        await anyio.to_thread.run_sync(self._index.keep_only, self._of, there)

    def _of_index(self, known: Mapping[At, str]) -> dict[At, Read]:
        found: dict[At, Read] = {}
        for at, body in self._index.get(self._of, known).items():
            try:
                found[at] = self._decoded(at, body)
            except DatasetDamaged:
                continue  # the copy is; the bucket is asked
        return found

    def _settled(self, bodies: Mapping[At, bytes | LakehouseError], tags: Mapping[At, str]) -> dict[At, Read]:
        found: dict[At, Read] = {}
        whole: list[tuple[At, str, bytes]] = []
        for at, body in bodies.items():
            if isinstance(body, LakehouseError):
                found[at] = body
                continue
            try:
                found[at] = self._decoded(at, body)
            except DatasetDamaged as error:
                found[at] = error
                continue
            if at in tags:
                whole.append((at, tags[at], body))
        self._index.put(self._of, whole)
        return found

    def _decoded(self, at: At, body: bytes) -> Manifest:
        folder, version = at
        try:
            manifest = decoded(body)
            if (manifest.version, folder_of(manifest.name)) != (version, folder):
                raise BadManifest(f"it is version {manifest.version} of {manifest.name!r}")
        except BadManifest as error:
            raise DatasetDamaged(
                f"dataset {shown_name(folder)!r} is damaged: its manifest {manifest_key(*at)} cannot be used: {error}.",
                fix="Restore that object from a backup, or remove it to go back to the version before.",
            ) from error
        # What the bucket is called is each home's own.
        return replace(manifest, bucket=self.bucket.name)


def _by_name(folders: Sequence[str], inside: Sequence[Sequence[str]]) -> dict[At, str]:
    pairs = zip(folders, inside, strict=True)
    found = (version_of(f"{PREFIX}{folder}/{name}") for folder, names in pairs for name in names)
    return dict.fromkeys((at for at in found if at is not None), "")


def _tag(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""  # reading it says more
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _tags(listed: Sequence[StoredObject]) -> dict[At, str]:
    found = ((version_of(stored.key), stored.etag or "") for stored in listed)
    return {at: tag for at, tag in found if at is not None}
