"""What a query process keeps between queries: the gate, the current instance, the files it has verified."""

import contextlib
import math
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import duckdb

from lakehouse.engine.relation import Part
from lakehouse.engine.sql.answer import Caps, Send, answer
from lakehouse.engine.sql.explain import explained
from lakehouse.engine.sql.gate import Gate
from lakehouse.engine.sql.instance import Files, Instance, Limits, View
from lakehouse.engine.sql.refusals import ours
from lakehouse.engine.sql.remote import RANGES
from lakehouse.errors import LakehouseError

# The last part of the time is for finishing a file of rows that is cut: a cut one beats none.
WRITING_SHARE = 0.9
OTHERS = 4  # beside the one over the newest versions; each takes about 25 ms to make and 10 MB
_AGAIN_SECS = 0.1  # an interrupt before the engine is at work is lost


class Key(NamedTuple):
    """What an instance was made of: its views (None: the newest versions) and their files, its memory, its kind."""

    views: tuple[tuple[str, tuple[str, ...]], ...] | None
    memory: str
    open: bool


class Session:
    """Judges and runs one statement after another."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._limits = Limits(**setup["limits"])
        self._folder: str = setup["folder"]
        self._hidden: list[str] = setup["hidden"]
        self._files = Files(setup["verified"])
        self._gate = Gate()
        self._clock = _Clock()
        self._views: Sequence[Mapping[str, Any]] = setup["views"]
        self._instance = self._over(self._views)
        self._others: OrderedDict[Key, Instance] = OrderedDict()

    def load(self, views: Sequence[Mapping[str, Any]]) -> None:
        """See another set of datasets from now on."""
        self._instance.close()
        for key in [key for key in self._others if key.views is None]:
            self._others.pop(key).close()
        self._views = views
        self._instance = self._over(views)

    def tables(self, sql: str) -> list[str]:
        """The tables a statement names. Raises a LakehouseError."""
        return list(self._gate.judge(sql).tables)

    def run(self, request: Mapping[str, Any], send: Send) -> tuple[dict[str, Any], bytes]:
        """The header of the answer and its rows as JSON; pieces of a file of all rows are sent before.

        Of a request to `explain` the rows are the explanation. Raises a LakehouseError.
        """
        began = time.monotonic()
        RANGES.asking(send)
        seconds: float = request["seconds"]
        verdict = self._gate.judge(request["sql"])
        instance: Instance | None = None
        cursor: duckdb.DuckDBPyConnection | None = None
        try:
            instance = self._instance_for(request)
            cursor = instance.cursor()
            with self._clock.ending(cursor, began + seconds):
                views = instance.show(verdict.tables, began + seconds)
                if "explain" in request:
                    header, rows = explained(cursor, verdict.body, request, views, self._hidden)
                else:
                    header, rows = answer(
                        cursor,
                        verdict.text,
                        request["params"],
                        Caps(**request["caps"]),
                        began + WRITING_SHARE * seconds,
                        send,
                    )
        except Exception as error:  # DuckDB, Arrow and the allocator fail in many ways; all are the query's
            columns = instance.columns_of(verdict.tables) if instance else ()
            known = ours(error, request["sql"], columns, self._hidden, request["limit"])
            if type(known) is LakehouseError:
                traceback.print_exception(error)  # to stderr: the caller is told nothing of it
            raise known from error
        finally:
            if cursor is not None:
                with contextlib.suppress(duckdb.Error):  # a connection whose query failed may refuse to close
                    cursor.close()
            used = instance.held.names if instance else []
            if instance:
                instance.held.release()
        fresh, self._files.fresh = self._files.fresh, {}
        header |= {
            "read": [[view.dataset, view.version] for view in views],
            "verified": fresh,
            "used": used,
            "elapsed_ms": round((time.monotonic() - began) * 1000, 3),
        }
        return header, rows

    def _instance_for(self, request: Mapping[str, Any]) -> Instance:
        """The one over the newest versions; or one over these, with this memory, of which a few are kept."""
        past, memory = request.get("past"), request.get("memory", self._limits.memory)
        open = "explain" in request
        if past is None and memory == self._limits.memory and not open:
            return self._instance
        files = (
            None if past is None else tuple((view["name"], tuple(file[0] for file in view["files"])) for view in past)
        )
        key = Key(files, memory, open)
        found = self._others.pop(key, None)
        if found is None:
            while len(self._others) >= OTHERS:
                self._others.popitem(last=False)[1].close()
            found = self._over(self._views if past is None else past, memory, open)
        self._others[key] = found
        return found

    def _over(self, views: Sequence[Mapping[str, Any]], memory: str | None = None, open: bool = False) -> Instance:
        listed = [
            View(
                name=view["name"],
                files=tuple((Part(path, role, tuple(lacks)), sha256) for path, sha256, role, lacks in view["files"]),
                key=tuple(view.get("key", ())),
                columns=tuple(view.get("columns", ())),
                problem=view.get("problem", ""),
                absent=view.get("absent", False),
                dataset=view["dataset"],
                version=view["version"],
            )
            for view in views
        ]
        for view in views:
            RANGES.sizes.update({name: place[2] for name, place in view.get("streams", {}).items()})
        limits = self._limits if memory is None else replace(self._limits, memory=memory)
        return Instance(listed, limits, self._folder, self._files, open=open)


class _Clock:
    """Interrupts a query whose time is up.

    One thread for all queries: to start one for each takes as long as a small query.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: tuple[float, duckdb.DuckDBPyConnection] | None = None
        self._wakes = math.inf
        threading.Thread(target=self._watch, daemon=True).start()

    @contextlib.contextmanager
    def ending(self, cursor: duckdb.DuckDBPyConnection, at: float) -> Iterator[None]:
        """Within the block, interrupt this connection from `at` (time.monotonic() seconds) on."""
        with self._changed:
            self._running = (at, cursor)
            if at < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._running = None

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                if self._running is not None and self._running[0] <= now:
                    _, cursor = self._running
                    with contextlib.suppress(duckdb.Error):  # it may be closed by now
                        cursor.interrupt()
                    self._running = (now + _AGAIN_SECS, cursor)
                self._wakes = self._running[0] if self._running is not None else math.inf
                # Later queries end later, so that it is rarely woken for one.
                self._changed.wait(self._wakes - now if self._wakes < math.inf else None)
