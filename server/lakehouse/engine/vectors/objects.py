"""The stored objects of one index: read with their checksums, removed when unneeded. Load it in a worker thread."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np

from lakehouse.engine.cache import Altered
from lakehouse.engine.fanout import AT_ONCE, fan_out
from lakehouse.engine.storage import KeyExists, KeyNotFound, Storage
from lakehouse.engine.vectors import format, log, segment
from lakehouse.engine.vectors.batch import Rows
from lakehouse.engine.vectors.format import GraphRef, Manifest, Number, SegmentRef, Tomb, damaged
from lakehouse.engine.vectors.graph import Graph
from lakehouse.engine.vectors.items import IndexDamaged
from lakehouse.engine.vectors.segment import Segment
from lakehouse.errors import Upstream

T = TypeVar("T")

CHECK_AT_ONCE = 16 * 2**20  # bytes hashed while a segment is opened (8 ms); a larger one is checked in the background
_ORPHAN_SECONDS = 24 * 3600

Later = Callable[[Callable[[], object]], None]


class Objects:
    """One index's part of a bucket. Every read is checked; IndexDamaged names the object that is not as written.

    `later` runs the checks of segments that are too large to be checked while they are opened. `own` are the names of
    what this process has written: that is never taken for what a crash left, however long the work goes on and whatever
    the clock does. `doubtful` are the names that stay although whoever wrote them gave them up, since a manifest may
    name them that this process could not read back.
    """

    def __init__(self, storage: Storage, index: str, later: Later, own: set[str], doubtful: set[str]) -> None:
        self.bucket, self.index = storage.bucket, index
        self._storage, self._later, self._own, self._doubtful = storage, later, own, doubtful

    async def generations(self) -> list[Number]:
        """The numbers of the stored generations, ascending."""
        return _numbers(await self.bucket.names(format.home_of(self.index) + "manifest/"))

    async def manifest(self, number: Number) -> Manifest:
        """One generation."""
        key = format.manifest_key(self.index, number)
        return format.read_manifest((await self._read([key]))[0], key)

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a generation. Raises KeyExists when another process has stored one of this number, or had already.

        Raises Upstream when the store fails, and then keeps what the manifest names: it may have been stored.
        """
        key = format.manifest_key(self.index, manifest.number)
        try:
            try:
                await self.bucket.put(key, format.write_manifest(manifest), create=True)
            except Upstream:
                if not await self._counts(manifest):
                    raise
                return
            if await self._counts(manifest):
                return
        except Upstream:
            self._doubtful.update(_named(manifest))
            raise
        await self.bucket.delete(key)
        raise KeyExists(f"the key {key} was taken before.")

    async def _counts(self, manifest: Manifest) -> bool:
        """Whether a manifest is the newest, or what others have published since was made of it.

        Otherwise its number was free only because it had been cleared away: nobody will ever read it.
        """
        while True:
            generations = await self.generations()
            if not generations or generations[-1].epoch > manifest.number.epoch:
                return False
            try:
                return (await self.manifest(generations[-1])).follows(manifest)
            except IndexDamaged:
                if await self.generations() == generations:
                    return generations[-1] == manifest.number

    async def entries(self, first: Number) -> list[log.Entry]:
        """The log entries from a number on, in order."""
        stored = _numbers(await self.bucket.names(format.home_of(self.index) + "log/"))
        numbers = [n for n in stored if n.epoch == first.epoch and n >= first]
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
        self._own.add(f"{tomb.id}.bin")
        await self.bucket.put(format.tomb_key(self.index, tomb.id), data, create=True)
        return tomb

    async def segment(self, ref: SegmentRef, *, trusted: bool = False) -> Segment:
        """Open a segment; a `trusted` one was written by this process a moment ago and is not hashed."""
        key = format.segment_key(self.index, ref.id, segment.DOC)
        doc = format.read_segment_doc((await self._read([key]))[0], key, ref.check)
        if self.bucket.root is not None:
            folder = (self.bucket.root / key).parent
            return await self._opened(ref, doc, {name: folder / name for name in doc.files}, trusted)
        try:
            return await self._opened(ref, doc, await self._copies(doc), trusted)
        except IndexDamaged:  # by its copy here; what the bucket has is not known yet
            if not await anyio.to_thread.run_sync(self._drop_spoiled, doc):
                raise
        return await self._opened(ref, doc, await self._copies(doc), trusted)

    async def _opened(self, ref: SegmentRef, doc: format.SegmentDoc, paths: dict[str, Path], trusted: bool) -> Segment:
        opened = await anyio.to_thread.run_sync(Segment, self.index, doc, ref.check, paths)
        if self.bucket.root is None:  # its copies stay while it is open
            self._storage.shelf.pin([file.sha256 for file in doc.files.values()], opened)
        if trusted:
            return opened
        if opened.size > CHECK_AT_ONCE:
            self._later(partial(self._checked, opened))
        elif problems := await anyio.to_thread.run_sync(opened.verify):
            raise damaged(*problems[0].split(": ", 1))
        return opened

    def _checked(self, opened: Segment) -> None:
        if opened.verify(later=True) and self.bucket.root is None:
            self._drop_spoiled(opened.doc)  # whoever opens it next has it fetched again

    def _drop_spoiled(self, doc: format.SegmentDoc) -> bool:
        return any([self._storage.cache.drop_spoiled(ref.sha256) for ref in doc.files.values()])

    async def graph(self, ref: GraphRef | None, over: Segment, *, trusted: bool = False) -> Graph | None:
        """Open the graph over a segment, checked as a segment is."""
        if ref is None:
            return None
        try:
            return await self._graph(ref, over, trusted)
        except IndexDamaged:  # by its copy here, perhaps
            spoiled = partial(self._storage.cache.drop_spoiled, ref.sha256)
            if self.bucket.root is not None or not await anyio.to_thread.run_sync(spoiled):
                raise
        return await self._graph(ref, over, trusted)

    async def _graph(self, ref: GraphRef, over: Segment, trusted: bool) -> Graph:
        key = format.graph_key(self.index, ref.id)
        root = self.bucket.root
        path = root / key if root is not None else await self._copy(key, ref.sha256, ref.size)
        opened = await anyio.to_thread.run_sync(Graph, self.index, ref, path, over.coded, over.doc.distance)
        if root is None:  # its copy stays while it is open
            self._storage.shelf.pin([ref.sha256], opened)
        if trusted:
            opened.checked = True
            return opened
        if ref.size > CHECK_AT_ONCE:
            self._later(partial(self._checked_graph, opened))
        elif problems := await anyio.to_thread.run_sync(opened.verify):
            raise damaged(*problems[0].split(": ", 1))
        return opened

    def _checked_graph(self, opened: Graph) -> None:
        if opened.verify(later=True) and self.bucket.root is None:
            self._storage.cache.drop_spoiled(opened.ref.sha256)

    async def put_graph(self, ref: GraphRef, path: Path) -> None:
        """Store a finished graph."""
        self._own.add(f"{ref.id}.usearch")
        await self._storage.put_immutable(format.graph_key(self.index, ref.id), path, ref.sha256)

    async def remove_graph(self, id: str) -> None:
        """Remove a graph that no generation names."""
        self._own.discard(f"{id}.usearch")
        if f"{id}.usearch" in self._doubtful:
            return
        await self._remove([format.graph_key(self.index, id)])

    async def put_segment(self, doc: format.SegmentDoc, folder: Path) -> None:
        """Store a written segment, its description last."""
        self._own.add(doc.id)

        async def put(name: str) -> None:
            key = format.segment_key(self.index, doc.id, name)
            await self._storage.put_immutable(key, folder / name, doc.files[name].sha256)

        # A folder's files follow each other: each is forced to the same disk.
        await fan_out([partial(put, name) for name in doc.files], AT_ONCE if self.bucket.remote else 1)
        key = format.segment_key(self.index, doc.id, segment.DOC)
        await self.bucket.put_file(key, folder / segment.DOC, create=True)

    async def _copies(self, doc: format.SegmentDoc) -> dict[str, Path]:
        copies = await fan_out([partial(self._cached, doc, name) for name in doc.files])
        return dict(zip(doc.files, copies, strict=True))

    async def _cached(self, doc: format.SegmentDoc, name: str) -> Path:
        ref = doc.files[name]
        return await self._copy(format.segment_key(self.index, doc.id, name), ref.sha256, ref.size)

    async def _copy(self, key: str, sha256: str, size: int) -> Path:
        try:
            return await self._storage.cache.fetch(key, sha256, size)
        except KeyNotFound:
            raise damaged(key, "it is missing") from None
        except Altered:
            raise damaged(key, "its checksum differs") from None

    async def _read(self, keys: Sequence[str]) -> list[bytes]:
        root = self.bucket.root
        if root is not None:
            return await anyio.to_thread.run_sync(lambda: [_contents(root, key) for key in keys])
        return await fan_out([partial(self._get, key) for key in keys])

    async def _get(self, key: str) -> bytes:
        try:
            return await self.bucket.get(key)
        except KeyNotFound:
            raise damaged(key, "it is missing") from None

    async def verify(self) -> list[str]:
        """Read all that the newest generation and the builds beside it need; a line for each file that has changed."""
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
        read: dict[str, Segment] = {}
        graphs: set[GraphRef | None] = {None}
        for ref in (*refs_of(manifest), *attached):
            await tried(partial(self.tomb, ref))
            opened = read.get(ref.id) or await tried(partial(self.segment, ref, trusted=True))
            if opened is None:
                continue
            if ref.id not in read:
                problems += await anyio.to_thread.run_sync(opened.verify)
            read[ref.id] = opened
            if ref.graph in graphs:
                continue
            graphs.add(ref.graph)
            graph = await tried(partial(self.graph, ref.graph, opened, trusted=True))
            if graph is not None:
                problems += await anyio.to_thread.run_sync(graph.verify)
        return problems

    async def collect(self) -> None:
        """Remove what no reader can need, unless a backup is being made: then it is for the next time."""
        with self._storage.removals.removing() as may:
            if may:
                await self._collect()

    async def _collect(self) -> None:
        """All of a deleted index, and what only older generations name.

        The newest two generations stay, with the log entries between them, so that a process that is one generation
        behind cannot put a log entry where it would not be read. A crash leaves the rest for the next time.
        """
        home = format.home_of(self.index)
        generations = await self.generations()
        if not generations:
            return
        newest = await self.manifest(generations[-1])
        log = _numbers(await self.bucket.names(home + "log/"))
        parts = {kind: await self.bucket.names(f"{home}{kind}/") for kind in ("seg", "tomb", "graph")}
        if newest.deleted:
            epoch = newest.number.epoch
            log = [number for number in log if number.epoch <= epoch]
            parts = {kind: [name for name in found if format.epoch(name) <= epoch] for kind, found in parts.items()}
            generations = [number for number in generations if number <= newest.number]
        else:
            same = [number for number in generations if number.epoch == newest.number.epoch]
            older = [manifest for number in same[:-1] if (manifest := await self._whole(number)) is not None]
            previous = older[-1] if older and older[-1].number == same[-2] else newest
            kept = _named(newest) | _named(previous)
            retired = {name for manifest in older for name in _named(manifest)}
            log = [number for number in log if number < Number(previous.number.epoch, previous.log_from)]
            lost = {n for found in parts.values() for n in found if self._forgotten(n, newest.number.epoch)} - kept
            if lost - retired:  # a segment may be in the log only, when what came after it was never sealed
                entries = await self.entries(Number(newest.number.epoch, newest.log_from))
                lost -= {entry.attach.id for entry in entries if entry.attach is not None}
            needless = lost | (retired - kept)
            parts = {kind: [name for name in found if name in needless] for kind, found in parts.items()}
            generations = [number for number in generations if number < previous.number]
        await self._remove([format.log_key(self.index, number) for number in log])
        for name in parts["seg"]:
            await self.remove_segment(name)
        await self._remove([f"{home}tomb/{name}" for name in parts["tomb"]])
        await self._remove([f"{home}graph/{name}" for name in parts["graph"]])
        self._own.difference_update(parts["tomb"], parts["graph"])
        # The newest last: as long as a deleted generation is there, what is left is known to be removed.
        folders = (
            (*(f"{home}{kind}/" for kind in ("seg", "tomb", "graph", "log", "manifest")), home)
            if newest.deleted
            else ()
        )
        await self._remove([format.manifest_key(self.index, number) for number in generations], folders)

    def _forgotten(self, name: str, epoch: int) -> bool:
        """Whether an unnamed segment or bitmap is what a crash left, or of an index that was replaced.

        A young one may be unfinished work of another process: a build may take hours.
        """
        if format.epoch(name) < epoch:
            return True
        return name not in self._own and format.age(name) > _ORPHAN_SECONDS

    async def _whole(self, number: Number) -> Manifest | None:
        """A generation, when it can be read."""
        try:
            return await self.manifest(number)
        except IndexDamaged:
            return None

    async def remove_segment(self, id: str) -> None:
        """Remove a segment that no generation names."""
        folder = format.segment_key(self.index, id, "")
        self._own.discard(id)
        if id in self._doubtful:
            return
        await self._remove([folder + file for file in await self.bucket.names(folder)], (folder,))

    async def _remove(self, keys: Sequence[str], folders: Sequence[str] = ()) -> None:
        """Remove objects, and folders that are left empty and that nobody will write into."""
        root = self.bucket.root
        if root is not None:
            await anyio.to_thread.run_sync(_unlink, root, keys, folders)
        else:
            await self.bucket.delete_all(keys)


def _numbers(found: Sequence[str]) -> list[Number]:
    return sorted(n for name in found if (n := format.parse_number(name)) is not None)


def _contents(root: Path, key: str) -> bytes:
    try:
        return (root / key).read_bytes()
    except FileNotFoundError:
        raise damaged(key, "it is missing") from None
    except OSError as error:
        raise damaged(key, f"it cannot be read: {error.strerror}") from error


def _unlink(root: Path, keys: Sequence[str], folders: Sequence[str]) -> None:
    # No fsync: what a crash brings back is removed the next time.
    for key in keys:
        (root / key).unlink(missing_ok=True)
    for folder in folders:
        with suppress(OSError):  # not empty, or gone already
            (root / folder).rmdir()


def _named(manifest: Manifest) -> set[str]:
    """The names in seg/, tomb/ and graph/ that a generation needs, for the builds that are kept beside it, too."""
    refs = refs_of(manifest)
    names = {ref.id for ref in refs} | {f"{ref.graph.id}.usearch" for ref in refs if ref.graph is not None}
    return names | {f"{ref.tomb.id}.bin" for ref in refs if ref.tomb is not None}


def refs_of(manifest: Manifest) -> list[SegmentRef]:
    """The segments of the live build and of those kept beside it; one may be named with several tombs and graphs."""
    return [*manifest.segments, *(ref for build in manifest.retained for ref in build.segments)]
