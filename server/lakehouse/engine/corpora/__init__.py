"""Corpora: indexes that are built from datasets, SQL or folders, and built again when those change."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.corpora.built import Built, PartialFailure
from lakehouse.engine.corpora.embedding import Embedding
from lakehouse.engine.corpora.following import Follower, Following, Later
from lakehouse.engine.corpora.states import Checked, Defined, Listed, Standing
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.places import check_remote
from lakehouse.engine.progress import Progress, unheard
from lakehouse.errors import Busy, Conflict, Forbidden, InvalidInput, LakehouseError, NotFound, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.corpora.definitions import Definition, Unusable
    from lakehouse.engine.corpora.documents import Source
    from lakehouse.engine.corpora.orders import Order
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.matrix import Corpus
    from lakehouse.engine.sql import Sql
    from lakehouse.engine.vectors import IndexInfo, Vectors

_TOLD = {"model", "count", "embedded", "added", "updated", "removed"}  # what the journal says of a build


class Corpora:
    """Builds corpora. A corpus is a vector index that carries the facts of its last build."""

    def __init__(
        self,
        home: Path | None,
        datasets: "Datasets",
        embed: "Embedder",
        vectors: "Vectors",
        settings: config.Config,
        *,
        sql: "Callable[[], Sql]",
        folders: Callable[[], Sequence[Path]] = tuple,
        shipped: Callable[[], Path] | None = None,
        own: Callable[[], Sequence[Path]] = tuple,
        record: Record = unrecorded,
        later: Later = lambda work: False,
    ) -> None:
        """`folders` gives the projects whose `corpora` folders hold definitions, `sql` the query engine.

        Those of the project `shipped` are listed and checked once what they read is there, and stand behind others of
        their names. `own` gives the places that no confined caller may have read. Without a `home` nothing follows a
        dataset: for callers who see a part of the data.
        """
        self._datasets = datasets
        self._record = record
        self._embed = embed
        self._vectors = vectors
        self._settings = settings
        self._sql = sql
        self._folders = folders
        self._shipped = shipped
        self._own = own
        self._building: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._bound = home is None
        self.following = Following(home, datasets, self._refresh, later)

    async def build(
        self,
        name: str,
        *,
        index_name: str | None = None,
        dataset: str | None = None,
        as_of: int | str | None = None,
        sql: str | None = None,
        folder: str | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        text: Sequence[str] | None = None,
        id: str | None = None,
        metadata: Sequence[str] | None = None,
        chunker: str | None = None,
        id_prefix: str | None = None,
        model: str | None = None,
        drop_existing: bool = False,
        limit: int | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        follow: bool | None = None,
        confined: bool = False,
        remote: bool = False,
        wait: bool = False,
        progress: Progress | None = None,
    ) -> Built:
        """Make a corpus of a dataset's rows, of those of a SELECT, or of a folder's files, or bring it up to date.

        Without a source it is made as its definition says, else as it was made last; the other options may still be
        given. It is called `name`, or `index_name`.

        An item's id is the row's id or the file's path; the pieces of a document that is cut have `#` and a key of
        their own behind it; `id_prefix` stands before all of them, so that those of two corpora never meet. Metadata
        has `source`, `doc_id`, `chunk`, `text`, what the chunker tells of a piece, and the columns of `metadata`. Items
        whose document is gone are removed, unless `limit` reads only the beginning. With `follow`, each new version of
        the dataset refreshes it; None leaves that as it is.

        `confined` keeps `folder` within the allowed folders; for a `remote` caller there must be such, too. Searches
        go on meanwhile; with `drop_existing`, or another model, they meet the old corpus until the new one is whole.
        A refresh that is under way is waited for, with `wait` any other build, too.

        Raises InvalidInput, Forbidden, DatasetNotFound; Conflict when the corpus has another model or source; Busy
        when it is being built; PartialFailure, with the counts, when batches failed.
        """
        from lakehouse.engine.corpora.orders import Order, ordered

        if follow:
            self._check_unbound()
        source: dict[str, Any] = {"dataset": dataset, "as_of": as_of, "sql": sql, "folder": folder}
        source |= {"include": include, "exclude": exclude, "text": text, "id": id, "metadata": metadata}
        options: dict[str, Any] = {"chunker": chunker, "id_prefix": id_prefix, "model": model, "limit": limit}
        options |= {"batch_size": batch_size, "workers": workers, "follow": follow}
        index = index_name or name
        order: Order = await ordered(self._find, self._vectors, index, name, source, options)
        lock = self._building.setdefault(index, anyio.Lock())
        try:
            if wait or self.following.refreshing(index):
                await lock.acquire()
            else:
                lock.acquire_nowait()
        except anyio.WouldBlock:
            raise Busy(f"corpus {index} is being built.", fix="Wait until that build is done.") from None
        try:
            return await self._built(order, drop_existing, confined, remote, progress or unheard)
        finally:
            lock.release()

    async def _built(self, order: "Order", drop: bool, confined: bool, remote: bool, progress: Progress) -> Built:
        from lakehouse.engine.corpora.build import Build
        from lakehouse.engine.corpora.documents import Cut
        from lakehouse.engine.corpora.target import Target

        recipe, name, settings = order.recipe, order.index, self._settings.corpora
        folder = recipe.source.folder
        if remote and folder is not None:
            check_remote(folder, settings.folders, "corpora.folders")
        kind, largest, overlap = order.recipe.cut(settings)
        _check_kind(kind)
        source = await self._source(order, settings.folders if confined else None)
        try:
            info, replaces = await self._standing(name, drop)
            identity = self._identity(order, info)
            total = await source.prepare()
            if info is not None and order.renews(info, identity):
                info, replaces = None, True
            if info is not None:
                order.check(info, source.facts(), identity)
            notes = order.notes((kind, largest, overlap))
            built = await Build(
                name=name,
                source=source,
                model=identity,
                cut=Cut(kind, largest, overlap, recipe.id_prefix),
                batch_size=recipe.batch_size or settings.batch_size,
                workers=recipe.workers or (settings.workers if self._embed.remote else 1),
                notes=notes,
                embed=self._embed,
                vectors=self._vectors,
                target=Target(self._vectors, name, identity, info, replaces),
                whole=recipe.limit is None,
                total=total,
                progress=progress,
            ).run()
            if not self._bound:
                follower = Follower(recipe.source.dataset or "", source.facts().get("dataset_version", 0))
                await self.following.note(name, follower if recipe.follow else None)
            await self._record("build", "corpus", name, after=built.model_dump(include=_TOLD))
            return built
        except PartialFailure as error:
            if recipe.follow and not self._bound:
                await self.following.missed(name, recipe.source.dataset or "", error.detail)
            raise
        finally:
            await source.aclose()

    async def embedding(
        self, name: str, dataset: str, text: Sequence[str] | None, id: str | None, key: Sequence[str] | None
    ) -> Embedding:
        """A corpus to be built of a dataset that is about to be ingested; what can be known of it is checked before.

        The rows' ids are those of `id`, else of the key: `key`, or that of the dataset there is. Raises InvalidInput
        and Conflict.
        """
        from lakehouse.engine.corpora.orders import check_free

        self._check_unbound()
        if not text:
            raise InvalidInput("corpus, id: they are of no use without embed.", fix="Name the columns to embed.")
        keys = list(key or ())
        if not keys:
            with suppress(NotFound):
                keys = list((await self._datasets.get(dataset)).key)
        if id is None and len(keys) != 1:
            raise InvalidInput(
                f"id: {'no column is said to name' if not keys else 'the key has several columns; one has to name'} "
                "each row, and its place would change with each version.",
                fix="Give id, or a key of one column.",
            )
        await check_free(self._vectors, name, dataset)
        return Embedding(name, dataset, list(text), id or keys[0])

    async def embed(self, embedding: Embedding, progress: Progress) -> Built:
        """Build it, to follow its dataset from now on.

        Raises what `build` raises, saying that the dataset itself is stored.
        """
        try:
            return await self.build(
                embedding.name,
                dataset=embedding.dataset,
                text=embedding.text,
                id=embedding.id,
                follow=True,
                wait=True,
                progress=embedding.after(progress),
            )
        except LakehouseError as error:
            error.detail = f"dataset {embedding.dataset!r} is stored, its corpus is not whole: {error.detail}"
            raise

    async def standings(self, corpora: "Sequence[Corpus]") -> list[Listed]:
        """Indexes as they are listed, each corpus with how it stands to its definition and its dataset."""
        from lakehouse.engine.corpora.survey import standings

        found, _ = await anyio.to_thread.run_sync(self._find)
        return await standings(corpora, found, self.following, self._datasets, self._settings.corpora)

    async def defined(self) -> "tuple[list[Defined], list[str]]":
        """The corpora that files define and nobody has built, and what is wrong with other files."""
        from lakehouse.engine.corpora.survey import unbuilt

        found, unusable = await anyio.to_thread.run_sync(self._find)
        built = set(await self._vectors.names())
        wrong = [f"{each.path.name}: {each.error.detail}" for each in unusable]
        return await unbuilt(found, built, self._datasets), wrong

    async def check(self, name: str | None = None) -> list[Checked]:
        """Read every definition, or that of a name, and try whether its source, columns and model are there.

        Nothing is embedded. Raises InvalidInput when there is no such definition.
        """
        from lakehouse.engine.corpora.orders import Order
        from lakehouse.engine.corpora.survey import checked

        async def attempt(definition: "Definition") -> None:
            await self._try(Order(definition.recipe.name, definition.recipe, definition.recipe.name))

        return await checked(*await anyio.to_thread.run_sync(self._find), name, attempt, self._datasets)

    async def _try(self, order: "Order") -> None:
        """Raises what keeps a definition from being built."""
        _check_kind(order.recipe.chunker.kind)
        self._embed.effective_model(order.recipe.model)
        if order.recipe.source.sql is not None:
            await self._sql().explain(order.recipe.source.sql)
        source = await self._source(order, None)
        if order.recipe.source.folder is not None:
            await source.prepare()

    def _find(self) -> "tuple[list[Definition], list[Unusable]]":
        from lakehouse.engine.corpora.definitions import find

        return find(self._folders(), self._shipped() if self._shipped else None)

    def _check_unbound(self) -> None:
        if self._bound:
            raise Forbidden(
                "follow, embed: what follows a dataset is about everybody's data, and a profile sees a part.",
                fix="Build the corpus after each version, or use a caller that is bound to no profile.",
            )

    async def _refresh(self, name: str) -> None:
        """Build a corpus again as it was made last, from its dataset's newest version."""
        from lakehouse.engine.corpora.orders import ordered

        async with self._building.setdefault(name, anyio.Lock()):
            info, _ = await self._standing(name, False)
            if info is None or not (info.builder or {}).get("follows"):
                await self.following.note(name, None)  # it was deleted, or made anew by somebody else
                return
            order = await ordered(self._find, self._vectors, name, name, {}, {}, again=True)
            await self._built(order, False, False, False, unheard)

    async def _source(self, order: "Order", roots: Sequence[Path] | None) -> "Source":
        from lakehouse.engine.corpora.folder import Folder
        from lakehouse.engine.corpora.query import Query
        from lakehouse.engine.corpora.rows import Rows

        source, limit = order.recipe.source, order.recipe.limit
        if source.folder is not None:
            own = () if roots is None else self._own()
            return Folder(source.folder, roots, limit, source.include, source.exclude, own)
        if source.sql is not None:
            limits = self._settings.sql.export_timeout_secs, self._settings.export.max_bytes
            roles = source.text, source.id, source.metadata
            return Query(order.index, self._sql, source.sql, roles, limits, source.as_of, limit)
        assert source.dataset is not None
        get, at = self._datasets.get, self._datasets.at
        manifest = await (get(source.dataset) if source.as_of is None else at(source.dataset, source.as_of))
        id = source.id or (manifest.key[0] if len(manifest.key) == 1 else None)
        if not source.text or id is None:
            columns = ", ".join(column.name for column in manifest.columns)
            raise InvalidInput(
                "text, id: a dataset needs at least one text column and the id column.", fix=f"There are: {columns}."
            )
        return Rows(self._datasets, manifest, source.text, id, source.metadata, limit)

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

    def _identity(self, order: "Order", info: "IndexInfo | None") -> str:
        """The model to embed with: what is asked for, else what is pinned where a corpus is made again."""
        pinned = info.model if info is not None and order.again and order.recipe.model is None else None
        if pinned is None:
            return self._embed.effective_model(order.recipe.model)
        try:
            if self._embed.effective_model(pinned) == pinned:
                return pinned
        except InvalidInput:
            pass
        raise Conflict(
            f"corpus {order.index} was embedded with {pinned}, which embed.provider does not offer.",
            fix="Set embed.provider back, or embed it anew: build it with drop_existing=true.",
        )


def _check_kind(kind: str) -> None:
    from lakehouse.engine.chunks import KINDS

    if kind not in KINDS:
        raise InvalidInput(
            f"chunker: there is no {kind[:80]!r}.", fix=did_you_mean(kind, KINDS, f"There are: {', '.join(KINDS)}.")
        )


__all__ = ["Built", "Checked", "Corpora", "Defined", "Listed", "PartialFailure", "Standing"]
