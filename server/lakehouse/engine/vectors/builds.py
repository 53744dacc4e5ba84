"""How indexes come, change as a whole, and go: created, rebuilt beside, swapped, rolled back, deleted."""

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from lakehouse.engine import moment
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.vectors.format import Manifest, Number
from lakehouse.engine.vectors.items import (
    Distance,
    Generation,
    HotSwap,
    IndexInfo,
    IndexNotFound,
    Swapped,
    at,
    check_builder,
    check_live,
    check_name,
)
from lakehouse.engine.vectors.opened import Opened
from lakehouse.errors import Conflict, InvalidInput, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.vectors.rebuild import Rebuild
    from lakehouse.engine.vectors.replacement import Replacement
    from lakehouse.engine.vectors.snapshot import State


class Builds(Opened):
    """The indexes as wholes. Every change of one is durable when it returns, and shows in one step."""

    async def create(
        self,
        name: str,
        dimension: int,
        distance: Distance = "cosine",
        *,
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int | None = None,
        model: str | None = None,
        builder: dict[str, Any] | None = None,
    ) -> IndexInfo:
        """Create an empty index. `m`, `ef_construction` and `ef_search` are kept for the graphs of large indexes.

        `model` pins the embedding model, `builder` is any JSON object about how the index is filled.

        Raises InvalidInput, and IndexExists when the name is taken.
        """
        check_name(name)
        if not 1 <= dimension <= self.settings.max_dimension:
            raise InvalidInput(
                f"dimension: {dimension} is not between 1 and {self.settings.max_dimension} (vectors.max_dimension).",
                fix="Give the number of components of your vectors.",
            )
        if distance not in ("cosine", "euclidean"):
            raise InvalidInput(f"distance: there is no {str(distance)[:40]!r}.", fix="Use cosine or euclidean.")
        for word, value, low, high in (
            ("m", m, 2, 128),
            ("ef_construction", ef_construction, 1, 10_000),
            ("ef_search", ef_search, 1, 10_000),
        ):
            if value is not None and not low <= value <= high:
                raise InvalidInput(f"{word}: {value} is not between {low} and {high}.", fix="Leave it out.")
        check_builder(builder)
        async with self._name(name):
            objects = await self._objects(name)
            from lakehouse.engine.vectors import lifecycle

            epoch = self._epochs[name] = await lifecycle.free_epoch(objects, self._epochs.get(name, 0))
            builder = copy.deepcopy(builder)
            graph = (m, ef_construction, ef_search)
            now = moment.now()
            first = Manifest(Number(epoch, 1), dimension, distance, now, *graph, model, builder, built=now, swapped=now)
            await lifecycle.begin(objects, first)
            if name in self._indexes:  # an older one, or this one, which others here have been faster to open
                await self._indexes[name].refresh()
            await self._record("create", "index", name, after={"dimension": dimension, "model": model})
            return await self.get(name)

    async def get(self, name: str) -> IndexInfo:
        """One index as it is now, or a generation of it. Raises IndexNotFound, and IndexDamaged naming the file."""
        return _info(name, await self._state(name))

    async def replacement(self, name: str, dimension: int, model: str | None = None) -> "Replacement":
        """A new content for an index, for cosine distance, that is filled unseen and takes its place in one step.

        Until it is published the index is what it was, whatever happens; there need not be one. What was live is kept
        as the generation before: for another model or dimension this is how the index goes over to it.
        """
        objects = await self._objects(check_live(name))
        from lakehouse.engine.vectors import generations, lifecycle, replacement
        from lakehouse.engine.vectors.index import Index

        async with self._name(name):
            epoch = self._epochs[name] = await lifecycle.later_epoch(objects, self._epochs.get(name, 0))
        first = Manifest(Number(epoch, 1), dimension, "cosine", moment.now(), model=model)

        async def publish(manifest: Manifest) -> None:
            async with self._name(name):
                index = self._indexes.setdefault(name, Index(name, objects, self._storage))
                await generations.put_in_place(index, manifest, self.settings.keep_generations)
                self._problems.pop(name, None)
                await self._told_of("replace", name)
                await lifecycle.tidy(objects)

        return replacement.Replacement(objects, self._storage, first, publish)

    async def rebuild(self, name: str) -> "Rebuild":
        """The next generation of an index, which begins as what the index is now and is changed unseen.

        `add`, `add_matrix` and `delete_many` change it as they would the index; `ids` and `metadata` say what it has;
        `publish` makes it the live generation in one step, with what was added to the index meanwhile on top, and keeps
        the former one. Until then the index is what it was, and none of it is copied. `discard` it in the end.

        Raises IndexNotFound.
        """
        index = await self._index(name)
        from lakehouse.engine.vectors import lifecycle
        from lakehouse.engine.vectors.rebuild import Rebuild

        async def published() -> None:
            await self._told_of("replace", name)
            await lifecycle.tidy(index.objects)

        return await Rebuild.begin(index, self.settings.keep_generations, published)

    async def swap(self, name: str, generation: int, *, force: bool = False) -> Swapped:
        """Make another generation the live one; searches that run end on the one they began with.

        What is added from then on goes to that one; what was added to the former one stays in the former one, which is
        kept. The live one itself is left as it is. An empty one needs `force`.

        Raises IndexNotFound; Conflict when there is no such generation, it is empty, or of another dimension or
        distance.
        """
        return await self._swap("swap", name, generation, force)

    async def rollback(self, name: str) -> Swapped:
        """Make the generation that was live before this one live again, of whatever dimension and size it is.

        A second rollback takes the first one back. Raises IndexNotFound, and Conflict when there is none.
        """
        manifest = (await (await self._index(name)).state()).manifest
        if not manifest.retained:
            raise Conflict(
                f"index {name!r} has no generation to go back to.",
                fix="There is one after a snapshot_index or once it was built again, if vectors.keep_generations is "
                "above 0.",
            )
        return await self._swap("rollback", name, manifest.retained[-1].number, True)

    async def _swap(self, action: str, name: str, generation: int, force: bool) -> Swapped:
        index = await self._index(name)
        from lakehouse.engine.vectors import generations, lifecycle

        async with self._name(name):
            epoch = self._epochs[name] = await lifecycle.later_epoch(index.objects, self._epochs.get(name, 0))
            keep, back = self.settings.keep_generations, action == "rollback"
            done = await generations.swap(index, generation, keep, epoch, force=force, back=back)
        if done.previous != done.generation:
            await self._compact_later(index)
            await self._record(
                action,
                "index",
                name,
                before={"generation": done.previous, "count": done.previous_count},
                after={"generation": done.generation, "count": done.count},
            )
        return done

    async def snapshot(self, name: str) -> Swapped:
        """Keep what the index is now under its number; the index goes on with the same items under the next.

        Raises IndexNotFound, and Conflict when no generations are kept.
        """
        index = await self._index(name)
        from lakehouse.engine.vectors import generations

        if not self.settings.keep_generations:
            raise Conflict("no generations are kept.", fix="Set vectors.keep_generations above 0.")
        done = await generations.snapshot_of(index, self.settings.keep_generations)
        await self._record("snapshot", "index", name, after={"generation": done.previous, "count": done.count})
        return done

    async def swaps(self) -> dict[str, HotSwap]:
        """Of each dataset that an index was built from, the generation that went live last. Reads manifests only."""
        try:
            manifests = await fan_out([partial(self._standing, name) for name in await self.names()])
        except Upstream:
            return {}  # this is told beside datasets, which may be in another bucket
        found: dict[str, HotSwap] = {}
        for manifest in manifests:
            dataset = (manifest.builder or {}).get("dataset") if manifest is not None else None
            if manifest is None or not isinstance(dataset, str):
                continue
            if dataset not in found or found[dataset].swapped_at < manifest.swapped:
                found[dataset] = HotSwap(manifest.build, manifest.swapped)
        return found

    async def _standing(self, name: str) -> Manifest | None:
        """The manifest of an index as it is now; None when it is deleted or cannot be read."""
        from lakehouse.engine.vectors import lifecycle

        return await lifecycle.standing(await self._objects(name))

    async def _told_of(self, action: str, name: str) -> None:
        info = await self.get(name)
        await self._compact_later(await self._index(name))
        told = {"generation": info.generation, "dimension": info.dimension, "model": info.model, "count": info.count}
        await self._record(action, "index", name, after=told)

    async def delete(self, name: str) -> None:
        """Delete an index: it is gone for everybody once this generation is stored; its objects are removed after.

        A damaged index can be deleted too. Raises IndexNotFound.
        """
        check_live(name)
        async with self._name(name):
            objects = await self._objects(name)
            from lakehouse.engine.vectors import lifecycle

            try:
                ended = await lifecycle.end(objects, self._indexes.pop(name, None))
                self._epochs[name] = max(ended, self._epochs.get(name, 0))
            except IndexNotFound:
                raise await self._missing(name) from None
            finally:
                await lifecycle.tidy(objects)
            self._problems.pop(name, None)
            await self._record("drop", "index", name)


def _info(name: str, state: "State") -> IndexInfo:
    manifest = state.manifest
    number = at(name)[1]
    return IndexInfo(
        name,
        manifest.dimension,
        manifest.distance,
        state.count,
        manifest.build,
        manifest.model,
        copy.deepcopy(manifest.builder),
        manifest.number.count,
        _generations(state) if number is None else (),
    )


def _generations(state: "State") -> tuple[Generation, ...]:
    """The live build and those kept beside it, by number."""
    manifest = state.manifest
    live = Generation(
        manifest.build, True, manifest.built, manifest.swapped, state.count, manifest.dimension, manifest.model
    )
    kept = (Generation(b.number, False, b.created, b.swapped, b.count, b.dimension, b.model) for b in manifest.retained)
    return tuple(sorted((live, *kept), key=lambda each: each.generation))
