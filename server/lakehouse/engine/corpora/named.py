"""The definitions that come along: found by name like all others, shown once what they read is there."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.engine.corpora.definitions import Definition
    from lakehouse.engine.datasets import Datasets


class Named:
    """Tells the definitions in the folder that `shipped` gives from those that somebody wrote."""

    def __init__(self, shipped: Callable[[], Path | None], datasets: "Datasets") -> None:
        self._shipped = shipped
        self._datasets = datasets

    async def has(self, definition: "Definition") -> bool:
        """Whether a definition came along."""
        return definition.path.parent == await anyio.to_thread.run_sync(self._shipped)

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
