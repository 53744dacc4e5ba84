"""The open lakehouse: the parts, wired once, and the one door every face calls through."""

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from pydantic_core import from_json

from lakehouse import config, observe
from lakehouse.arguments import validated
from lakehouse.catalogue import Catalogue
from lakehouse.declare import Capability
from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, NotFound, TimedOut, Unavailable
from lakehouse.observe import Call, Progress
from lakehouse.preview import compact, scrubbed, shortened

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


class Lakehouse:
    """An open data directory. `call` runs any capability by name; the parts are attributes, built on first use."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.config = settings.config
        self._closing = AsyncExitStack()
        self._starting = anyio.Lock()
        self._owns = False
        self._started = False
        self._closed = False

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every capability by name. Loading it reads the plugin files; `load` does that in a worker thread."""
        return Catalogue(self.config.plugins.folders)

    @cached_property
    def storage(self) -> "Storage":
        """Object storage."""
        from lakehouse.engine.storage import Storage

        return Storage(self.home, self.config.storage)

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

        return self._owned(Sql(self.storage, self.datasets, self.results, self.config.sql))

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
        return redactor(self.config.embed.api_key_env)

    def _owned(self, part: T) -> T:
        close = getattr(part, "aclose", None)
        if close is not None:
            self._closing.push_async_callback(close)
        return part

    async def start(self) -> None:
        """Become the owner of the data directory, unless it is that already.

        Raises Busy naming the process that holds it, and Unavailable when it cannot be used or the lake is closed.
        """
        if self._started:
            return
        async with self._starting:
            if self._closed:
                raise Unavailable("this lake is closed.", fix="Open it again.")
            if not self._owns:
                from lakehouse.engine.owner import Owner

                owner = Owner(self.home)
                await owner.acquire(self._redactor.text(" ".join(sys.argv), 200))
                self._closing.push_async_callback(owner.release)
                self._owns = True
            if not self._started:
                await self.storage.sweep()
                await self.results.sweep()
                await self.observer.start()
                self._started = True

    async def aclose(self) -> None:
        """Close the parts, last opened first, and give the data directory up. No call runs afterwards."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            await self._closing.aclose()
        self._started = False

    async def load(self) -> Catalogue:
        """The catalogue; the plugin files are read in a worker thread the first time."""
        if "catalogue" not in vars(self):
            async with self._starting:
                await anyio.to_thread.run_sync(lambda: self.catalogue)
        return self.catalogue

    @property
    def via(self) -> str:
        """The face the running call came through: mcp, http, cli, python, or workflow."""
        call = observe.current.get()
        return call.via if call is not None else "python"

    @property
    def room(self) -> int | None:
        """Bytes of JSON whoever makes the running call is shown: `server.max_text_bytes` over MCP, else all."""
        return self.config.server.max_text_bytes if self.via == "mcp" else None

    async def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the running call is; it reaches whoever asked for it."""
        call = observe.current.get()
        if call is not None:
            await call.progress(done, total, message)

    async def fitted(self, value: Any, limit: int) -> tuple[Any, bytes]:
        """A result and its compact JSON, within `limit` bytes.

        A longer one becomes a preview of the same shape, marked `truncated`, and a `handle` that reads back whole.
        """
        text = compact(value)
        if len(text) <= limit or not isinstance(value, dict):
            return value, text
        handle = value.get("handle") or self.results.uri_of(await self.results.keep_json(value))
        marked = {**value, "truncated": True, "handle": handle}
        preview = await anyio.to_thread.run_sync(shortened, marked, limit)
        return preview, compact(preview)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        via: str | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Check, run and observe one capability by its dotted or MCP name.

        The result is plain JSON data that fits the capability's output schema: a field that is None is left out.

        Raises a LakehouseError that says what to do next; never anything else but cancellation.
        """
        try:
            capability = (await self.load()).find(name)
        except NotFound as unknown:
            self._clean(unknown)
            raise
        arguments = {} if arguments is None else arguments
        parent = observe.current.get()
        heard = progress or (parent.progress if parent else observe.no_progress)
        # A call inside a call is made on behalf of whoever made the first.
        via = via or (parent.via if parent else "python")
        call = Call(capability.name, via, parent.id if parent else None, heard)
        token = observe.current.set(call)
        began, outcome, answer = time.perf_counter(), "cancelled", None
        error: LakehouseError | None = None
        try:
            answer = await self._run(capability, arguments)
            outcome = "ok"
            return answer
        except Exception as failure:
            error = _known(failure)
            if error is None:
                observe.log.exception("call.crashed %s (call %s)", capability.name, call.id)
                error = _crash(capability, call)
            self._clean(error)
            outcome = error.code
            raise error from (None if error is failure else failure)
        finally:
            observe.current.reset(token)
            await self._record(capability, call, arguments, answer, error, outcome, time.perf_counter() - began)

    def _clean(self, error: LakehouseError) -> None:
        error.detail, error.fix, error.data = self._redactor.whole([error.detail, error.fix, error.data])

    async def _run(self, capability: Capability, arguments: Mapping[str, Any]) -> Any:
        if self.config.server.read_only and capability.effect != "reads":
            raise Forbidden(
                f"{capability.name} {capability.effect}; this server is read-only.",
                fix="Start it without --read-only, and with server.read_only unset.",
            )
        checked = validated(capability, arguments)
        await self.start()
        server = self.config.server
        limit = server.long_timeout_secs if capability.facts.long else server.tool_timeout_secs
        setting = "server.long_timeout_secs" if capability.facts.long else "server.tool_timeout_secs"
        with anyio.move_on_after(limit) as time_limit:
            result = await capability.run(self, **checked)
        if time_limit.cancelled_caught:
            raise TimedOut(f"{capability.name} took over {limit:g} seconds.", fix=f"Ask for less, or raise {setting}.")
        returns = capability.returns
        answer = returns.validate_python(result)
        try:
            return returns.dump_python(answer, mode="json", exclude_none=True)
        except UnicodeEncodeError:  # half a character somewhere: callers can send one, JSON cannot carry it
            return from_json(compact(scrubbed(returns.dump_python(answer, exclude_none=True))))

    async def _record(
        self,
        capability: Capability,
        call: Call,
        arguments: Mapping[str, Any],
        answer: Any,
        error: LakehouseError | None,
        outcome: str,
        seconds: float,
    ) -> None:
        # Recording never harms the call it records, and a cancelled call is recorded too.
        if not self._started:
            return
        with anyio.CancelScope(shield=True):
            try:
                await self.observer.record_call(
                    id=call.id,
                    parent=call.parent,
                    source=call.via,
                    op=capability.name,
                    input=arguments,
                    output=answer,
                    error=str(error) if error else ("cancelled" if outcome == "cancelled" else None),
                    seconds=seconds,
                )
            except Exception:
                observe.log.exception("observer.failed %s", call.id)


def _known(failure: Exception) -> LakehouseError | None:
    """The failure as an error a caller can act on: itself, or the first of a task group that failed of nothing else."""
    if isinstance(failure, ExceptionGroup):
        known = [_known(inner) for inner in failure.exceptions]
        return known[0] if None not in known else None
    return failure if isinstance(failure, LakehouseError) else None


def _crash(capability: Capability, call: Call) -> LakehouseError:
    return LakehouseError(
        f"{capability.name} failed (call {call.id}).", fix="The server's log has the details under this id."
    )


def redactor(*names: str) -> "Redactor":
    """What cuts known credentials out of texts before they leave; `names` are environment variables that hold one."""
    from lakehouse.engine.redact import Redactor

    return Redactor(names=names)


@asynccontextmanager
async def open(
    home: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> AsyncIterator[Lakehouse]:
    """Open a data directory; the parts live exactly as long as the block.

    `home` defaults to `LAKEHOUSE_HOME`, then to the user's data folder. A `.toml` file in its place is the config file,
    as with `--config`. `overrides` are settings by dotted name.

    Raises InvalidInput for a bad setting and Busy, naming the owner, when another process holds the directory.
    """
    if home is not None and config_file is None and Path(home).suffix == ".toml":
        home, config_file = None, home
    lake = Lakehouse(await anyio.to_thread.run_sync(config.read, home, config_file, overrides))
    try:
        await lake.start()
        await lake.load()
        yield lake
    finally:
        await lake.aclose()


async def examine(
    home: str | Path | None = None,
    config_file: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the capability `doctor.run` says, of a data directory that is not opened.

    It works while another process owns the directory and when the settings cannot be read.
    """
    from lakehouse.engine import doctor

    def prepare() -> tuple[config.Settings, LakehouseError | None, Catalogue]:
        broken: LakehouseError | None = None
        try:
            settings = config.read(home, config_file, overrides)
        except InvalidInput as error:
            settings, broken = config.defaults(home), error
        return settings, broken, Catalogue(settings.config.plugins.folders)

    settings, broken, catalogue = await anyio.to_thread.run_sync(prepare)
    skipped = [(plugin.origin, plugin.reason) for plugin in catalogue.skipped]
    return (await doctor.examine(settings, skipped, broken)).model_dump(mode="json")


__all__ = ["Lakehouse", "examine", "open"]
