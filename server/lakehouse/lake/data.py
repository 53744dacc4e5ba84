"""The parts that read and write datasets and indexes, once for everybody and once for each profile."""

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lakehouse.sources import shipped, workflow_folders

if TYPE_CHECKING:
    from lakehouse.engine.corpora import Corpora
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.export import Exporter
    from lakehouse.engine.ingest import Ingester
    from lakehouse.engine.ingest.plan import Planner
    from lakehouse.engine.matrix import Matrix
    from lakehouse.engine.playbook import Playbook
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.queries import Queries
    from lakehouse.engine.results import Results
    from lakehouse.engine.sql import Sql
    from lakehouse.engine.storage import Storage
    from lakehouse.engine.vectors import Vectors
    from lakehouse.engine.workflows import Workflows
    from lakehouse.lake.door import Lakehouse
    from lakehouse.lake.parts import Parts


class Data:
    """What callers of one profile work on: nothing else is visible to them. Without a profile it is everything."""

    def __init__(self, lake: "Parts", profile: "Profile | None" = None) -> None:
        self.calls = 0  # that run now
        self._lake = lake
        self._profile = profile
        if profile is not None:
            _ = self.datasets  # it says when the bucket is not there

    @cached_property
    def storage(self) -> "Storage":
        """Object storage."""
        lake = self._lake
        if self._profile is not None:
            from lakehouse.engine.scope import Scope

            return Scope(lake.everything.storage, self._profile)
        from lakehouse.engine.storage import Storage

        return lake.owned(Storage(lake.home, lake.config.storage, lake.redactor, lake.record))

    @cached_property
    def datasets(self) -> "Datasets":
        """Versioned datasets."""
        lake = self._lake
        if self._profile is not None:
            return lake.everything.datasets.within(self._profile)
        from lakehouse.engine.datasets import Datasets

        made = lake.owned(Datasets(lake.home, self.storage, record=lake.record))
        made.gate, made.after = lake.expectations, lake.committed
        return made

    @cached_property
    def results(self) -> "Results":
        """Results too large for one answer."""
        lake = self._lake
        if self._profile is not None:
            return lake.everything.results.within(self._profile.digest)
        from lakehouse.engine.results import Results

        return lake.owned(Results(lake.home, lake.config.results))

    @cached_property
    def ingest(self) -> "Ingester":
        """Files to datasets."""
        from lakehouse.engine.ingest import Ingester

        lake = self._lake
        profiled = partial(lake.profiler.early, self.datasets, later=lake.later)
        return Ingester(self.storage, self.datasets, lake.config.ingest, lake.later, profiled)

    @cached_property
    def planner(self) -> "Planner":
        """What ingests would do."""
        from lakehouse.engine.ingest.plan import Planner

        return Planner(self.storage, self.datasets, self._lake.config.ingest)

    @cached_property
    def sql(self) -> "Sql":
        """Questions in SQL. Its query processes are its own: what one profile's have open, no other reaches."""
        from lakehouse.engine.sql import Sql

        lake = self._lake
        made = Sql(
            lake.everything.storage,
            self.datasets,
            self.results,
            lake.config.sql,
            lake.later,
            processes=lake.processes,
            history=lake.history,
        )
        return lake.owned(made) if self._profile is None else made

    @cached_property
    def exports(self) -> "Exporter":
        """Results and queries as files."""
        from lakehouse.engine.export import Exporter

        lake = self._lake
        seconds = lake.config.sql.export_timeout_secs
        made = Exporter(self.storage, self.results, lake.config.export, seconds)
        return lake.owned(made) if self._profile is None else made

    @cached_property
    def queries(self) -> "Queries":
        """Verified queries. Those that others saved tell of their data: a profile has its own, and the operator's."""
        from lakehouse.engine.queries import Queries

        lake, profile = self._lake, self._profile
        home = lake.home if profile is None else lake.home / "profiles" / profile.digest
        folders, seconds = lake.config.plugins.folders, lake.config.sql.timeout_secs
        return Queries(home, folders, self.datasets, self.sql, type(lake).journal.of(lake), seconds)

    @cached_property
    def vectors(self) -> "Vectors":
        """Vector indexes."""
        lake = self._lake
        if self._profile is not None:
            from lakehouse.engine.vectors.view import View

            return View(lake.everything.vectors, self._profile)
        from lakehouse.engine.vectors import Vectors

        return lake.owned(Vectors(lake.home, self.storage, lake.config.vectors, lake.record, lake.later))

    @cached_property
    def corpora(self) -> "Corpora":
        """Datasets and folders made searchable."""
        from lakehouse.engine.corpora import Corpora

        lake = self._lake
        if self._profile is not None:  # definitions, and what follows what, are about everybody's data
            return Corpora(
                None,
                self.datasets,
                lake.embed,
                self.vectors,
                lake.config,
                sql=lambda: self.sql,
                own=lambda: lake.everything.storage.shut,
                record=lake.record,
            )
        return Corpora(
            lake.home,
            self.datasets,
            lake.embed,
            self.vectors,
            lake.config,
            sql=lambda: self.sql,
            folders=lambda: [*lake.config.plugins.folders, lake.home],
            shipped=lambda: shipped("corpora").parent,
            own=lambda: lake.everything.storage.shut,
            record=lake.record,
            later=lake.later,
        )

    @cached_property
    def playbook(self) -> "Playbook":
        """Which answers served which questions. A profile's entries are in the index it has under the corpus' name."""
        from lakehouse.engine.playbook import Playbook

        lake = self._lake
        return Playbook(lake.embed, self.vectors, lake.config, lake.record)

    @cached_property
    def matrix(self) -> "Matrix":
        """Search over corpora."""
        from lakehouse.engine.matrix import Matrix

        return Matrix(self._lake.embed, self.vectors, self.playbook, self._lake.config, lambda: self.sql)

    @cached_property
    def workflows(self) -> "Workflows":
        """Workflows and their runs. A profile sees its own runs."""
        lake = self._lake
        if self._profile is not None:
            return lake.everything.workflows.within(self._profile.name)
        from lakehouse.engine.workflows import Workflows
        from lakehouse.lake.steps import Steps

        def places() -> list[Path]:
            return workflow_folders(lake.config.plugins.folders, lake.home)

        steps = Steps(cast("Lakehouse", lake))
        return lake.owned(Workflows(lake.home, lake.config.workflows, places, steps, lake.later, lambda: lake.brief))

    async def aclose(self) -> None:
        """End the query processes."""
        if "sql" in vars(self):
            await self.sql.aclose()
