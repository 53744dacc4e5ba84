"""What a bucket holds of datasets: every version, every data file, and which versions name which files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lakehouse.engine.bucket import StoredObject
from lakehouse.engine.datasets import Catalog, DatasetDamaged
from lakehouse.engine.datasets.index import At
from lakehouse.engine.manifests import PREFIX, Manifest, version_of
from lakehouse.errors import NotFound

DATA = "datasets/"
# Only what ingest and its kin write is ever taken for a left-over: <fingerprint>-<sha256>.parquet.
_FILE = re.compile(r"datasets/([^/]+)/[0-9a-f]{64}-[0-9a-f]{64}\.parquet")
_AT_ONCE = 500  # manifests in memory


@dataclass
class Survey:
    """One bucket. `committed` says when each version was, by the store's clock; `bytes` how large its manifest is."""

    committed: dict[At, float] = field(default_factory=dict)
    bytes: dict[At, int] = field(default_factory=dict)
    dropped: set[At] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)  # of datasets, by folder
    named: dict[str, list[At]] = field(default_factory=dict)  # versions by the keys of their files
    damaged: dict[str, str] = field(default_factory=dict)  # folders with a version that cannot be read, and why
    files: dict[str, StoredObject] = field(default_factory=dict)

    def folders(self) -> dict[str, list[int]]:
        """Versions by folder, oldest first."""
        found: dict[str, list[int]] = {}
        for folder, version in sorted(self.committed):
            found.setdefault(folder, []).append(version)
        return found

    def loose(self, gone: set[At], before: float) -> Iterator[tuple[StoredObject, list[At]]]:
        """Data files put before a moment that no version names, but for those `gone`, with which of these did.

        None of a dataset of which a version cannot be read: it may name any of them.
        """
        for key, stored in self.files.items():
            match = _FILE.fullmatch(key)
            if match is None or match[1] in self.damaged or stored.modified >= before:
                continue
            naming = self.named.get(key, [])
            if all(at in gone for at in naming):
                yield stored, naming


async def survey(catalog: Catalog) -> Survey:
    """Look at a bucket as it is now. Files are listed first: one that is put and named meanwhile is in neither list.

    Raises Upstream when the bucket cannot be read.
    """
    found = Survey()
    for stored in (await catalog.bucket.list(DATA, limit=None)).objects:
        found.files[stored.key] = stored
    tags: dict[At, str] = {}
    for stored in (await catalog.bucket.list(PREFIX, limit=None)).objects:
        if (at := version_of(stored.key)) is not None:
            tags[at] = stored.etag or ""
            found.committed[at], found.bytes[at] = stored.modified, stored.size
    every = sorted(tags)
    for start in range(0, len(every), _AT_ONCE):
        some = {at: tags[at] for at in every[start : start + _AT_ONCE]}
        for at, read in (await catalog.stored.read_all(await catalog.stored.tagged(some))).items():
            if isinstance(read, Manifest):
                _note(found, at, read)
            elif isinstance(read, DatasetDamaged):
                found.damaged[at[0]] = read.detail
            elif isinstance(read, NotFound):  # another gc was faster
                del found.committed[at], found.bytes[at]
            else:
                raise read
    await catalog.stored.forget_all_but(tags)
    return found


def _note(found: Survey, at: At, manifest: Manifest) -> None:
    found.names[at[0]] = manifest.name
    if manifest.dropped:
        found.dropped.add(at)
    for file in manifest.objects:
        found.named.setdefault(file.key, []).append(at)
