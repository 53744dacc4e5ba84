"""The parts of an open lake, wired once: each is built when it is first used."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from lakehouse import config
from lakehouse.catalogue import Catalogue
from lakehouse.errors import Busy

if TYPE_CHECKING:
    from lakehouse.engine.corpora import Corpora
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.ingest import Ingester
    from lakehouse.engine.matrix import Matrix
    from lakehouse.engine.observer import Observer
    from lakehouse.engine.redact import Redactor
    from lakehouse.engine.results import Results
    from lakehouse.engine.sql import Sql
    from lakehouse.engine.storage import Storage
    from lakehouse.engine.vectors import Vectors

T = TypeVar("T")


class Parts:
    """What capabilities work on. Only the owner of the data directory has them; elsewhere, reaching for one is Busy."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.config = settings.config
        self.attached_to = ""  # the process that owns the data directory, where that is another
        self._closing = AsyncExitStack()

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every capability by name. Loading it reads the plugin files; `load` does that in a worker thread."""
        return Catalogue(self.config.plugins.folders)

    @cached_property
    def storage(self) -> "Storage":
        """Object storage."""
        from lakehouse.engine.storage import Storage

        return self._owned(Storage(self.home, self.config.storage))

    @cached_property
    def datasets(self) -> "Datasets":
        """Versioned datasets."""
        from lakehouse.engine.datasets import Datasets

        return self._owned(Datasets(self.home, self.storage))

    @cached_property
    def ingest(self) -> "Ingester":
        """Files to datasets."""
        from lakehouse.engine.ingest import Ingester

        return self._owned(Ingester(self.storage, self.datasets, self.config.ingest))

    @cached_property
    def results(self) -> "Results":
        """Results too large for one answer."""
        from lakehouse.engine.results import Results

        return self._owned(Results(self.home, self.config.results))

    @cached_property
    def sql(self) -> "Sql":
        """Questions in SQL."""
        from lakehouse.engine.sql import Sql

        return self._owned(Sql(self.storage, self.datasets, self.results, self.config.sql, self._later))

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

        return self._owned(Corpora(self.datasets, self.embed, self.vectors, self.config.corpora))

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
