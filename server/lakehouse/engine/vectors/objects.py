"""The stored objects of one index: read with their checksums, removed when unneeded. Load it in a worker thread."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np

from lakehouse.engine import files
from lakehouse.engine.storage import Bucket, KeyNotFound
from lakehouse.engine.vectors import format, log, segment
from lakehouse.engine.vectors.batch import Rows
from lakehouse.engine.vectors.format import Manifest, Number, SegmentRef, Tomb, damaged
from lakehouse.engine.vectors.items import IndexDamaged
from lakehouse.engine.vectors.segment import Segment

T = TypeVar("T")

CHECK_AT_ONCE = 16 * 2**20  # bytes hashed while a segment is opened (8 ms); a larger one is checked in the background
_ORPHAN_SECONDS = 3600  # an unnamed segment this old was left by a crash; a younger one may be unfinished work


class Objects:
    """One index's part of a bucket. Every read is checked; IndexDamaged names the object that is not as written.

    Segments of a bucket that is no folder are copied into `cache`, by content. `later` takes segments that are too
    large to be checked while they are opened.
    """

    def __init__(self, bucket: Bucket, index: str, cache: Path, later: Callable[[Segment], None]) -> None:
        self.bucket, self.index = bucket, index
        self._cache, self._later = cache, later

    async def generations(self) -> list[Number]:
        """The numbers of the stored generations, ascending."""
        prefix = format.home_of(self.index) + "manifest/"
        listing = await self.bucket.list(prefix, limit=None)
        return sorted(n for o in listing.objects if (n := format.parse_number(o.key)) is not None)

    async def manifest(self, number: Number) -> Manifest:
        key = format.manifest_key(self.index, number)
        return format.read_manifest((await self._read([key]))[0], key)

    async def entries(self, first: Number) -> list[log.Entry]:
        """The log entries from a number on, in order."""
        prefix = format.home_of(self.index) + "log/"
        listing = await self.bucket.list(prefix, limit=None)
        found = [n for o in listing.objects if (n := format.parse_number(o.key)) is not None]
        numbers = sorted(n for n in found if n.epoch == first.epoch and n >= first)
        keys = [format.log_key(self.index, number) for number in numbers]
        for place, number in enumerate(numbers):
            if number.count != first.count + place:
                missing = format.log_key(self.index, Number(first.epoch, first.count + place))
                raise damaged(missing, "it is missing; later entries are there")
        data = await self._read(keys)
        return await anyio.to_thread.run_sync(lambda: [log.decode(d, k) for d, k in zip(data, keys, strict=True)])

    async def tomb(self, ref: SegmentRef) -> Rows:
        """The dead rows a generation notes for a segment."""
        if ref.tomb is None:
            return np.empty(0, np.int64)
        key = format.tomb_key(self.index, ref.tomb.id)
        data = (await self._read([key]))[0]
        if hashlib.sha256(data).hexdigest() != ref.tomb.sha256:
            raise damaged(key, "its checksum differs")
        return np.flatnonzero(np.unpackbits(np.frombuffer(data, np.uint8), count=ref.rows, bitorder="little"))

    async def put_tomb(self, epoch: int, rows: int, dead: Rows) -> Tomb:
        """Store a segment's dead rows."""
        bits = np.zeros(rows, np.uint8)
        bits[dead] = 1
        data = np.packbits(bits, bitorder="little").tobytes()
        tomb = Tomb(format.new_id(epoch), hashlib.sha256(data).hexdigest(), len(dead))
        await self.bucket.put(format.tomb_key(self.index, tomb.id), data, create=True)
        return tomb

    async def segment(self, ref: SegmentRef, *, trusted: bool = False) -> Segment:
        """Open a segment; a `trusted` one was written by this process a moment ago and is not hashed."""
        key = format.segment_key(self.index, ref.id, segment.DOC)
        doc = format.read_segment_doc((await self._read([key]))[0], key, ref.check)
        if self.bucket.root is not None:
            folder = (self.bucket.root / key).parent
            paths = {name: folder / name for name in doc.files}
        else:
            paths = {name: await self._cached(doc, name) for name in doc.files}
        opened = await anyio.to_thread.run_sync(Segment, self.index, doc, ref.check, paths)
        if trusted:
            return opened
        if opened.size > CHECK_AT_ONCE:
            self._later(opened)
        elif problems := await anyio.to_thread.run_sync(opened.verify):
            raise damaged(*problems[0].split(": ", 1))
        return opened

    async def put_segment(self, doc: format.SegmentDoc, folder: Path) -> None:
        """Store a written segment, its description last."""
        for name in (*doc.files, segment.DOC):
            await self.bucket.put_file(format.segment_key(self.index, doc.id, name), folder / name, create=True)

    async def _cached(self, doc: format.SegmentDoc, name: str) -> Path:
        ref = doc.files[name]
        path = self._cache / ref.sha256[:2] / ref.sha256
        if not await anyio.Path(path).exists():
            await anyio.to_thread.run_sync(files.make_folder, path.parent)
            part = files.beside(path)
            key = format.segment_key(self.index, doc.id, name)
            try:
                await self._fetch(key, part)
                if await anyio.to_thread.run_sync(files.sha256_of, part) != ref.sha256:
                    raise damaged(key, "its checksum differs")
                await anyio.to_thread.run_sync(files.place, part, path)
            finally:
                await anyio.Path(part).unlink(missing_ok=True)
        return path

    async def _fetch(self, key: str, path: Path) -> None:
        try:
            await self.bucket.get_to(key, path)
        except KeyNotFound:
            raise damaged(key, "it is missing") from None

    async def _read(self, keys: Sequence[str]) -> list[bytes]:
        root = self.bucket.root
        if root is not None:
            return await anyio.to_thread.run_sync(lambda: [_contents(root, key) for key in keys])
        found = []
        for key in keys:
            try:
                found.append(await self.bucket.get(key))
            except KeyNotFound:
                raise damaged(key, "it is missing") from None
        return found

    async def verify(self) -> list[str]:
        """Read everything the newest generation needs; a line for each file that is not as it was written."""
        problems: list[str] = []

        async def tried(read: Callable[[], Awaitable[T]]) -> T | None:
            try:
                return await read()
            except IndexDamaged as error:
                problems.append(error.detail)
                return None

        generations = await self.generations()
        manifest = await tried(partial(self.manifest, generations[-1])) if generations else None
        if manifest is None or manifest.deleted:
            return problems
        entries = await tried(partial(self.entries, Number(manifest.number.epoch, manifest.log_from))) or []
        attached = [entry.attach for entry in entries if entry.attach is not None]
        for ref in (*manifest.segments, *attached):
            await tried(partial(self.tomb, ref))
            opened = await tried(partial(self.segment, ref, trusted=True))
            if opened is not None:
                problems += await anyio.to_thread.run_sync(opened.verify)
        return problems

    async def collect(self) -> None:
        """Remove what no reader can need: all of a deleted index, and what only older generations name.

        The newest two generations stay, with the log entries between them, so that a process that is one generation
        behind cannot put a log entry where it would not be read. A crash leaves the rest for the next time.
        """
        listing = await self.bucket.list(format.home_of(self.index), limit=None)
        keys = [o.key for o in listing.objects]
        generations = sorted(n for key in keys if "/manifest/" in key and (n := format.parse_number(key)))
        if not generations:
            return
        newest = await self.manifest(generations[-1])
        last = format.manifest_key(self.index, newest.number)
        if newest.deleted:
            await self._remove([key for key in keys if key != last and _epoch(key) <= newest.number.epoch])
            await self._remove([last])
            return
        older = [number for number in generations if number.epoch == newest.number.epoch][:-2]
        previous = await self.manifest(generations[-2]) if len(generations) > 1 else newest
        if previous.number.epoch != newest.number.epoch:
            previous = newest
        named = _named(newest) | _named(previous)
        retired = {name for number in older for name in _named(await self.manifest(number))} - named
        useless = []
        for key in keys:
            kind, name = key.removeprefix(format.home_of(self.index)).split("/")[:2]
            if kind == "log":
                number = format.parse_number(key)
                if number is not None and number < Number(previous.number.epoch, previous.log_from):
                    useless.append(key)
            elif kind in {"seg", "tomb"}:
                name = name.removesuffix(".bin")
                if name in retired or (name not in named and format.age(name) > _ORPHAN_SECONDS):
                    useless.append(key)
        await self._remove(useless)
        await self._remove(
            [format.manifest_key(self.index, number) for number in generations if number < previous.number]
        )

    async def _remove(self, keys: Sequence[str]) -> None:
        root = self.bucket.root
        if root is not None:
            await anyio.to_thread.run_sync(_unlink, root, keys)
        else:
            for key in keys:
                await self.bucket.delete(key)


def _contents(root: Path, key: str) -> bytes:
    try:
        return (root / key).read_bytes()
    except FileNotFoundError:
        raise damaged(key, "it is missing") from None
    except OSError as error:
        raise damaged(key, f"it cannot be read: {error.strerror}") from error


def _unlink(root: Path, keys: Sequence[str]) -> None:
    # No fsync: what a crash brings back is removed the next time.
    for key in keys:
        (root / key).unlink(missing_ok=True)
    for folder in {(root / key).parent for key in keys}:
        try:
            folder.rmdir()
        except OSError:
            continue  # not empty, or gone already


def _named(manifest: Manifest) -> set[str]:
    names = {ref.id for ref in manifest.segments}
    return names | {ref.tomb.id for ref in manifest.segments if ref.tomb is not None}


def _epoch(key: str) -> int:
    number = format.parse_number(key)
    return number.epoch if number else int(key.split("/")[3].split("-")[0])
