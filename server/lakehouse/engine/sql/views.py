"""The datasets as query processes take them: where their files are, or that these have to be fetched first."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from lakehouse.engine.sql.streams import Streams
from lakehouse.errors import LakehouseError, Unavailable

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest

log = logging.getLogger("lakehouse")

View = dict[str, Any]
Version = tuple[str, str, int]
_PAST = 64  # older versions whose files are known to be here
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]


class _Arrival:
    """Files on their way, and how that ended."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.view: View | None = None
        self.error: LakehouseError | None = None


class Views:
    """One view a dataset. Files of a bucket that is no folder are fetched when a query names their dataset.

    `later` starts work that outlives the call it is started in; it says whether it could.
    """

    def __init__(self, datasets: "Datasets", later: Later) -> None:
        self.arrivals = 0  # grows when files that were absent have come
        self._datasets, self._later = datasets, later
        self.streams = Streams(datasets)
        self._newest: set[Version] = set()
        self._known: dict[Version, View] = {}
        self._past: OrderedDict[Version, View] = OrderedDict()
        self._coming: dict[Version, _Arrival] = {}

    async def of(self, manifests: "Sequence[Manifest]") -> list[View]:
        """The views of these versions, in order; the newest ones, which are looked at for every query."""
        fresh = [m for m in manifests if _version(m) not in self._known]
        here = [m for m in fresh if self._datasets.in_place(m)]
        made = await self._read_in_place(here)
        made |= await self._read_copies([m for m in fresh if not self._datasets.in_place(m)])
        views = [self._known.get(_version(m)) or made[m.name] for m in manifests]
        self._newest = {_version(m) for m in manifests}
        self._known = {version: view for version, view in self._known.items() if version in self._newest}
        return views

    async def at(self, manifest: "Manifest") -> View:
        """The view of any version, its files fetched where they have to be. Raises as `fetch` does."""
        version = _version(manifest)
        view = self._known.get(version) or self._past.get(version)
        if view is None:
            if self._datasets.in_place(manifest):
                view = _view(manifest, await self._datasets.local_files(manifest))
            elif (parts := self._parts(manifest)) is not None:
                view = parts
            else:
                view = await self._arrival(manifest)
        self._past[version] = view
        self._past.move_to_end(version)
        while len(self._past) > _PAST:
            self._past.popitem(last=False)
        return view

    async def fetch(self, manifest: "Manifest") -> None:
        """Wait until a version's files are here. Who gives up waiting does not end it for whoever asks next.

        Raises what kept them from coming: Upstream, DatasetDamaged.
        """
        if _version(manifest) not in self._known:
            await self._arrival(manifest)

    def fetched(self, manifest: "Manifest") -> bool:
        """Whether a version's files are copies, so that there is something to fetch again."""
        return not self._datasets.in_place(manifest)

    async def renew(self, manifest: "Manifest") -> None:
        """Remove copies of a version's files that are not what was recorded; the next query has them fetched again."""
        await self._datasets.drop_spoiled(manifest)
        self._known.pop(_version(manifest), None)
        self._past.pop(_version(manifest), None)
        self.arrivals += 1

    async def _arrival(self, manifest: "Manifest") -> View:
        version = _version(manifest)
        arrival = self._coming.get(version)
        if arrival is None:
            arrival = self._coming[version] = _Arrival()
            if not self._later(partial(self._bring, manifest, arrival)):
                await self._bring(manifest, arrival)
        await arrival.over.wait()
        if arrival.error is not None:
            raise arrival.error
        assert arrival.view is not None
        return arrival.view

    async def _bring(self, manifest: "Manifest", arrival: _Arrival) -> None:
        try:
            arrival.view = self._keep(manifest, await self._datasets.local_files(manifest))
            self.arrivals += _version(manifest) in self._newest
        except LakehouseError as error:
            arrival.error = error
        except Exception:  # it is nobody's call, and must not end what it runs beside
            log.exception("sql.fetch_failed %s", manifest.name)
            arrival.error = LakehouseError(f"the files of dataset {manifest.name!r} could not be fetched.")
        finally:
            del self._coming[_version(manifest)]
            if arrival.view is None and arrival.error is None:  # cancelled: whoever waits beside asks again
                arrival.error = Unavailable(f"the files of dataset {manifest.name!r} did not come.", fix="Ask again.")
            arrival.over.set()

    async def _read_in_place(self, manifests: "Sequence[Manifest]") -> dict[str, View]:
        made: dict[str, View] = {}
        for manifest in manifests:
            try:
                made[manifest.name] = self._keep(manifest, await self._datasets.local_files(manifest))
            except LakehouseError as error:
                # It is reported to whoever asks for this dataset; the others are not its concern.
                made[manifest.name] = _view(manifest, ()) | {"problem": error.detail}
        return made

    async def _read_copies(self, manifests: "Sequence[Manifest]") -> dict[str, View]:
        made: dict[str, View] = {}
        for manifest, paths in zip(manifests, await self._datasets.copies(manifests), strict=True):
            if paths is not None:
                made[manifest.name] = self._keep(manifest, paths)
            elif (parts := self._parts(manifest)) is not None:
                made[manifest.name] = self._known[_version(manifest)] = parts
            else:
                made[manifest.name] = _view(manifest, ()) | {"absent": True}
        return made

    def _parts(self, manifest: "Manifest") -> View | None:
        """The view of files whose parts are read where they are; None where they are copied."""
        places = self.streams.places(manifest)
        return _view(manifest, self.streams.names(manifest)) | {"streams": places} if places else None

    def _keep(self, manifest: "Manifest", paths: Sequence[Any]) -> View:
        view = self._known[_version(manifest)] = _view(manifest, paths)
        return view


def _version(manifest: "Manifest") -> Version:
    return manifest.bucket, manifest.name, manifest.version


def _view(manifest: "Manifest", paths: Sequence[Any]) -> View:
    files = [[str(path), f.sha256, f.role, f.lacks] for path, f in zip(paths, manifest.objects, strict=False)]
    view: View = {
        "name": manifest.name,
        "dataset": manifest.name,
        "version": manifest.version,
        "files": files,
    }
    if manifest.merged:
        view |= {"key": manifest.key, "columns": [column.name for column in manifest.columns]}
    return view
