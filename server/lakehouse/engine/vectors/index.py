"""One index: durable changes in groups, searches on snapshots, other processes' changes. Load it in a worker thread."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from lakehouse.engine.fanout import fan_out
from lakehouse.engine.storage import KeyExists, Storage
from lakehouse.engine.vectors import format, log, snapshot
from lakehouse.engine.vectors.batch import PUT, Batch, deletes, joined
from lakehouse.engine.vectors.format import Manifest, Number, SegmentRef
from lakehouse.engine.vectors.items import IndexDamaged, IndexNotFound, ItemNotFound
from lakehouse.engine.vectors.kept import Kept, sound
from lakehouse.engine.vectors.objects import Objects
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.snapshot import Sealed, State
from lakehouse.engine.vectors.work import Work
from lakehouse.errors import LakehouseError, Upstream

T = TypeVar("T")

SEAL_ENTRIES = 256  # opening reads every log entry, about 0.1 ms each
_RETRY_ENTRIES = 64
_GROUP_BYTES = 32 * 2**20  # waiting batches are joined into one log entry up to this size


class Index:
    """An index. Changes queue and are committed one log entry at a time; searches read `state()` and never wait."""

    def __init__(self, name: str, objects: Objects, storage: Storage) -> None:
        self.name, self.objects, self.storage = name, objects, storage
        self.bucket = objects.bucket
        self.changing = anyio.Lock()  # a new generation is being made
        self.committing = anyio.Lock()  # the log and the state are being moved on
        self.compacting = anyio.Lock()  # segments are being merged, graphs built, in processes of their own
        self.busy: frozenset[str] = frozenset()  # segments that are being merged there
        self.worked = 0  # rows that those processes have put into graphs, since it was opened here
        self._memory = threading.Lock()  # the fresh rows are being changed, in a worker thread
        self._state: State | None = None
        self._waiting: list[Work] = []
        self._not_before = 0
        self.kept = Kept(self)

    async def state(self) -> State:
        """The newest snapshot. Raises IndexNotFound and, naming the file, IndexDamaged."""
        state = self._state
        if state is None:
            async with self.committing:
                state = await self.shown()
        return sound(state)

    async def shown(self) -> State:
        """The state that is shown, or the one to be shown. The caller holds `committing`."""
        return self._state or await self.load()

    @property
    def is_shown(self) -> bool:
        """Whether its state is known here: it need not be read."""
        return self._state is not None

    def not_found(self) -> IndexNotFound:
        return IndexNotFound(f"there is no vector index called {self.name!r}.", fix="List the indexes, or create it.")

    async def load(self) -> State:
        """Read the newest generation and the log on top of it. The caller holds `committing`."""
        opened = {s.segment.doc.id: s for s in self._state.sealed} if self._state else {}
        known = await self._newest()
        try:
            while known is not None:
                damage: IndexDamaged | None = None
                try:
                    state = await self._read(known, opened)
                except IndexDamaged as error:
                    damage = error
                # Another process may have published and cleared away meanwhile; then there is a newer one to read.
                newest = await self._newest()
                if newest == known:
                    if damage is not None:
                        raise damage
                    self._state = state
                    return state
                known = newest
            raise self.not_found()
        except BaseException:
            self._state = None
            raise

    async def _newest(self) -> Number | None:
        generations = await self.objects.generations()
        return generations[-1] if generations else None

    async def _read(self, number: Number, known: Mapping[str, Sealed]) -> State:
        manifest = await self.objects.manifest(number)
        if manifest.deleted:
            raise self.not_found()

        sealed = await self.sealed(manifest.segments, known)
        state = await anyio.to_thread.run_sync(snapshot.empty, manifest, sealed)
        return await self._replayed(state)

    async def sealed(self, refs: Sequence[SegmentRef], known: Mapping[str, Sealed] | None = None) -> tuple[Sealed, ...]:
        """Segments with their dead rows and graphs, opened unless they are open."""
        states = [*self.kept.states, *([] if self._state is None else [self._state])]
        there = {s.segment.doc.id: s for state in states for s in state.sealed} | dict(known or {})

        async def opened(ref: SegmentRef) -> Sealed:
            found = there.get(ref.id)
            segment = found.segment if found else await self.objects.segment(ref)
            graph = found.graph if found else None
            if graph is None or graph.ref != ref.graph:
                graph = await self.objects.graph(ref.graph, segment)
            return Sealed(segment, await self.objects.tomb(ref), graph)

        return tuple(await fan_out([partial(opened, ref) for ref in refs]))

    async def _replayed(self, state: State) -> State:
        """The state with the log entries that come after it."""
        run: list[Batch] = []
        for entry in await self.objects.entries(state.log_next):
            if entry.attach is None:
                run.append(entry.batch)
                continue
            state, run = await self._together(state, run), []
            opened = await self.objects.segment(entry.attach)
            state = await self._moved(state, partial(_attached, state, opened))
        return await self._together(state, run)

    async def _together(self, state: State, run: list[Batch]) -> State:
        if not run:
            return state
        return await self._moved(state, partial(_changed, state, run))

    async def _moved(self, state: State, step: Callable[[], State]) -> State:
        """The state after a step, shown at once when it follows the one that is shown now."""

        def move() -> State:
            with self._memory:
                shown = self._state is state
                after = step()
                if shown:
                    self._state = after
                return after

        return await anyio.to_thread.run_sync(move)

    async def grown(self, state: State) -> State:
        """A state of an epoch that is over, with what other processes still put there."""
        same = [n for n in await self.objects.generations() if n.epoch == state.manifest.number.epoch]
        if same[-1:] in ([], [state.manifest.number]):
            return await self._replayed(state)
        return await self._read(same[-1], {s.segment.doc.id: s for s in state.sealed})

    async def refresh(self) -> None:
        """Take over what other processes have committed."""
        async with self.committing:
            await self._catch_up()

    async def newest(self) -> State:
        """The state that is to be shown now, with all that other processes have committed. As `shown`."""
        await self._catch_up()
        return await self.shown()

    async def _catch_up(self) -> None:
        state = self._state
        if state is not None and await self._newest() == state.manifest.number:
            try:
                await self._replayed(state)
            except BaseException:
                self._state = None  # the fresh rows may be half changed; they are read again
                raise
            if await self._newest() == state.manifest.number:
                return
        await self.load()

    async def change(self, work: Work) -> Work:
        """Commit one change durably, together with others that wait at the same time.

        Raises Upstream when the store fails; then nothing has changed.
        """
        await self.state()
        self._waiting.append(work)
        try:
            async with self.committing:
                while not work.taken:  # a full group may leave it for the next
                    group = self._take()
                    with anyio.CancelScope(shield=True):
                        await self._commit_all(group)
        finally:
            if not work.taken:
                self._waiting.remove(work)
        if work.error is not None:
            raise work.error
        return work

    def _take(self) -> list[Work]:
        group: list[Work] = []
        size = 0
        while self._waiting:
            work = self._waiting[0]
            size += work.batch.vectors.nbytes
            if group and (size > _GROUP_BYTES or work.alone or group[0].alone):
                break
            work.taken = True
            group.append(self._waiting.pop(0))
        return group

    async def _commit_all(self, group: list[Work]) -> None:
        try:
            await self._commit(group)
        except Exception as error:
            for work in group:
                work.error = error
            if not isinstance(error, LakehouseError):
                raise

    async def _commit(self, group: list[Work]) -> None:
        while True:
            state = self._state or await self.load()
            data, batches = await anyio.to_thread.run_sync(self._encoded, state, group)
            if data is None:
                return
            key = format.log_key(self.name, state.log_next)
            try:
                await self.bucket.put(key, data, create=True)
            except KeyExists:
                await self._catch_up()
                continue
            except Upstream:
                await self._withdraw(key, data)
                raise
            # Another process may have sealed and cleared this place of the log away, so that nobody reads it again.
            try:
                newest = state.manifest.number if self.bucket.single_writer else await self._newest()
                # Entries outlive the generation that took them over by one, so ours was or will be read then.
                near = newest in (state.manifest.number, state.manifest.number.next)
                passed = not near and await self._passed(state)
            except Upstream:
                await self._withdraw(key, data)
                raise
            if passed:
                await self._withdraw(key, data)
                await self.load()
                continue
            await anyio.to_thread.run_sync(self._advance, state, group, batches)
            if newest != state.manifest.number:
                with suppress(LakehouseError):
                    await self.load()
            return

    async def _passed(self, state: State) -> bool:
        """Whether the newest generation does not read the log entry that was put after a state.

        One that is taken back although it is read would leave a hole before the entries after it.
        """
        newest = await self._newest()
        while newest is not None and newest.epoch == state.manifest.number.epoch:
            try:
                return (await self.objects.manifest(newest)).log_from > state.log_next.count
            except IndexDamaged:
                if newest == (newest := await self._newest()):
                    return True
        return True

    def _encoded(self, state: State, group: list[Work]) -> tuple[bytes | None, list[Batch]]:
        """The log entry of a group, and the part each of its works has in it."""
        batches: list[Batch] = []
        later: dict[str, bool] = {}  # whether ids will exist, after what comes before in this group
        for work in group:
            batch, work.error = work.batch, None
            if work.epoch != state.manifest.number.epoch:
                work.error = self.not_found()  # deleted meanwhile; this is another index of the same name
                batch = deletes([], state.manifest.dimension)
            elif work.made is not None:
                with self._memory:
                    batch = work.made(state)
            if len(batch) and batch.ops[0] != PUT:
                with self._memory:
                    stored = state.has([id for id in batch.ids if id not in later])
                there = [id for id in batch.ids if later.get(id, id in stored)]
                if work.must_exist and not there:
                    work.error = ItemNotFound(
                        f"index {self.name!r} has no item {batch.ids[0]!r}.", fix="Check the id with a search."
                    )
                batch = deletes(there, state.manifest.dimension)
            later |= dict.fromkeys(batch.ids, bool(len(batch)) and batch.ops[0] == PUT)
            batches.append(batch)
        attach = group[0].attach if group[0].error is None else None
        if not attach and not any(len(batch) for batch in batches):
            return None, batches
        entry = log.Entry(joined(batches), attach[1] if attach else None)
        return log.encode(entry, state.manifest.dimension), batches

    def _advance(self, state: State, group: list[Work], batches: list[Batch]) -> None:
        attach = group[0].attach
        with self._memory:
            try:
                if attach is not None:
                    self._state, replaced = snapshot.attached(state, attach[0])
                    group[0].existed = [True] * replaced + [False] * (attach[0].rows - replaced)
                    return
                self._state, existed = snapshot.changed(state, joined(batches))
            except BaseException:
                self._state = None  # the fresh rows may be half changed; they are read again
                raise
        for work, batch in zip(group, batches, strict=True):
            work.existed, existed = existed[: len(batch)], existed[len(batch) :]

    async def _withdraw(self, key: str, data: bytes) -> None:
        """Take back what a failed put may have left, so that it cannot show up after a restart."""
        try:
            if await self.bucket.get(key) == data:
                await self.bucket.delete(key)
        except LakehouseError:
            return

    def stands_on(self, number: Number) -> bool:
        """Whether the state shown is one of this generation."""
        return self._state is not None and self._state.manifest.number == number

    async def publish(self, manifest: Manifest) -> bool:
        """Make a generation the newest one stored. The caller holds `changing` and `committing`.

        False when another process was faster; its generation has been taken over then.
        """
        try:
            await self.objects.put_manifest(manifest)
        except KeyExists:
            await self.load()
            return False
        return True

    async def note(self, **changes: Any) -> bool:
        """Publish a generation that differs in facts only, as its builder; False when another process was faster."""
        async with self.changing, self.committing:
            state = self._state or await self.load()
            manifest = state.manifest.successor(**changes)
            with anyio.CancelScope(shield=True):
                if not await self.publish(manifest):
                    return False
                await anyio.to_thread.run_sync(self.swap, lambda state: replace(state, manifest=manifest))
        return True

    def wants_seal(self, now: bool, rows: int) -> bool:
        """Whether the fresh rows or the log entries on top of the generation are many enough to be sealed."""
        state = self._state
        if state is None or not state.entries:
            return False
        due = state.fresh.count >= rows or state.entries >= SEAL_ENTRIES
        return (now or due) and state.entries >= self._not_before

    def postpone_seal(self) -> None:
        """After a failure, let some more entries come before the next try."""
        self._not_before = (self._state.entries if self._state else 0) + _RETRY_ENTRIES

    def forget(self) -> None:
        """Show nothing any more; whoever asks next reads the store."""
        self._state = None
        self.kept.clear()

    def swap(self, change: Callable[[State], State]) -> None:
        """Replace the state by what `change` makes of it; in a worker thread, while holding `committing`."""
        with self._memory:
            assert self._state is not None
            self._state = change(self._state)

    async def ask(self, question: Callable[[State], T]) -> T:
        """Answer a question that looks at the fresh rows' ids, in a worker thread."""

        def answer() -> list[T]:
            with self._memory:
                return [] if self._state is None else [question(self._state)]

        while True:
            await self.state()
            for found in await anyio.to_thread.run_sync(answer):  # nothing, when the state was lost in between
                return found


def _attached(state: State, opened: Segment) -> State:
    return snapshot.attached(state, opened)[0]


def _changed(state: State, run: list[Batch]) -> State:
    return snapshot.changed(state, joined(run), len(run))[0]
