"""The process behind a desk: trusted statements over given files, written files in one folder, nothing else."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lakehouse.engine import child, files
from lakehouse.errors import InvalidInput, LakehouseError, TooLarge, Upstream

LOADS = tuple(f"lakehouse.engine.{name}" for name in ("arrow_json", "connection", "holding", "ingest.parquet"))
_BESIDE_BYTES = 2 * 2**30  # of address space, beside what the engine may use: libraries reserve half of it


def main() -> None:
    """Work until the parent goes away."""
    setup, requests, reply = child.serve()
    os.chdir(setup["folder"])
    child.bound(setup["max_bytes"])
    if setup["nice"] and hasattr(os, "nice"):
        os.nice(setup["nice"])
    failed: LakehouseError | None = None
    try:
        with _translated():
            work = _Work(setup)
    except LakehouseError as error:
        failed = error
    for request, _ in requests:
        try:
            if failed is not None:
                raise failed
            with _translated():
                answer = work.rows(**request) if request.pop("do") == "rows" else work.write(**request)
        except LakehouseError as error:
            answer = child.error_frame(error)
        reply(answer)


class _Work:
    def __init__(self, setup: dict[str, Any]) -> None:
        from lakehouse.engine.connection import connect
        from lakehouse.engine.holding import Held
        from lakehouse.engine.quoting import identifier, literal
        from lakehouse.engine.relation import Part, relation, scan
        from lakehouse.engine.sql.request import bytes_of

        folder = setup["folder"]
        self._max_bytes = setup["max_bytes"]
        self._address_space = bytes_of(setup["memory_limit"]) + _BESIDE_BYTES
        spill = os.path.join(folder, "spill")
        self._db = connect(setup["threads"], setup["memory_limit"], spill, max_expression_depth="250")
        tables = {
            name: ([Part(path, role, tuple(lacks)) for path, role, lacks in t["parts"]], t["columns"], t["key"])
            for name, t in setup["tables"].items()
        }
        self._held = Held()  # as long as the process is there
        for parts, _, _ in tables.values():
            for part in parts:
                self._held.take(part.path)
        paths = ", ".join(literal(part.path) for parts, _, _ in tables.values() for part in parts)
        for setting in (
            "TimeZone = 'UTC'",
            f"allowed_paths = [{paths}]",
            f"allowed_directories = [{literal(folder)}]",
            "enable_external_access = false",
        ):
            self._db.execute(f"SET {setting}")
        for name, (parts, columns, key) in tables.items():
            query = relation(parts, columns, key) if columns else f"SELECT * FROM {scan(parts)}"
            self._db.execute(f"CREATE SECURE VIEW {identifier(name)} AS {query}")
        self._db.execute("SET lock_configuration = true")
        self._names = set(tables)

    def rows(self, sql: str, params: list[Any], foreign: bool, conditions: dict[str, str]) -> dict[str, Any]:
        from lakehouse.engine.arrow_json import rows_of

        self._check(conditions)
        relation = self._db.sql(self._judged(sql, foreign), params=params or None)
        types = [str(kind) for kind in relation.types]
        return {"rows": rows_of(list(relation.to_arrow_reader(2048)), None, types)}

    def write(self, sql: str, name: str, foreign: bool, conditions: dict[str, str]) -> dict[str, Any]:
        from lakehouse.engine.ingest.engine import ROW_GROUP
        from lakehouse.engine.ingest.parquet import written_columns
        from lakehouse.engine.quoting import literal

        self._check(conditions)
        done = self._db.execute(
            f"COPY ({self._judged(sql, foreign)}) TO {literal(name)} (FORMAT parquet, COMPRESSION zstd,"
            f" COMPRESSION_LEVEL 3, ROW_GROUP_SIZE {ROW_GROUP}, USE_TMP_FILE false)"
        ).fetchall()
        path = Path(name)
        return {
            "row_count": int(done[0][0]),
            "bytes": path.stat().st_size,
            "sha256": files.sha256_of(path),
            "columns": written_columns(path),
        }

    def _check(self, conditions: dict[str, str]) -> None:
        """Raises InvalidInput for a text that would reach beyond the brackets it is put in."""
        from lakehouse.engine.sql.gate import check_nesting

        for name, text in conditions.items():
            check_nesting(text)
            # With brackets around it `1) = (2` is an expression, too; without them no bracket may be left over.
            forms = [self._parsed(f"SELECT {form}") for form in (f"({text}\n)", f"{text}\n")]
            if not all(map(_is_condition, forms)):
                reason = next((str(form["error_message"]) for form in forms if form.get("error_message")), "")
                reason = reason.split("\n")[0][:300].rstrip(".")
                raise InvalidInput(
                    f"{name}: it is not a condition{f': {reason}' if reason else ''}.",
                    fix="Write it as after WHERE, for instance: city = 'Oslo' AND price < 10.",
                )

    def _parsed(self, sql: str) -> dict[str, Any]:
        ((text,),) = self._db.execute(
            "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true)", [sql]
        ).fetchall()
        tree: dict[str, Any] = json.loads(text)
        return tree

    def _judged(self, sql: str, foreign: bool) -> str:
        if not foreign:
            return sql
        # Texts that one call makes are no part of what memory_limit counts.
        child.bound(self._max_bytes, self._address_space)
        from lakehouse.engine.sql.gate import Gate
        from lakehouse.engine.sql.names import folded

        verdict = Gate().judge(sql)
        known = {folded(name) for name in self._names}
        for table in verdict.tables:
            if folded(table) not in known:
                raise InvalidInput(f"sql: there is no table {table[:200]!r} here.", fix="Name the dataset itself.")
        return verdict.text


def _is_condition(tree: dict[str, Any]) -> bool:
    """Whether a parsed SELECT of a text is one expression and nothing else."""
    nodes = [statement.get("node", {}) for statement in tree.get("statements", ())]
    return (
        not tree.get("error")
        and len(nodes) == 1
        and nodes[0].get("type") == "SELECT_NODE"
        and len(nodes[0].get("select_list", ())) == 1
        and nodes[0].get("from_table", {}).get("type") == "EMPTY"
        and not set(nodes[0]) & {"where_clause", "group_expressions", "having", "qualify", "modifiers", "sample"}
    )


@contextmanager
def _translated() -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError):
        raise TooLarge("the work takes more memory than it may.", fix="Raise ingest.memory_limit.") from None
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise TooLarge("the work takes more memory than it may.", fix="Raise ingest.memory_limit.") from None
        raise Upstream(
            f"the disk of the data directory failed: {os.strerror(error.errno or 0)}.", fix="Make room, and try again."
        ) from error
    except duckdb.IOException as error:
        full = any(os.strerror(n) in str(error) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
        what = "the disk of the data directory is full" if full else "a data file cannot be read"
        raise Upstream(f"{what}.", fix="Make room, or restore the file from a backup.") from error
    except duckdb.Error as error:
        reason = (str(error).splitlines() or [""])[0][:300].rstrip(".")
        raise InvalidInput(f"sql: {reason}.", fix="Check the names and the types of the columns.") from error


if __name__ == "__main__":
    main()
