"""The datasets as query processes take them: where their files are, or that these have to be fetched first."""

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from lakehouse.engine.sql.streams import Streams
from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest

log = logging.getLogger("lakehouse")

View = dict[str, Any]
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]


class _Arrival:
    """Files on their way, and how that ended."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.error: LakehouseError | None = None


class Views:
    """One view a dataset. Files of a bucket that is no folder are fetched when a query names their dataset.

    `later` starts work that outlives the call it is started in; it says whether it could.
    """

    def __init__(self, datasets: "Datasets", later: Later) -> None:
        self.arrivals = 0  # grows when files that were absent have come
        self._datasets, self._later = datasets, later
        self.streams = Streams(datasets)
        self._known: dict[tuple[str, int], View] = {}
        self._wanted: dict[str, Manifest] = {}
        self._coming: dict[tuple[str, int], _Arrival] = {}

    async def of(self, manifests: "Sequence[Manifest]") -> list[View]:
        """The views of these versions, in order."""
        fresh = [m for m in manifests if (m.name, m.version) not in self._known]
        here = [m for m in fresh if self._datasets.in_place(m)]
        made = await self._read_in_place(here)
        made |= await self._read_copies([m for m in fresh if not self._datasets.in_place(m)])
        self._wanted = {m.name: m for m in manifests}
        views = [self._known.get((m.name, m.version)) or made[m.name] for m in manifests]
        kept = {(m.name, m.version) for m in manifests}
        self._known = {version: view for version, view in self._known.items() if version in kept}
        return views

    async def fetch(self, name: str) -> None:
        """Wait until a dataset's files are here. Who gives up waiting does not end it for whoever asks next.

        Raises what kept them from coming: Upstream, DatasetDamaged.
        """
        manifest = self._wanted.get(name)
        if manifest is None or (version := (name, manifest.version)) in self._known:
            return
        arrival = self._coming.get(version)
        if arrival is None:
            arrival = self._coming[version] = _Arrival()
            if not self._later(partial(self._bring, manifest, arrival)):
                await self._bring(manifest, arrival)
        await arrival.over.wait()
        if arrival.error is not None:
            raise arrival.error

    def fetched(self, name: str) -> bool:
        """Whether a dataset's files are copies, so that there is something to fetch again."""
        manifest = self._wanted.get(name)
        return manifest is not None and not self._datasets.in_place(manifest)

    async def renew(self, name: str) -> None:
        """Remove copies of a dataset's files that are not what was recorded; the next query has them fetched again."""
        manifest = self._wanted.get(name)
        if manifest is not None:
            await self._datasets.drop_spoiled(manifest)
            self._known.pop((name, manifest.version), None)
            self.arrivals += 1

    async def _bring(self, manifest: "Manifest", arrival: _Arrival) -> None:
        try:
            self._keep(manifest, await self._datasets.local_files(manifest))
            self.arrivals += 1
        except LakehouseError as error:
            arrival.error = error
        except Exception:  # it is nobody's call, and must not end what it runs beside
            log.exception("sql.fetch_failed %s", manifest.name)
            arrival.error = LakehouseError(f"the files of dataset {manifest.name!r} could not be fetched.")
        finally:
            del self._coming[manifest.name, manifest.version]
            arrival.over.set()

    async def _read_in_place(self, manifests: "Sequence[Manifest]") -> dict[str, View]:
        made: dict[str, View] = {}
        for manifest in manifests:
            try:
                made[manifest.name] = self._keep(manifest, await self._datasets.local_files(manifest))
            except LakehouseError as error:
                # It is reported to whoever asks for this dataset; the others are not its concern.
                made[manifest.name] = {"name": manifest.name, "files": [], "problem": error.detail}
        return made

    async def _read_copies(self, manifests: "Sequence[Manifest]") -> dict[str, View]:
        made: dict[str, View] = {}
        for manifest, paths in zip(manifests, await self._datasets.copies(manifests), strict=True):
            if paths is not None:
                made[manifest.name] = self._keep(manifest, paths)
            elif (parts := self.streams.view(manifest)) is not None:
                made[manifest.name] = self._kept(manifest, parts)
            else:
                made[manifest.name] = {"name": manifest.name, "files": [], "absent": True}
        return made

    def _keep(self, manifest: "Manifest", paths: Sequence[Any]) -> View:
        files = [[str(path), f.sha256, f.role, f.lacks] for path, f in zip(paths, manifest.objects, strict=True)]
        return self._kept(manifest, {"files": files})

    def _kept(self, manifest: "Manifest", parts: View) -> View:
        view: View = {"name": manifest.name, **parts}
        if manifest.merged:
            view |= {"key": manifest.key, "columns": [column.name for column in manifest.columns]}
        self._known[manifest.name, manifest.version] = view
        return view
