"""The query process: no environment, bounded memory, one query at a time. Its parent may kill it at any moment."""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from lakehouse.engine import child
from lakehouse.errors import LakehouseError, TooLarge


def main() -> None:
    """Serve queries until the parent goes away."""
    setup, requests, reply = child.serve()
    bound(setup["address_space"], setup["limits"]["spill_bytes"])
    os.chdir(setup["folder"])
    os.umask(0o077)
    # Imported only now: the limits hold for the libraries, too.
    from lakehouse.engine.sql.gate import Gate
    from lakehouse.engine.sql.instance import Files, Instance, Limits, views_of

    limits = Limits(**setup["limits"])
    files = Files(setup["verified"])
    session = _Session(Gate(), limits, setup["hidden"], files)

    def load(views: Any) -> None:
        session.use(Instance(views_of(views), limits, setup["folder"], files))

    load(setup["views"])
    reply({"ready": True})
    for header, _ in requests:
        if "views" in header:
            load(header["views"])
            continue
        try:
            answer, rows = session.run(header, reply)
            reply(answer, rows)
        except LakehouseError as error:
            reply(child.error_frame(error))
            if isinstance(error, TooLarge):
                os._exit(1)  # what was allocated may not all come back; the parent has another process


def bound(address_space: int, file_size: int) -> None:
    """Limit what this process may take. Where the system has no such limit, what it has holds."""
    if sys.platform == "win32":
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_AS, address_space),
    ):
        # macOS refuses RLIMIT_AS; a stricter limit from outside stays.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


class _Session:
    """The gate and the current instance."""

    def __init__(self, gate: Any, limits: Any, hidden: list[str], files: Any) -> None:
        self._gate = gate
        self._limits = limits
        self._hidden = hidden
        self._files = files
        self._instance: Any = None

    def use(self, instance: Any) -> None:
        if self._instance is not None:
            self._instance.close()
        self._instance = instance

    def run(self, request: Mapping[str, Any], reply: child.Reply) -> tuple[dict[str, Any], bytes]:
        """Judge and run one statement. Raises a LakehouseError."""
        from lakehouse.engine.sql.answer import Caps, answer
        from lakehouse.engine.sql.refusals import ours

        began = time.monotonic()
        seconds: float = request["seconds"]
        verdict = self._gate.judge(request["sql"])
        tables: tuple[str, ...] = verdict.tables
        cursor = self._instance.cursor()
        clock = threading.Timer(max(0.0, began + seconds - time.monotonic()), _interrupt, [cursor])
        clock.daemon = True
        try:
            self._instance.show(tables, began + seconds)
            clock.start()
            # The last tenth is for finishing a file that is cut: a cut one beats none.
            stop_at = began + 0.9 * seconds
            header, rows = answer(cursor, verdict.text, request["params"], Caps(**request["caps"]), stop_at, reply)
        except Exception as error:  # DuckDB, Arrow and the allocator fail in many ways; all are the query's
            known = ours(error, self._instance.columns_of(tables), self._hidden, request["limit"])
            if type(known) is LakehouseError:
                traceback.print_exception(error)  # to stderr: the caller is told nothing of it
            raise known from error
        finally:
            clock.cancel()
            with contextlib.suppress(Exception):  # a connection whose query failed may refuse to close
                cursor.close()
        header["verified"] = self._files.fresh
        self._files.fresh = {}
        header["elapsed_ms"] = round((time.monotonic() - began) * 1000, 3)
        return header, rows


def _interrupt(cursor: Any) -> None:
    with contextlib.suppress(Exception):  # it may be closed by now
        cursor.interrupt()


if __name__ == "__main__":
    main()
