"""Corpora: indexes that are built from a dataset or a folder, and built again when that changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import anyio

from lakehouse import config
from lakehouse.engine.corpora.built import Built, PartialFailure
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.places import check_remote
from lakehouse.engine.progress import Progress, unheard
from lakehouse.errors import Busy, Conflict, InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.corpora.documents import Source
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.vectors import IndexInfo, Vectors

MAX_BATCH = 1024
_TOLD = {"model", "count", "embedded", "added", "updated", "removed"}  # what the journal says of a build


class Corpora:
    """Builds corpora. A corpus is a vector index that carries the facts of its last build."""

    def __init__(
        self,
        datasets: "Datasets",
        embed: "Embedder",
        vectors: "Vectors",
        settings: config.Corpora,
        record: Record = unrecorded,
    ) -> None:
        self._datasets = datasets
        self._record = record
        self._embed = embed
        self._vectors = vectors
        self._settings = settings
        self._building: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def build(
        self,
        name: str,
        *,
        dataset: str | None = None,
        as_of: int | str | None = None,
        folder: str | None = None,
        text: Sequence[str] | None = None,
        id: str | None = None,
        metadata: Sequence[str] | None = None,
        id_prefix: str = "",
        model: str | None = None,
        drop_existing: bool = False,
        limit: int | None = None,
        batch_size: int | None = None,
        confined: bool = False,
        remote: bool = False,
        progress: Progress | None = None,
    ) -> Built:
        """Make a corpus of a dataset's rows, now or `as_of` a version, or a folder's files, or bring it up to date.

        An item's id is the row's id or the file's path; a long document's chunks are `id#0`, `id#1`, …; `id_prefix`
        stands before all of them, so that those of two corpora never meet. Metadata has
        `source`, `doc_id`, `chunk`, `text` and the columns of `metadata`. Items whose document is gone are removed,
        unless `limit` reads only the beginning. `confined` keeps `folder` within the allowed folders; for a `remote`
        caller there must be such, too. Searches go on meanwhile; with `drop_existing` they meet the old corpus until
        the new one is whole and takes its place.

        Raises InvalidInput, Forbidden, DatasetNotFound; Conflict when the corpus has another model or source; Busy
        when it is being built; PartialFailure, with the counts, when batches failed.
        """
        from lakehouse.engine.corpora.build import Build

        if limit is not None and limit < 1:
            raise InvalidInput("limit: it is below 1.", fix="Leave it out to read everything.")
        if batch_size is not None and not 1 <= batch_size <= MAX_BATCH:
            raise InvalidInput(f"batch_size: it is not between 1 and {MAX_BATCH}.", fix="Leave it out.")
        if remote and folder is not None:
            check_remote(folder, self._settings.folders, "corpora.folders")
        source = await self._source(dataset, as_of, folder, text, id, metadata, limit, confined)
        identity = self._embed.effective_model(model)
        lock = self._building.setdefault(name, anyio.Lock())
        try:
            lock.acquire_nowait()
        except anyio.WouldBlock:
            raise Busy(f"corpus {name} is being built.", fix="Wait until that build is done.") from None
        try:
            info, replaces = await self._standing(name, drop_existing)
            total = await source.prepare()
            if info is not None:
                _same(info, source, identity)
            built = await Build(
                name=name,
                source=source,
                model=identity,
                settings=self._settings,
                id_prefix=id_prefix,
                batch_size=batch_size or self._settings.batch_size,
                embed=self._embed,
                vectors=self._vectors,
                info=info,
                replaces=replaces,
                whole=limit is None,
                total=total,
                progress=progress or unheard,
            ).run()
            await self._record("build", "corpus", name, after=built.model_dump(include=_TOLD))
            return built
        finally:
            lock.release()

    async def _source(
        self,
        dataset: str | None,
        as_of: int | str | None,
        folder: str | None,
        text: Sequence[str] | None,
        id: str | None,
        metadata: Sequence[str] | None,
        limit: int | None,
        confined: bool,
    ) -> "Source":
        from lakehouse.engine.corpora.folder import Folder
        from lakehouse.engine.corpora.rows import Rows

        if (dataset is None) == (folder is None):
            raise InvalidInput("dataset, folder: exactly one of the two is needed.", fix="Give a dataset or a folder.")
        if folder is not None:
            if text or id or metadata or as_of is not None:
                raise InvalidInput(
                    "text, id, metadata, as_of: a folder has no columns and no versions.", fix="Leave them out."
                )
            roots = self._settings.folders if confined else None
            return Folder(folder, roots, limit)
        assert dataset is not None
        manifest = await (self._datasets.get(dataset) if as_of is None else self._datasets.at(dataset, as_of))
        if not text or not id:
            columns = ", ".join(column.name for column in manifest.columns)
            raise InvalidInput(
                "text, id: a dataset needs at least one text column and the id column.", fix=f"There are: {columns}."
            )
        return Rows(self._datasets, manifest, text, id, metadata, limit)

    async def _standing(self, name: str, drop: bool) -> "tuple[IndexInfo | None, bool]":
        """The index to go on with, if any, and whether there is one to be replaced."""
        from lakehouse.engine.vectors import IndexDamaged, IndexNotFound

        try:
            info = await self._vectors.get(name)
        except IndexNotFound:
            return None, False
        except IndexDamaged:
            if not drop:
                raise
            return None, True
        return (None, True) if drop else (info, False)


def _same(info: "IndexInfo", source: "Source", model: str) -> None:
    """Raises Conflict when an index is not an earlier state of what is about to be built."""
    if info.builder is None:
        raise Conflict(f"{info.name} is an index, not a corpus.", fix="Choose another name for the corpus.")
    if info.model != model:
        raise Conflict(
            f"corpus {info.name} was embedded with {info.model}; now it would be {model}.",
            fix="Build it with drop_existing=true, or set embed.provider and embed.model back.",
        )
    kind = str(info.builder.get("source"))
    then, now = (info.builder.get("source"), info.builder.get(kind)), source.facts()
    if then != (now["source"], now.get(kind)):
        raise Conflict(
            f"corpus {info.name} was built from the {kind} {info.builder.get(kind)}.",
            fix="Choose another name, or build it with drop_existing=true.",
        )


__all__ = ["Built", "Corpora", "PartialFailure"]
