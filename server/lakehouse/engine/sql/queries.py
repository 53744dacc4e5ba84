"""Read-only SQL over datasets: checks, queues, runs in a query process, and keeps what is too large for one answer."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import anyio
import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine.child import ChildDied
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.sql.pool import Pool, Visible, Worker
from lakehouse.engine.sql.views import Later, Views
from lakehouse.engine.sql.worker import ends_process
from lakehouse.errors import InvalidInput, LakehouseError, TimedOut, TooLarge, Unavailable, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.results import Results
    from lakehouse.engine.storage import Storage

GRACE_SECS = 1.0  # after the limit, for the engine to stop by itself; then its process is killed
_INLINE_JSON = 64 * 2**10  # a longer text is parsed off the event loop

log = logging.getLogger("lakehouse")

Params = Sequence[Any] | Mapping[str, Any]


class ResultColumn(BaseModel):
    """A column of an answer."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its DuckDB type, for instance BIGINT.")


class Rows(BaseModel):
    """The answer to a query."""

    columns: list[ResultColumn] = Field(description="The columns, in order.")
    rows: list[list[Any]] = Field(description="The rows; when truncated, only the first of them.")
    row_count: int = Field(description="How many rows the result has; with complete false, how many were kept.")
    truncated: bool = Field(False, description="Whether `rows` lacks some; `handle` has them.")
    handle: str | None = Field(None, description="Where a truncated result is read from.")
    complete: bool = Field(True, description="False when the handle was cut, too.")
    elapsed_ms: float = Field(description="Milliseconds the query ran.")


class _Raw(NamedTuple):
    header: dict[str, Any]
    rows: bytes
    file: Path | None


class Sql:
    """One read-only statement at a time for each caller, over the newest version of every dataset.

    `later` starts work that outlives the call it is started in; it says whether it could. Without it, whoever asks
    when a listing of the bucket is due waits for that.
    """

    def __init__(
        self,
        storage: "Storage",
        datasets: "Datasets",
        results: "Results",
        settings: config.Sql,
        later: Later = lambda work: False,
    ) -> None:
        self._later = later
        self._views = Views(datasets, later)
        self._storage = storage
        self._datasets = datasets
        self._results = results
        self._settings = settings
        hidden = [str(storage.scratch_root.parent)]
        hidden += [str(bucket.root) for bucket in storage.buckets.values() if bucket.root is not None]
        self._pool = Pool(storage.scratch_root, settings, hidden)
        self._visible: Visible | None = None
        self._seen = (-1, -1)  # of which set of versions, and of files here, the visible set was made
        self._looking = anyio.Lock(fast_acquire=True)
        self._refreshing = False
        self._looked_at = float("-inf")

    async def query(
        self,
        sql: str,
        params: Params | None = None,
        *,
        max_rows: int | None = None,
        timeout: float | None = None,
    ) -> Rows:
        """Run one read-only statement (DuckDB dialect).

        `params` are values for `?` and `$1` (a sequence) or `$name` (a mapping). `max_rows` and `timeout` (seconds)
        lower the limits of the settings for this call. What does not fit is in the result under `handle`.

        Raises InvalidInput (not one read statement, an unknown name, a bad value), TooLarge (the text, or memory),
        TimedOut, and Upstream (a damaged dataset, a query process that ended).
        """
        limits = self._settings
        request = self._checked(sql, params, max_rows)
        if timeout is not None and not timeout > 0:
            raise InvalidInput(f"timeout: {timeout} is not over 0 seconds.", fix="Leave it out for the usual limit.")
        seconds = min(timeout or limits.timeout_secs, limits.timeout_secs)
        try:
            async with AsyncExitStack() as kept:
                raw = await self._run(request, seconds, kept)
                rows = raw.rows
                inline = len(rows) < _INLINE_JSON
                parsed = json.loads(rows) if inline else await anyio.to_thread.run_sync(json.loads, rows)
                return await self._answer(raw, parsed)
        except InvalidInput as error:
            if "dataset" in error.data:
                await self._explain_missing(error.data["dataset"])
            raise

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

    def _checked(self, sql: str, params: Params | None, max_rows: int | None) -> dict[str, Any]:
        limits = self._settings
        try:
            size = len(sql.encode())
        except UnicodeEncodeError:
            raise InvalidInput("sql: it is not valid Unicode.", fix="Send it as UTF-8.") from None
        if size > limits.max_sql_bytes:
            raise TooLarge(
                f"sql: {size} bytes are over the limit of {limits.max_sql_bytes}.",
                fix="Send long values as params, or raise sql.max_sql_bytes.",
            )
        if not sql.strip() or "\0" in sql:
            raise InvalidInput(
                "sql: it is empty." if not sql.strip() else "sql: it holds a NUL character.", fix="Send a SELECT."
            )
        if max_rows is not None and max_rows < 1:
            raise InvalidInput(f"max_rows: {max_rows} is under 1.", fix="Leave it out for the usual limit.")
        if params is not None and (isinstance(params, str) or not isinstance(params, Sequence | Mapping)):
            raise InvalidInput("params: they are a list or an object.", fix='Send [1, "a"] for ?, {"x": 1} for $x.')
        values = dict(params) if isinstance(params, Mapping) else list(params or ())
        try:
            json.dumps(values)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(
                f"params: {error}.", fix="Send text, numbers, true, false, null, lists and objects; cast in SQL."
            ) from error
        return {
            "sql": sql,
            "params": values,
            "caps": {
                "rows": min(max_rows or limits.max_rows, limits.max_rows),
                "bytes": limits.max_bytes,
                "file_rows": limits.max_handle_rows,
                "file_bytes": limits.max_handle_bytes,
            },
        }

    async def _run(self, request: dict[str, Any], seconds: float, kept: AsyncExitStack) -> _Raw:
        deadline = anyio.current_time() + seconds
        renewed: set[str] = set()
        while True:
            try:
                return await self._run_once(request, deadline, seconds, kept)
            except Upstream as error:
                name = error.data.get("damaged")
                if name is None or name in renewed or not self._views.fetched(name):
                    raise
                renewed.add(name)  # the copy here is; what the bucket has is not known yet
                await self._views.renew(name)
                continue
            except Unavailable as error:
                if "absent" not in error.data:
                    raise
                absent: list[str] = error.data["absent"]
            with anyio.CancelScope(deadline=deadline) as waiting:
                await fan_out([partial(self._views.fetch, name) for name in absent])
            if waiting.cancelled_caught:
                raise TimedOut(
                    f"after {seconds:g} seconds the files of dataset {absent[0]!r} were still being copied here.",
                    fix="Ask again in a while: that goes on.",
                )

    async def _run_once(self, request: dict[str, Any], deadline: float, seconds: float, kept: AsyncExitStack) -> _Raw:
        async with AsyncExitStack() as held:
            with anyio.CancelScope(deadline=deadline) as waiting:
                visible = await self._look()
                await held.enter_async_context(self._pool.slots)
            if waiting.cancelled_caught:
                raise TimedOut(
                    f"the query waited {seconds:g} seconds: all {self._settings.workers} query places were taken.",
                    fix="Try again, or raise sql.workers or sql.timeout_secs.",
                )
            with anyio.CancelScope(deadline=deadline + GRACE_SECS):
                worker = await held.enter_async_context(self._pool.worker(visible))
                left = max(0.001, deadline - anyio.current_time())
                return await self._ask(worker, request | {"seconds": left, "limit": seconds}, kept, visible)
        raise TimedOut(
            f"the query took over {seconds:g} seconds.",
            fix="Ask for less, filter earlier, or raise sql.timeout_secs.",
        )

    async def _ask(self, worker: Worker, request: Mapping[str, Any], kept: AsyncExitStack, visible: Visible) -> _Raw:
        spool: _Spool | None = None
        worker.sound = False
        try:
            await worker.child.send(request)
            async with self._views.streams.answering(worker.child, visible.views) as answer:
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
        self._pool.learn(header["verified"])
        self._storage.shelf.used(header["used"])
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

    async def _look(self) -> Visible:
        """The visible set as it is now. Other processes' commits are seen after `sql.refresh_every`.

        Where listing the bucket may take long, only the very first query waits for it.
        """
        now = anyio.current_time()
        due = now - self._looked_at >= self._settings.refresh_secs
        if due and self._visible is not None and self._datasets.remote:
            due = not self._refreshing and not self._start_refresh()
        if not due and self._visible is not None and self._seen == self._newest():
            return self._visible
        async with self._looking:
            if due and now - self._looked_at >= self._settings.refresh_secs:
                await self._refresh()
            newest = self._newest()
            if self._visible is None or self._seen != newest:
                views = await self._views.of(await self._datasets.list())
                self._visible = Visible(self._visible.number + 1 if self._visible else 1, views)
                self._seen = newest
            return self._visible

    def _newest(self) -> tuple[int, int]:
        return self._datasets.generation, self._views.arrivals

    def _start_refresh(self) -> bool:
        """Have the bucket listed meanwhile; False when there is nobody to do it."""
        self._refreshing = self._later(self._refresh_aside)
        return self._refreshing

    async def _refresh_aside(self) -> None:
        try:
            await self._refresh()
        except Exception:  # it is nobody's call, and must not end what it runs beside
            log.exception("sql.refresh_failed the next query tries again")
        finally:
            self._refreshing = False

    async def _refresh(self) -> None:
        self._looked_at = anyio.current_time()
        try:
            await self._datasets.refresh()
        except Upstream:
            # Versions that are known stay whole and true, if perhaps no longer the newest.
            if self._visible is None:
                self._looked_at = float("-inf")
                raise

    async def _explain_missing(self, name: str) -> None:
        """Raises what is wrong with a dataset that is there and cannot be shown."""
        try:
            await self._datasets.get(name)
        except Upstream:
            raise
        except LakehouseError:
            return


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
