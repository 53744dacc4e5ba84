"""What queries see: the newest version of every dataset, looked for anew when that is due."""

import logging
from typing import TYPE_CHECKING

import anyio

from lakehouse.engine.sql.pool import Visible
from lakehouse.engine.sql.views import Later, Views
from lakehouse.errors import Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets

log = logging.getLogger("lakehouse")


class Sight:
    """The visible set. Other processes' commits are seen `every` so many seconds (`sql.refresh_every`).

    Where listing the bucket may take long, only the very first query waits for it; `later` starts what the others do
    not wait for.
    """

    def __init__(self, datasets: "Datasets", views: Views, every: float, later: Later) -> None:
        self._datasets, self._views, self._every, self._later = datasets, views, every, later
        self._visible: Visible | None = None
        self._seen = (-1, -1)  # of which set of versions, and of files here, the visible set was made
        self._looking = anyio.Lock(fast_acquire=True)
        self._refreshing = False
        self._looked_at = float("-inf")

    async def look(self) -> Visible:
        """The visible set as it is now."""
        now = anyio.current_time()
        due = now - self._looked_at >= self._every
        if due and self._visible is not None and self._datasets.remote:
            due = not self._refreshing and not self._start_refresh()
        if not due and self._visible is not None and self._seen == self._newest():
            return self._visible
        async with self._looking:
            if due and now - self._looked_at >= self._every:
                await self._refresh()
            newest = self._newest()
            if self._visible is None or self._seen != newest:
                manifests = await self._datasets.list()
                views = await self._views.of(manifests)
                number = self._visible.number + 1 if self._visible else 1
                self._visible = Visible(number, views, {manifest.name: manifest for manifest in manifests})
                self._seen = newest
            return self._visible

    def _newest(self) -> tuple[int, int]:
        return self._datasets.generation, self._views.arrivals

    def _start_refresh(self) -> bool:
        """Have the bucket listed meanwhile; False when there is nobody to do it."""
        self._refreshing = self._later(self._refresh_aside)
        return self._refreshing

    async def _refresh_aside(self) -> None:
        try:
            await self._refresh()
        except Exception:  # it is nobody's call, and must not end what it runs beside
            log.exception("sql.refresh_failed the next query tries again")
        finally:
            self._refreshing = False

    async def _refresh(self) -> None:
        self._looked_at = anyio.current_time()
        try:
            await self._datasets.refresh()
        except Upstream:
            # Versions that are known stay whole and true, if perhaps no longer the newest.
            if self._visible is None:
                self._looked_at = float("-inf")
                raise
