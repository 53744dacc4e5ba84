"""The parts of an open lake, wired once: each is built when it is first used."""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import anyio.to_thread

from lakehouse import config, observe
from lakehouse.catalogue import Catalogue
from lakehouse.engine import moment
from lakehouse.engine.places import shut
from lakehouse.errors import Busy, Forbidden, NotFound
from lakehouse.lake.data import Data
from lakehouse.lake.whole import Whole

if TYPE_CHECKING:
    from lakehouse.engine.backup import Backup
    from lakehouse.engine.chat import Chat
    from lakehouse.engine.corpora import Corpora
    from lakehouse.engine.datasets import Datasets, Manifest
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.expectations import Gatekeeper
    from lakehouse.engine.export import Exporter
    from lakehouse.engine.ingest import Ingester
    from lakehouse.engine.ingest.plan import Planner
    from lakehouse.engine.journal import Journal
    from lakehouse.engine.matrix import Matrix
    from lakehouse.engine.observer import Observer
    from lakehouse.engine.playbook import Playbook
    from lakehouse.engine.profiles import Profile, Profiles
    from lakehouse.engine.profiling import Profiler
    from lakehouse.engine.queries import Queries
    from lakehouse.engine.redact import Redactor
    from lakehouse.engine.results import Results
    from lakehouse.engine.sql import History, Processes, Sql
    from lakehouse.engine.storage import Storage
    from lakehouse.engine.vectors import Vectors
    from lakehouse.engine.vectors.calibration import Calibration
    from lakehouse.engine.workflows import Workflows
    from lakehouse.engine.workflows.lifting.lift import Lifting
    from lakehouse.engine.workflows.triggers.watch import Triggers
    from lakehouse.lake.door import Lakehouse

T = TypeVar("T")
_RESUMED_SECS = 1.0  # a command is over by then
MAX_SCOPES = 8  # profiles whose query processes are kept for the next call


class Parts:
    """What capabilities work on. Only the owner of the data directory has them; elsewhere, reaching for one is Busy.

    Every part is either one that a profile divides (see Data) or Whole: a test sees to it.
    """

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.config = settings.config
        self.brief = False  # whether this process ends with the call it makes
        self.stopping = anyio.Event()  # set when running calls have `server.drain_secs` left before they are cancelled
        self.attached_to = ""  # the process that owns the data directory, where that is another
        self.built: dict[Any, Any] = {}
        self._closing = AsyncExitStack()
        self._closing.push_async_callback(self._end_scopes)
        self._scoped: dict[Profile, Data] = {}
        self._retired: list[Data] = []
        self.everything = Data(self)  # for the lake itself; capabilities reach it by what stands below

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
    def planner(self) -> "Planner":
        """What ingests would do."""
        return self._data.planner

    @cached_property
    def expectations(self) -> "Gatekeeper":
        """What versions of datasets must hold."""
        from lakehouse.engine.expectations import Gatekeeper

        return self.owned(Gatekeeper(self.everything.storage, self.config.ingest))

    @cached_property
    def profiler(self) -> "Profiler":
        """What is in datasets, column by column."""
        from lakehouse.engine.profiling import Profiler

        return self.owned(Profiler(self.home, self.everything.storage, self.config.ingest))

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
    def processes(self) -> "Processes":
        """The bound on query processes, whoever they are of."""
        from lakehouse.engine.sql import Processes

        return Processes(self.config.sql)

    @cached_property
    def history(self) -> "History":
        """The queries that were asked. Who reads it says of which profile."""
        from lakehouse.engine.sql import History

        return self.owned(History(self.home, self.redactor, self.config.sql.slow_ms))

    @cached_property
    def embed(self) -> "Embedder":
        """Texts to vectors."""
        from lakehouse.engine.embed import Embedder

        return self.owned(Embedder(self.home, self.config.embed))

    @property
    def vectors(self) -> "Vectors":
        """Vector indexes: those that whoever makes the running call may see."""
        return self._data.vectors

    @cached_property
    def chat(self) -> "Chat":
        """Questions to chat models."""
        from lakehouse.engine.chat import Chat

        return self.owned(Chat(self.config.chat))

    @Whole
    def calibration(self) -> "Calibration":
        """Vector indexes measured against exact search."""
        from lakehouse.engine.vectors.calibration import Calibration

        return self.owned(Calibration(self.home, self.everything.vectors))

    @property
    def corpora(self) -> "Corpora":
        """Datasets and folders made searchable."""
        return self._data.corpora

    @property
    def matrix(self) -> "Matrix":
        """Search over corpora."""
        return self._data.matrix

    @property
    def playbook(self) -> "Playbook":
        """Which answers served which questions."""
        return self._data.playbook

    @property
    def workflows(self) -> "Workflows":
        """Workflows and their runs: those of whoever makes the running call."""
        return self._data.workflows

    @Whole
    def triggers(self) -> "Triggers":
        """What starts workflows by itself."""
        from lakehouse.engine.workflows.triggers.watch import Triggers

        async def newest(dataset: str) -> tuple[int, float] | None:
            try:
                found = await self.everything.datasets.get(dataset)
            except NotFound:
                return None
            return found.version, moment.seconds_of(found.created_at)

        return Triggers(
            self.home / "triggers",
            self.everything.workflows,
            newest,
            enabled=self.config.workflows.triggers,
            profile=self.config.server.profile or None,
        )

    @Whole
    def lifting(self) -> "Lifting":
        """Workflows made of recorded calls."""
        from lakehouse.engine.workflows.lifting.lift import Lifting
        from lakehouse.lake.steps import Steps

        steps = Steps(cast("Lakehouse", self))
        return Lifting(self.home, self.everything.workflows, Parts.observer.of(self).kept, steps)

    @Whole
    def observer(self) -> "Observer":
        """The record of calls."""
        from lakehouse.engine.observer import Observer

        return self.owned(Observer(self.home, self.config.observer, self.redactor))

    @Whole
    def journal(self) -> "Journal":
        """Who changed what."""
        from lakehouse.engine.journal import Journal

        journal = Journal(self.home, lambda: self.everything.storage.bucket, self.redactor, self.later)
        return self.owned(journal)

    @Whole
    def profiles(self) -> "Profiles":
        """What readers can be bound to."""
        from lakehouse.engine.profiles import Profiles

        return self.owned(Profiles(self.everything.storage, self.record))

    @Whole
    def backup(self) -> "Backup":
        """The whole data directory as one file."""
        from lakehouse.engine.backup import Backup

        return self.owned(Backup(self.settings, self.everything.storage, Parts.journal.of(self)))

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
        return self.everything if profile is None else self._data_of(profile)

    def _data_of(self, profile: "Profile") -> Data:
        found = self._scoped.pop(profile, None)
        if found is None:
            found = Data(self, profile)
        self._scoped[profile] = found  # the one that was used last stands last
        return found

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
                    self._retired.append(self._scoped.pop(one))
            if self._retired:
                self.later(self._end_retired)

    async def _end_retired(self) -> None:
        for data in [*self._retired]:
            await data.aclose()
            if data in self._retired:  # another task was as far
                self._retired.remove(data)

    async def _end_scopes(self) -> None:
        self._retired += self._scoped.values()
        self._scoped.clear()
        await self._end_retired()

    async def record(
        self,
        action: str,
        entity_type: str,
        entity_id: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Have an event written to the journal; see Journal.record."""
        await Parts.journal.of(self).record(action, entity_type, entity_id, before=before, after=after)

    @cached_property
    def redactor(self) -> "Redactor":
        """What cuts known credentials out of texts."""
        from lakehouse.engine.redact import redactor_for

        return redactor_for(self.config)

    def later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start work that ends with the lake at the latest; False where nothing runs beside the calls."""
        return False

    async def _triggered(self) -> "Triggers":
        """What starts workflows by itself; importing it takes a while."""
        await anyio.to_thread.run_sync(import_module, "lakehouse.engine.workflows.triggers.watch")
        return Parts.triggers.of(self)

    async def committed(self, manifest: "Manifest") -> None:
        """A dataset has a new version: corpora that follow it are refreshed, workflows begin, beside the calls."""
        if self.config.workflows.triggers and not self.brief:
            call = observe.current.get()
            who = (call.caller.name, call.workflow) if call is not None else ("", "")
            at = moment.seconds_of(manifest.created_at)
            (await self._triggered()).committed(manifest.name, manifest.version, at, who)
        await self.everything.corpora.following.changed(manifest.name)

    async def caught_up(self) -> None:
        """Wait for the corpora that follow datasets changed in this process: for one that ends with its call."""
        if "corpora" in vars(self.everything):
            await self.everything.corpora.following.caught_up()

    async def _resume(self) -> None:
        """Go on with what the last process left, once whoever opened the lake has what they came for."""
        await anyio.sleep(_RESUMED_SECS)
        if await anyio.to_thread.run_sync(self._followed):
            await self.everything.corpora.following.resume()

    def _followed(self) -> bool:
        """Whether a corpus follows a dataset. In a worker thread: what builds corpora takes 40 ms to import."""
        from lakehouse.engine.corpora.following import FOLDER

        return (self.home / FOLDER).is_dir()

    def owned(self, part: T) -> T:
        """A part that is closed with the lake. Raises Busy where another process owns the data directory."""
        if self.attached_to:
            raise Busy(
                f"this lake is attached to {self.attached_to}, which owns the data directory.",
                fix="Use lake.call(...), which runs there.",
            )
        close = getattr(part, "aclose", None)
        if close is not None:
            self._closing.push_async_callback(close)
        return part
