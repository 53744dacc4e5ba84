"""Where entries are: an ordinary vector index, made when the first is recorded."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine.playbook import entry as form
from lakehouse.engine.playbook import holds as quarantine
from lakehouse.engine.playbook.entry import Entry
from lakehouse.engine.playbook.holds import Hold
from lakehouse.errors import Conflict, InvalidInput, LakehouseError

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.embed import Embedded, Embedder
    from lakehouse.engine.playbook.influence import Near
    from lakehouse.engine.vectors import Vectors

HOLDS = "quarantine"  # an item without a vector: it is never a hit
_AT_ONCE = 1000
_ATTEMPTS = 3


@dataclass(eq=False)
class Put:
    """What one caller records, with its vectors; then what stood there before, or why it is not recorded."""

    entries: dict[str, Entry]
    done: "Embedded"
    before: dict[str, Entry] = field(default_factory=dict)
    failure: LakehouseError | None = field(default_factory=lambda: LakehouseError("the entry was not written."))


class Memory:
    """The index of one playbook. Reading one that is not there raises IndexNotFound: nothing is recorded yet."""

    def __init__(self, name: str, embed: "Embedder", vectors: "Vectors", most: int) -> None:
        """`most` is the largest k of one search."""
        self.name, self.most = name, most
        self._embed, self._vectors = embed, vectors
        self._changing = anyio.Lock()  # what stood there before is read, then written behind the new
        self._waiting: list[Put] = []

    async def model(self) -> str | None:
        """The embedding model the index is of, where that is known. Raises IndexNotFound."""
        return (await self._vectors.get(self.name)).model

    async def _fit(self, done: "Embedded") -> None:
        """Raises IndexNotFound, and Conflict for an index that is not for entries of these vectors."""
        found = await self._vectors.get(self.name)
        if found.builder is not None or found.distance != "cosine":
            raise Conflict(f"corpus: {self.name} is a corpus, or not of cosine distance.", fix="Choose another name.")
        if found.model not in (None, done.model) or found.dimension != done.dimension:
            raise Conflict(
                f"corpus: {self.name} has {found.dimension} components of {found.model or 'no known model'}; "
                f"{done.model} gives {done.dimension}.",
                fix="Record into another corpus, or set embed.provider back.",
            )

    async def embedded(self, texts: Sequence[str]) -> "Embedded":
        """Texts as vectors of the playbook's own model, or of the default one for a playbook that is to be."""
        from lakehouse.engine.vectors import IndexNotFound

        try:
            model = await self.model()
        except IndexNotFound:
            model = None
        try:
            self._embed.effective_model(model)
        except InvalidInput:
            raise Conflict(
                f"corpus: playbook {self.name} is of {model}, which embed.provider does not offer.",
                fix="Set embed.provider back, or record into another corpus.",
            ) from None
        return await self._embed.embed(texts, model)

    async def put(self, entries: Sequence[Entry]) -> dict[str, Entry]:
        """Record entries, the last one of each id; those that stood there before. Durable when it returns."""
        from lakehouse.engine.vectors import IndexExists, IndexNotFound

        last = {entry.id: entry for entry in entries}
        for _ in range(_ATTEMPTS):
            done = await self.embedded([entry.query_text for entry in last.values()])
            try:
                await self._fit(done)
            except IndexNotFound:
                # Another may record the first at the same time, and with another model: it is looked at again.
                with suppress(IndexExists):
                    await self._vectors.create(self.name, done.dimension, model=done.model)
                await self._fit(done)
            with suppress(IndexNotFound):  # it was deleted meanwhile
                return await self._together(Put(last, done))
        raise Conflict(f"corpus: playbook {self.name} is being deleted by others.", fix="Try again.")

    async def _together(self, put: "Put") -> dict[str, Entry]:
        """Write what several callers record at the same time in one step: a hundred take a tenth of the time."""
        self._waiting.append(put)
        try:
            async with self._changing:
                if put in self._waiting:
                    group, self._waiting = self._waiting, []
                    with anyio.CancelScope(shield=True):  # it is of others, too
                        await self._write(group)
        finally:
            if put in self._waiting:  # it was cancelled before its turn
                self._waiting.remove(put)
        if put.failure is not None:
            raise put.failure
        return put.before

    async def _write(self, group: "list[Put]") -> None:
        from lakehouse.engine.vectors import Item

        def made(metas: dict[str, Any]) -> list[Item]:
            stored = _read(metas)
            items: dict[str, Item] = {}
            for put in group:
                put.before = {id: stored[id] for id in put.entries if id in stored}
                for (id, entry), vector in zip(put.entries.items(), put.done.vectors, strict=True):
                    stored[id] = entry.after(stored.get(id))
                    items[id] = Item(id, vector, stored[id].stored())
            return [*items.values()]

        try:
            await self._vectors.revise(self.name, [*{id: None for put in group for id in put.entries}], made)
            for put in group:
                put.failure = None
        except LakehouseError as failure:
            if len(group) == 1:
                group[0].failure = failure
                return
            for put in group:  # each for itself: one caller's bad entry is not another's
                await self._write([put])

    async def change(self, changed: Callable[[str, Entry], Entry | None]) -> "tuple[list[str], list[str]]":
        """Put what `changed` makes of each entry in its place; the ids of those that changed, and of those gone."""
        async with self._changing:
            every = await self.every()
            made = await anyio.to_thread.run_sync(lambda: {id: changed(id, entry) for id, entry in every.items()})
            gone = [id for id, entry in made.items() if entry is None]
            other = [entry for id, entry in made.items() if entry is not None and entry != every[id]]
            for begin in range(0, len(other), _AT_ONCE):
                some = other[begin : begin + _AT_ONCE]
                done = await self.embedded([entry.query_text for entry in some])
                ids, stored = [one.id for one in some], [one.stored() for one in some]
                await self._vectors.add_matrix(self.name, ids, done.vectors, stored)
            if gone:
                await self._vectors.delete_many(self.name, gone)
        return [entry.id for entry in other], gone

    async def near(
        self,
        vector: "Sequence[float] | np.ndarray",
        k: int,
        max_distance: float = 2,
        ids: Collection[str] | None = None,
    ) -> "tuple[list[Near], bool]":
        """The entries of the nearest questions, up to a distance, without what is none; and whether these are all.

        `ids` are those that may be among them.
        """
        from lakehouse.engine.playbook.influence import Near
        from lakehouse.engine.vectors import Ask

        hits = (await self._vectors.ask(self.name, Ask(min(k, self.most), vector, ids=ids))).near
        within = [hit for hit in hits if hit.distance <= max_distance]
        found = [(hit, form.read(hit.metadata)) for hit in within]
        near = [Near(hit.id, entry, hit.distance) for hit, entry in found if entry is not None]
        return near, len(within) < len(hits) or len(hits) < min(k, self.most)

    async def some(self, ids: Sequence[str]) -> dict[str, Entry]:
        """The entries of these ids that are stored."""
        return _read(await self._vectors.metadata(self.name, ids))

    async def every(self) -> dict[str, Entry]:
        """All entries by id, in the order of ids."""
        ids = sorted(await self._vectors.ids(self.name))
        found: dict[str, Entry] = {}
        for begin in range(0, len(ids), _AT_ONCE):
            given = await self._vectors.metadata(self.name, ids[begin : begin + _AT_ONCE])
            found |= await anyio.to_thread.run_sync(partial(_read, given))
        return {id: found[id] for id in ids if id in found}

    async def holds(self) -> list[Hold]:
        """What is in quarantine."""
        stored = await self._vectors.metadata(self.name, [HOLDS])
        return quarantine.read((stored.get(HOLDS) or {}).get("holds"))

    async def change_holds(self, changed: Callable[[dict[str, Hold]], None]) -> None:
        """Store what `changed` makes of the quarantine; it may be called again, when another process was faster."""
        from lakehouse.engine.vectors import Item

        def made(metas: dict[str, Any]) -> list[Item]:
            holds = {hold.id: hold for hold in quarantine.read((metas.get(HOLDS) or {}).get("holds"))}
            changed(holds)
            return [Item(HOLDS, None, {"holds": [hold.stored() for hold in holds.values()]})] if holds else []

        await self._vectors.revise(self.name, [HOLDS], made)


def _read(metadata: dict[str, Any]) -> dict[str, Entry]:
    found = {id: form.read(value) for id, value in metadata.items()}
    return {id: entry for id, entry in found.items() if entry is not None}
