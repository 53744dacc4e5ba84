"""The parts of an open lake, wired once: each is built when it is first used."""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lakehouse import config
from lakehouse.catalogue import Catalogue
from lakehouse.engine.places import shut
from lakehouse.errors import Busy, Forbidden
from lakehouse.lake.whole import Whole

if TYPE_CHECKING:
    from lakehouse.engine.corpora import Corpora
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.export import Exporter
    from lakehouse.engine.ingest import Ingester
    from lakehouse.engine.journal import Journal
    from lakehouse.engine.matrix import Matrix
    from lakehouse.engine.observer import Observer
    from lakehouse.engine.profiles import Profile, Profiles
    from lakehouse.engine.queries import Queries
    from lakehouse.engine.redact import Redactor
    from lakehouse.engine.results import Results
    from lakehouse.engine.sql import Sql
    from lakehouse.engine.storage import Storage
    from lakehouse.engine.vectors import Vectors

T = TypeVar("T")
MAX_SCOPES = 8  # profiles whose query processes are kept for the next call


@dataclass
class Data:
    """The parts that read and write datasets, for readers of one profile: nothing else is visible to them."""

    storage: "Storage"
    datasets: "Datasets"
    ingest: "Ingester"
    results: "Results"
    sql: "Sql"
    exports: "Exporter"
    queries: "Queries"
    calls: int = 0  # that run now


class Parts:
    """What capabilities work on. Only the owner of the data directory has them; elsewhere, reaching for one is Busy.

    Every part is either one that a profile divides (see Data) or Whole: a test sees to it.
    """

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.config = settings.config
        self.attached_to = ""  # the process that owns the data directory, where that is another
        self.built: dict[Any, Any] = {}
        self._closing = AsyncExitStack()
        self._scoped: dict[Profile, Data] = {}
        self._retired: list[Sql] = []

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every capability by name. Loading it reads the plugin files; `load` does that in a worker thread."""
        return Catalogue(self.config.plugins.folders, self.home)

    @property
    def storage(self) -> "Storage":
        """Object storage."""
        return self._data.storage

    @property
    def datasets(self) -> "Datasets":
        """Versioned datasets: those that whoever makes the running call may see."""
        return self._data.datasets

    @property
    def ingest(self) -> "Ingester":
        """Files to datasets."""
        return self._data.ingest

    @property
    def results(self) -> "Results":
        """Results too large for one answer."""
        return self._data.results

    @property
    def sql(self) -> "Sql":
        """Questions in SQL."""
        return self._data.sql

    @property
    def exports(self) -> "Exporter":
        """Results and queries as files."""
        return self._data.exports

    @property
    def queries(self) -> "Queries":
        """Verified queries: those of whoever makes the running call."""
        return self._data.queries

    @cached_property
    def embed(self) -> "Embedder":
        """Texts to vectors."""
        from lakehouse.engine.embed import Embedder

        return self._owned(Embedder(self.home, self.config.embed))

    @Whole
    def vectors(self) -> "Vectors":
        """Vector indexes."""
        from lakehouse.engine.vectors import Vectors

        return self._owned(Vectors(self.home, self._everything.storage, self.config.vectors, self._recorded))

    @Whole
    def corpora(self) -> "Corpora":
        """Datasets and folders made searchable."""
        from lakehouse.engine.corpora import Corpora

        vectors = Parts.vectors.of(self)
        return self._owned(Corpora(self._everything.datasets, self.embed, vectors, self.config.corpora, self._recorded))

    @Whole
    def matrix(self) -> "Matrix":
        """Search over corpora."""
        from lakehouse.engine.matrix import Matrix

        return self._owned(Matrix(self.embed, Parts.vectors.of(self)))

    @Whole
    def observer(self) -> "Observer":
        """The record of calls."""
        from lakehouse.engine.observer import Observer

        return self._owned(Observer(self.home, self.config.observer, self._redactor))

    @Whole
    def journal(self) -> "Journal":
        """Who changed what."""
        from lakehouse.engine.journal import Journal

        journal = Journal(self.home, lambda: self._everything.storage.bucket, self._redactor, self._later)
        return self._owned(journal)

    @Whole
    def profiles(self) -> "Profiles":
        """What readers can be bound to."""
        from lakehouse.engine.profiles import Profiles

        return self._owned(Profiles(self._everything.storage, self._recorded))

    @property
    def profile(self) -> "Profile | None":
        """What the running call is bound to; None: nothing, it sees everything."""
        return None

    def check_unbound(self) -> None:
        """Raises Forbidden within a call that is bound to a profile: what it asks for is about everybody's data."""
        if self.profile is not None:
            raise Forbidden(
                f"profile {self.profile.name!r} does not reach this: it is about everybody's data.",
                fix="Use query_sql and the datasets of the profile, or a caller that is bound to none.",
            )

    @property
    def _data(self) -> Data:
        profile = self.profile
        return self._everything if profile is None else self._data_of(profile)

    @property
    def _everything(self) -> Data:
        return _EVERYTHING.of(self)

    def _data_of(self, profile: "Profile") -> Data:
        found = self._scoped.pop(profile, None)
        if found is None:
            found = self._divided(profile)
        self._scoped[profile] = found  # the one that was used last stands last
        return found

    def _all(self) -> Data:
        from lakehouse.engine.datasets import Datasets
        from lakehouse.engine.results import Results
        from lakehouse.engine.storage import Storage

        storage = self._owned(Storage(self.home, self.config.storage, self._redactor, self._recorded))
        datasets = self._owned(Datasets(self.home, storage, record=self._recorded))
        results = self._owned(Results(self.home, self.config.results))
        self._closing.push_async_callback(self._end_scopes)
        made = self._over(storage, storage, datasets, results, self.home)
        self._owned(made.sql)
        self._owned(made.exports)
        return made

    def _divided(self, profile: "Profile") -> Data:
        from lakehouse.engine.scope import Scope

        whole = self._everything
        datasets = whole.datasets.within(profile)  # first: it says when the bucket is not there
        storage = Scope(whole.storage, profile, self.home)
        # Queries that others saved tell of their data; those of the operator's folders are shown as far as they may be.
        home = self.home / "profiles" / profile.digest
        return self._over(storage, whole.storage, datasets, whole.results.within(profile.digest), home)

    def _over(
        self, storage: "Storage", scratch: "Storage", datasets: "Datasets", results: "Results", home: Path
    ) -> Data:
        """What works over datasets. Its query processes are its own: what one profile's have open, no other reaches."""
        from lakehouse.engine.export import Exporter
        from lakehouse.engine.ingest import Ingester
        from lakehouse.engine.queries import Queries
        from lakehouse.engine.sql import Sql

        limits = self.config.sql
        ingest = Ingester(storage, datasets, self.config.ingest, self._later)
        sql = Sql(scratch, datasets, results, limits, self._later)
        exports = Exporter(storage.scratch_root, results, self.config.export, limits.export_timeout_secs)
        folders, seconds = self.config.plugins.folders, limits.timeout_secs
        queries = Queries(home, folders, datasets, sql, Parts.journal.of(self), seconds)
        return Data(storage, datasets, ingest, results, sql, exports, queries)

    @contextmanager
    def _calling(self, profile: "Profile | None") -> Iterator[None]:
        """A call within a profile: its query processes are not ended meanwhile."""
        if profile is None:
            yield
            return
        data = self._data_of(profile)
        data.calls += 1
        token = shut.set(data.storage.shut)
        try:
            yield
        finally:
            shut.reset(token)
            data.calls -= 1
            idle = [one for one, data in self._scoped.items() if not data.calls]
            # What a profile was before it was changed is asked for by nobody any more.
            names = [one.name for one in self._scoped]
            past = [one for number, one in enumerate(self._scoped) if one.name in names[number + 1 :]]
            for one in [*past, *idle[: max(0, len(self._scoped) - MAX_SCOPES)]]:
                if one in idle and one in self._scoped:
                    self._retired.append(self._scoped.pop(one).sql)
            if self._retired:
                self._later(self._end_retired)

    async def _end_retired(self) -> None:
        for sql in [*self._retired]:
            await sql.aclose()
            if sql in self._retired:  # another task was as far
                self._retired.remove(sql)

    async def _end_scopes(self) -> None:
        self._retired += [data.sql for data in self._scoped.values()]
        self._scoped.clear()
        await self._end_retired()

    async def _recorded(
        self,
        action: str,
        entity_type: str,
        entity_id: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        await Parts.journal.of(self).record(action, entity_type, entity_id, before=before, after=after)

    @cached_property
    def _redactor(self) -> "Redactor":
        from lakehouse.engine.redact import redactor_for

        return redactor_for(self.config)

    def _later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start work that ends with the lake at the latest; False where nothing runs beside the calls."""
        return False

    def _owned(self, part: T) -> T:
        if self.attached_to:
            raise Busy(
                f"this lake is attached to {self.attached_to}, which owns the data directory.",
                fix="Use lake.call(...), which runs there.",
            )
        close = getattr(part, "aclose", None)
        if close is not None:
            self._closing.push_async_callback(close)
        return part


_EVERYTHING = Whole[Data](lambda lake: lake._all())
