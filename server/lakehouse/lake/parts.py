"""The parts of an open lake, wired once: each is built when it is first used."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from lakehouse import config
from lakehouse.catalogue import Catalogue
from lakehouse.errors import Busy

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


@dataclass
class Data:
    """The parts that read and write datasets, for readers of one profile: nothing else is visible to them."""

    datasets: "Datasets"
    ingest: "Ingester"
    sql: "Sql"


class Parts:
    """What capabilities work on. Only the owner of the data directory has them; elsewhere, reaching for one is Busy."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.config = settings.config
        self.attached_to = ""  # the process that owns the data directory, where that is another
        self._closing = AsyncExitStack()
        self._scoped: dict[Profile | None, Data] = {}

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every capability by name. Loading it reads the plugin files; `load` does that in a worker thread."""
        return Catalogue(self.config.plugins.folders, self.home)

    @cached_property
    def storage(self) -> "Storage":
        """Object storage."""
        from lakehouse.engine.storage import Storage

        return self._owned(Storage(self.home, self.config.storage, self._redactor))

    @property
    def datasets(self) -> "Datasets":
        """Versioned datasets: those that whoever makes the running call may see."""
        return self._data.datasets

    @property
    def ingest(self) -> "Ingester":
        """Files to datasets."""
        return self._data.ingest

    @cached_property
    def results(self) -> "Results":
        """Results too large for one answer."""
        from lakehouse.engine.results import Results

        return self._owned(Results(self.home, self.config.results))

    @property
    def sql(self) -> "Sql":
        """Questions in SQL."""
        return self._data.sql

    @cached_property
    def exports(self) -> "Exporter":
        """Results and queries as files."""
        from lakehouse.engine.export import Exporter

        seconds = self.config.sql.export_timeout_secs
        return self._owned(Exporter(self.storage.scratch_root, self.results, self.config.export, seconds))

    @property
    def queries(self) -> "Queries":
        """Verified queries, over the datasets that whoever makes the running call may see."""
        from lakehouse.engine.queries import Queries

        folders, seconds = self.config.plugins.folders, self.config.sql.timeout_secs
        return Queries(self.home, folders, self.datasets, self.sql, self.journal, seconds)

    @cached_property
    def journal(self) -> "Journal":
        """Who changed what."""
        from lakehouse.engine.journal import Journal

        return self._owned(Journal(self.home))

    @cached_property
    def profiles(self) -> "Profiles":
        """What readers can be bound to."""
        from lakehouse.engine.profiles import Profiles

        return self._owned(Profiles(self.storage))

    @property
    def profile(self) -> "Profile | None":
        """What the running call is bound to; None: nothing, it sees everything."""
        return None

    @property
    def _data(self) -> Data:
        profile = self.profile
        found = self._scoped.get(profile)
        if found is None:
            found = self._scoped[profile] = self._data_of(profile)
        return found

    def _data_of(self, profile: "Profile | None") -> Data:
        from lakehouse.engine.datasets import Datasets
        from lakehouse.engine.ingest import Ingester
        from lakehouse.engine.sql import Sql

        if profile is None:
            datasets = self._owned(Datasets(self.home, self.storage))
        else:
            datasets = self._scoped_all.datasets.within(profile)
        ingest = Ingester(self.storage, datasets, self.config.ingest, self._later)
        # Query processes of its own: what one profile's instance has open, no other can reach.
        sql = self._owned(Sql(self.storage, datasets, self.results, self.config.sql, self._later))
        return Data(datasets, ingest, sql)

    @property
    def _scoped_all(self) -> Data:
        found = self._scoped.get(None)
        if found is None:
            found = self._scoped[None] = self._data_of(None)
        return found

    @cached_property
    def embed(self) -> "Embedder":
        """Texts to vectors."""
        from lakehouse.engine.embed import Embedder

        return self._owned(Embedder(self.home, self.config.embed))

    @cached_property
    def vectors(self) -> "Vectors":
        """Vector indexes."""
        from lakehouse.engine.vectors import Vectors

        return self._owned(Vectors(self.home, self.storage, self.config.vectors))

    @cached_property
    def corpora(self) -> "Corpora":
        """Datasets and folders made searchable."""
        from lakehouse.engine.corpora import Corpora

        return self._owned(Corpora(self._scoped_all.datasets, self.embed, self.vectors, self.config.corpora))

    @cached_property
    def matrix(self) -> "Matrix":
        """Search over corpora."""
        from lakehouse.engine.matrix import Matrix

        return self._owned(Matrix(self.embed, self.vectors))

    @cached_property
    def observer(self) -> "Observer":
        """The record of calls."""
        from lakehouse.engine.observer import Observer

        return self._owned(Observer(self.home, self.config.observer, self._redactor))

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
