"""Read-only SQL over datasets: checks, queues, runs in a query process, and keeps what is too large for one answer."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.child import ChildDied
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.sql.advice import Advice
from lakehouse.engine.sql.history import Entry, History
from lakehouse.engine.sql.models import Explanation, ResultColumn, Rows
from lakehouse.engine.sql.past import MAY_NAME_A_VERSION, Past, whens
from lakehouse.engine.sql.pool import Pool, Visible, Worker
from lakehouse.engine.sql.processes import Processes
from lakehouse.engine.sql.request import AsOf, Lower, Params, checked, out_of_time, seconds_of
from lakehouse.engine.sql.sight import Sight
from lakehouse.engine.sql.views import Later, Views
from lakehouse.engine.sql.worker import ends_process
from lakehouse.errors import InvalidInput, LakehouseError, TimedOut, Unavailable, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest
    from lakehouse.engine.results import Results
    from lakehouse.engine.storage import Storage

T = TypeVar("T")
GRACE_SECS = 1.0  # after the limit, for the engine to stop by itself; then its process is killed
_INLINE_JSON = 64 * 2**10  # a longer text is parsed off the event loop


@dataclass(frozen=True)
class Spool:
    """All rows of a statement as an Arrow IPC file, unless it is not `complete`: too large, or `late`.

    `read` are the datasets it was read from, with their versions.
    """

    path: Path
    columns: list[dict[str, Any]]
    row_count: int
    complete: bool
    late: bool
    read: dict[str, int]


class _Raw(NamedTuple):
    header: dict[str, Any]
    rows: bytes
    file: Path | None


class _Time(NamedTuple):
    """The time a call may take, and when that is over on the event loop's clock."""

    seconds: float
    deadline: float


class Sql:
    """One read-only statement at a time for each caller, over the newest version of every dataset, or older ones.

    `later` starts work that outlives the call it is started in; it says whether it could. Without it, whoever asks
    when a listing of the bucket is due waits for that. `processes` and `history` are shared by all readers; without
    them it has its own.
    """

    def __init__(
        self,
        storage: "Storage",
        datasets: "Datasets",
        results: "Results",
        settings: config.Sql,
        later: Later = lambda work: False,
        *,
        processes: Processes | None = None,
        history: History | None = None,
    ) -> None:
        self._views = Views(datasets, later)
        self._sight = Sight(datasets, self._views, settings.refresh_secs, later)
        self._past = Past(datasets)
        self._advice = Advice(datasets)
        self._storage = storage
        self._datasets = datasets
        self._results = results
        self._settings = settings
        self._history = history
        hidden = [str(storage.scratch_root.parent)]
        hidden += [str(bucket.root) for bucket in storage.buckets.values() if bucket.root is not None]
        self._processes = processes or Processes(settings)
        self._pool = Pool(storage.scratch_root, settings, hidden, self._processes)

    async def query(
        self,
        sql: str,
        params: Params | None = None,
        *,
        as_of: AsOf | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        timeout: float | None = None,
        memory: str | None = None,
    ) -> Rows:
        """Run one read-only statement (DuckDB dialect).

        `params` are values for `?` and `$1` (a sequence) or `$name` (a mapping). `as_of` is a version or a moment for
        all datasets, or a mapping with one for each, `*` for the others; `"orders@v3"` in the statement is one
        version of orders. `max_rows`, `max_bytes` (of JSON), `timeout` (seconds) and `memory` ("200MB") lower the
        limits of the settings for this call. What does not fit is in the result under `handle`.

        Raises InvalidInput (not one read statement, an unknown name, a bad value), DatasetNotFound (no such version),
        TooLarge (the text, or memory), TimedOut, and Upstream (a damaged dataset, a query process that ended).
        """
        async with self._remembered(sql) as entry:
            lower = Lower(max_rows, max_bytes, timeout, memory)
            request = checked(self._settings, sql, params, lower)
            async with AsyncExitStack() as kept:
                raw = await self._answered(request, as_of, seconds_of(self._settings, lower), kept)
                entry.read = raw.header["read"]
                rows = raw.rows
                inline = len(rows) < _INLINE_JSON
                parsed = json.loads(rows) if inline else await anyio.to_thread.run_sync(json.loads, rows)
                answer = await self._answer(raw, parsed)
            entry.rows, entry.bytes = answer.row_count, len(rows)
            return answer

    async def explain(
        self,
        sql: str,
        params: Params | None = None,
        *,
        analyze: bool = False,
        as_of: AsOf | None = None,
        timeout: float | None = None,
        memory: str | None = None,
    ) -> Explanation:
        """What a SELECT would do: its plan, and the most it reads of each dataset, by the statistics of the files.

        With `analyze` it is run, under the same limits, and what that took is told; its rows are not. Raises what
        `query` raises.
        """
        async with self._remembered(f"EXPLAIN {'ANALYZE ' if analyze else ''}{sql}") as entry:
            lower = Lower(timeout=timeout, memory=memory)
            request = checked(self._settings, sql, params, lower) | {"explain": {"analyze": analyze}}
            async with AsyncExitStack() as kept:
                raw = await self._answered(request, as_of, seconds_of(self._settings, lower), kept)
            entry.read = raw.header["read"]
            found = json.loads(raw.rows)
            rows, size = sum(read["rows"] for read in found["reads"]), sum(read["bytes"] for read in found["reads"])
            return Explanation(**found, rows=rows, bytes=size)

    @asynccontextmanager
    async def spool(
        self,
        sql: str,
        params: Params | None = None,
        *,
        as_of: AsOf | None = None,
        seconds: float,
        max_bytes: int,
    ) -> AsyncIterator[Spool]:
        """All rows of a read-only statement as an Arrow IPC file, which is gone after the block.

        A file that would take over `max_bytes`, or over nine tenths of `seconds`, is not `complete`. Raises what
        `query` raises.
        """
        async with self._remembered(sql) as entry, AsyncExitStack() as kept:
            request = checked(self._settings, sql, params, Lower())
            request["caps"] |= {"rows": 0, "file_rows": sys.maxsize, "file_bytes": max_bytes}
            raw = await self._answered(request, as_of, seconds, kept)
            header = raw.header
            entry.read, entry.rows = header["read"], header["row_count"]
            assert raw.file is not None, "without rows in the answer there always is a file"
            read = {name: version for name, version in header["read"]}
            yield Spool(raw.file, header["columns"], header["row_count"], header["complete"], header["late"], read)

    async def aclose(self) -> None:
        """End the query processes."""
        await self._pool.aclose()

    def stats(self) -> dict[str, int]:
        """Query processes: how many there are, were started, ended; sets of datasets given to them."""
        counts = self._pool.counts
        return {
            "processes": len(self._pool.pids),
            "started": counts.started,
            "ended": counts.ended,
            "loaded": counts.loaded,
        }

    @property
    def pids(self) -> list[int]:
        """The ids of the query processes there are."""
        return self._pool.pids

    @asynccontextmanager
    async def _remembered(self, sql: str) -> AsyncIterator[Entry]:
        profile = self._datasets.profile
        entry = Entry(sql, profile.name, profile.digest) if profile else Entry(sql)
        try:
            yield entry
            entry.outcome = "ok"
        except LakehouseError as error:
            entry.outcome, entry.error = error.code, error.detail
            raise
        finally:
            if self._history is not None:
                self._history.add(entry)

    async def _answered(
        self, request: dict[str, Any], as_of: AsOf | None, seconds: float, kept: AsyncExitStack
    ) -> _Raw:
        """What a query process answers, with the versions it is asked about, and advice where it fails."""
        given = whens(as_of)
        time = _Time(seconds, anyio.current_time() + seconds)
        try:
            versions = await self._versions(request["sql"], given, time)
            return await self._run(request, versions, time, kept)
        except InvalidInput as error:
            await self._advice.add(error)
            raise

    async def _versions(self, sql: str, given: Mapping[str, int | str], time: _Time) -> "dict[str, Manifest] | None":
        """The version each table stands for, by its name in the statement; None when they are the newest."""
        if not given and not MAY_NAME_A_VERSION.search(sql):
            return None
        async with AsyncExitStack() as nothing:
            asked = await self._run_once({"sql": sql, "tables": True}, await self._look(time), time, nothing)
        with anyio.CancelScope(deadline=time.deadline):
            return await self._past.versions(asked.header["tables"], given)
        raise TimedOut(f"after {time.seconds:g} seconds the versions were still being looked for.", fix="Ask again.")

    async def _run(
        self, request: dict[str, Any], versions: "dict[str, Manifest] | None", time: _Time, kept: AsyncExitStack
    ) -> _Raw:
        renewed: set[str] = set()
        while True:
            visible = await self._look(time)
            manifests: Mapping[str, Manifest] = visible.manifests if versions is None else versions
            if versions is not None:
                found = await self._fetched(versions, self._views.at, time)
                request["past"] = [view | {"name": name} for name, view in zip(versions, found, strict=True)]
            try:
                return await self._run_once(request, visible, time, kept)
            except Upstream as error:
                name = error.data.get("damaged")
                if name is None or name in renewed or not self._views.fetched(manifests[name]):
                    raise
                renewed.add(name)  # the copy here is; what the bucket has is not known yet
                await self._views.renew(manifests[name])
            except Unavailable as error:
                if "absent" not in error.data:
                    raise
                absent = {name: manifests[name] for name in error.data["absent"]}
                await self._fetched(absent, self._views.fetch, time)

    async def _fetched(
        self, wanted: "Mapping[str, Manifest]", fetch: "Callable[[Manifest], Awaitable[T]]", time: _Time
    ) -> list[T]:
        """What `fetch` answers once the files of these versions are here."""
        with anyio.CancelScope(deadline=time.deadline):
            return await fan_out([partial(fetch, manifest) for manifest in wanted.values()])
        raise TimedOut(
            f"after {time.seconds:g} seconds the files of dataset {next(iter(wanted))!r} were still being copied here.",
            fix="Ask again in a while: that goes on.",
        )

    async def _look(self, time: _Time) -> Visible:
        with anyio.CancelScope(deadline=time.deadline):
            return await self._sight.look()
        raise TimedOut(
            f"after {time.seconds:g} seconds the bucket was still being listed.",
            fix="Try again, or raise sql.timeout_secs.",
        )

    async def _run_once(self, request: dict[str, Any], visible: Visible, time: _Time, kept: AsyncExitStack) -> _Raw:
        async with AsyncExitStack() as held:
            with anyio.CancelScope(deadline=time.deadline) as waiting:
                await held.enter_async_context(self._processes.slots)
            if waiting.cancelled_caught:
                raise TimedOut(
                    f"the query waited {time.seconds:g} seconds: all {self._settings.workers} query places were taken.",
                    fix="Try again, or raise sql.workers or sql.timeout_secs.",
                )
            with anyio.CancelScope(deadline=time.deadline + GRACE_SECS):
                worker = await held.enter_async_context(self._pool.worker(visible))
                left = max(0.001, time.deadline - anyio.current_time())
                return await self._ask(worker, request | {"seconds": left, "limit": time.seconds}, visible, kept)
        raise out_of_time(time.seconds)

    async def _ask(self, worker: Worker, request: Mapping[str, Any], visible: Visible, kept: AsyncExitStack) -> _Raw:
        spool: _Spool | None = None
        worker.sound = False
        try:
            await worker.child.send(request)
            views = [*visible.views, *request.get("past", ())]
            async with self._views.streams.answering(worker.child, views) as answer:
                while True:
                    try:
                        header, payload = await worker.child.receive()
                    except LakehouseError as error:  # the process said so; what else fails leaves it in mid-answer
                        worker.sound = not ends_process(error)
                        raise
                    if "range" in header:
                        answer(header)
                        continue
                    if "piece" not in header:
                        break
                    if spool is None:
                        spool = _Spool(await kept.enter_async_context(self._storage.scratch()) / "rows.arrow")
                        kept.push_async_callback(spool.aclose)
                    await spool.write(payload)
        except ChildDied:
            raise Upstream(
                "the process that ran the query ended; it may have run out of memory.",
                fix="Ask for less; the next query runs in a new process.",
            ) from None
        worker.sound = True
        self._pool.learn(header.get("verified", {}))
        self._storage.shelf.used(header.get("used", ()))
        if spool is not None:
            await spool.aclose()
        return _Raw(header, payload, spool.path if spool else None)

    async def _answer(self, raw: _Raw, rows: list[list[Any]]) -> Rows:
        header, handle = raw.header, None
        if raw.file is not None:
            count, complete = header["row_count"], header["complete"]
            handle = self._results.uri_of(await self._results.keep_rows(header["columns"], raw.file, count, complete))
        return Rows(
            columns=[ResultColumn(**column) for column in header["columns"]],
            rows=rows,
            row_count=max(header["row_count"], len(rows)),
            truncated=header["truncated"],
            handle=handle,
            complete=header["complete"],
            elapsed_ms=header["elapsed_ms"],
        )


class _Spool:
    """A file that grows, written off the event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    async def write(self, data: bytes) -> None:
        await anyio.to_thread.run_sync(self._write, data)

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._close)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = self.path.open("wb")
        self._file.write(data)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
