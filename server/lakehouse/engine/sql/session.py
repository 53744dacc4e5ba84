"""What a query process keeps between queries: the gate, the current instance, the files it has verified."""

import contextlib
import math
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from lakehouse.engine.relation import Part
from lakehouse.engine.sql.answer import Caps, Send, answer
from lakehouse.engine.sql.gate import Gate
from lakehouse.engine.sql.instance import Files, Instance, Limits, View
from lakehouse.engine.sql.refusals import ours
from lakehouse.engine.sql.remote import Ranges
from lakehouse.errors import LakehouseError

# The last part of the time is for finishing a file of rows that is cut: a cut one beats none.
WRITING_SHARE = 0.9
_AGAIN_SECS = 0.1  # an interrupt before the engine is at work is lost


class Session:
    """Judges and runs one statement after another."""

    def __init__(self, setup: Mapping[str, Any], ranges: Ranges) -> None:
        self._ranges = ranges
        self._limits = Limits(**setup["limits"])
        self._folder: str = setup["folder"]
        self._hidden: list[str] = setup["hidden"]
        self._files = Files(setup["verified"])
        self._gate = Gate()
        self._clock = _Clock()
        self._instance = self._over(setup["views"])

    def load(self, views: Sequence[Mapping[str, Any]]) -> None:
        """See another set of datasets from now on."""
        self._instance.close()
        self._instance = self._over(views)

    def run(self, request: Mapping[str, Any], send: Send) -> tuple[dict[str, Any], bytes]:
        """The header of the answer and its rows as JSON; pieces of a file of all rows are sent before.

        Raises a LakehouseError.
        """
        began = time.monotonic()
        self._ranges.asking(send)
        seconds: float = request["seconds"]
        verdict = self._gate.judge(request["sql"])
        cursor = self._instance.cursor()
        try:
            with self._clock.ending(cursor, began + seconds):
                self._instance.show(verdict.tables, began + seconds)
                header, rows = answer(
                    cursor,
                    verdict.text,
                    request["params"],
                    Caps(**request["caps"]),
                    began + WRITING_SHARE * seconds,
                    send,
                )
        except Exception as error:  # DuckDB, Arrow and the allocator fail in many ways; all are the query's
            columns = self._instance.columns_of(verdict.tables)
            known = ours(error, request["sql"], columns, self._hidden, request["limit"])
            if type(known) is LakehouseError:
                traceback.print_exception(error)  # to stderr: the caller is told nothing of it
            raise known from error
        finally:
            with contextlib.suppress(duckdb.Error):  # a connection whose query failed may refuse to close
                cursor.close()
            used = self._instance.held.names
            self._instance.held.release()
        fresh, self._files.fresh = self._files.fresh, {}
        return header | {
            "verified": fresh,
            "used": used,
            "elapsed_ms": round((time.monotonic() - began) * 1000, 3),
        }, rows

    def _over(self, views: Sequence[Mapping[str, Any]]) -> Instance:
        listed = [
            View(
                name=view["name"],
                files=tuple((Part(path, role, tuple(lacks)), sha256) for path, sha256, role, lacks in view["files"]),
                key=tuple(view.get("key", ())),
                columns=tuple(view.get("columns", ())),
                problem=view.get("problem", ""),
                absent=view.get("absent", False),
            )
            for view in views
        ]
        self._ranges.sizes = {name: place[2] for view in views for name, place in view.get("streams", {}).items()}
        return Instance(listed, self._limits, self._folder, self._files, self._ranges)


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
