"""Where a build puts its items: a new index, the next generation of one, or what is to take an index's place."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from lakehouse.engine.vectors import Added, IndexDamaged, IndexInfo, IndexNotFound, Item, Vectors
from lakehouse.errors import Conflict

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.vectors.rebuild import Rebuild
    from lakehouse.engine.vectors.replacement import Replacement


class Target:
    """The index of one build, for several workers. It is begun when its first vectors are there.

    A new index fills up where it is seen, and `complete` in its builder's facts says when it is whole. An index that is
    there stays what it is until `finish` publishes all of the build at once. `discard` it in the end.
    """

    def __init__(self, vectors: Vectors, name: str, model: str, info: IndexInfo | None, replaces: bool) -> None:
        """`info` is the index to go on with; without it there is none, or it `replaces` the one there is."""
        self.info = info
        self.replaces = replaces
        self._vectors, self._name, self._model = vectors, name, model
        self._made = False
        self._draft: Rebuild | None = None
        self._beside: Replacement | None = None
        self._changing = anyio.Lock()

    @property
    def empty(self) -> bool:
        """Whether there is nothing yet that could be compared with."""
        return self.info is None or self._made

    async def add_matrix(
        self, ids: Sequence[str], matrix: "np.ndarray", metadata: Sequence[Any], facts: dict[str, Any]
    ) -> Added:
        """Put the rows of an array; `facts` are the builder's where the index is yet to be made.

        Raises Conflict for vectors of another dimension than the index has, InvalidInput, TooLarge, Upstream.
        """
        async with self._changing:
            await self._open(matrix.shape[1], facts)
            if self._beside is not None:
                return Added(await self._beside.add_matrix(ids, matrix, metadata), 0)
            if self._draft is not None:
                return await self._draft.add_matrix(ids, matrix, metadata)
            return await self._vectors.add_matrix(self._name, ids, matrix, metadata)

    async def add(self, items: Sequence[Item], dimension: int, facts: dict[str, Any]) -> Added:
        """The same for items without a vector."""
        async with self._changing:
            await self._open(dimension, facts)
            if self._beside is not None:
                return Added(await self._beside.add(items), 0)
            if self._draft is not None:
                return await self._draft.add(items)
            return await self._vectors.add(self._name, items)

    async def finish(self, wanted: set[str] | None, facts: dict[str, Any], failed: bool) -> int:
        """Publish what was put, without the items that are not `wanted` (None: with all); the number of those.

        What is to take an index's place does so only when nothing `failed`.
        """
        removed = 0
        if self._beside is not None and not failed:
            await self._beside.publish(facts)
        elif self.info is not None:
            if wanted is not None:
                removed = await self._remove(sorted(await self._vectors.ids(self._name) - wanted))
            if self._draft is not None:
                await self._draft.publish(facts)
            else:
                await self._vectors.set_builder(self._name, facts)
        with suppress(IndexDamaged, IndexNotFound):
            self.info = await self._vectors.get(self._name)
        return removed

    async def discard(self) -> None:
        """Remove what was not published."""
        with anyio.CancelScope(shield=True):
            for unseen in (self._draft, self._beside):
                if unseen is not None:
                    await unseen.discard()

    async def _remove(self, gone: list[str]) -> int:
        if gone and self._made:
            await self._vectors.delete_many(self._name, gone)
        elif gone:
            self._draft = self._draft or await self._vectors.rebuild(self._name)
            await self._draft.delete_many(gone)
        return len(gone)

    async def _open(self, dimension: int, facts: dict[str, Any]) -> None:
        if self.replaces:
            self._beside = self._beside or await self._vectors.replacement(self._name, dimension, self._model)
        elif self.info is None:
            self.info = await self._vectors.create(self._name, dimension, model=self._model, builder=facts)
            self._made = True
        elif not self._made:
            self._draft = self._draft or await self._vectors.rebuild(self._name)
        begun = self._beside or self._draft or self.info
        if begun is not None and begun.dimension != dimension:
            raise Conflict(
                f"corpus {self._name} has vectors of {begun.dimension} components, {self._model} now of {dimension}.",
                fix="Build it with drop_existing=true.",
            )
