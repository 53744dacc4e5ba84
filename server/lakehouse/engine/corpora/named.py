"""The definitions that come along: found by name like all others, shown once what they read is there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.engine.corpora.definitions import Definition, Unusable
    from lakehouse.engine.datasets import Datasets


class Named:
    """The definitions of the project that `shipped` gives, and which ones they are among all."""

    def __init__(self, shipped: Callable[[], Path | None], datasets: "Datasets") -> None:
        self._shipped = shipped
        self._datasets = datasets

    def beside(self, folders: Sequence[Path]) -> "tuple[list[Definition], list[Unusable]]":
        """The definitions of project folders, and those that came along whose names no file there has. It blocks."""
        from lakehouse.engine.corpora.definitions import find

        found, unusable = find(folders)
        project = self._shipped()
        if project is None or project in folders:
            return found, unusable
        own = {each.recipe.name for each in found} | {each.name for each in unusable}
        along, broken = find([project])
        added = [each for each in along if each.recipe.name not in own]
        return sorted([*found, *added], key=lambda each: each.recipe.name), [*unusable, *broken]

    async def has(self, definition: "Definition") -> bool:
        """Whether a definition came along."""
        return definition.path.parent.parent == await anyio.to_thread.run_sync(self._shipped)

    async def hides(self, definition: "Definition") -> bool:
        """Whether a definition came along for data that is not there: no one who lists corpora waits for it."""
        if not await self.has(definition):
            return False
        source = definition.recipe.source
        if source.folder is not None:
            return not await anyio.to_thread.run_sync(Path(source.folder).is_dir)
        try:
            await self._datasets.get(source.dataset or "")
        except LakehouseError:  # it was never made, or listing datasets says what is wrong with it
            return True
        return False
