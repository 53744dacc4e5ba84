"""The gate: decides from the parse tree, before anything is bound or opened, whether a text is one read statement."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.engine.connection import connect
from lakehouse.engine.quoting import literal
from lakehouse.engine.sql.names import folded
from lakehouse.errors import InvalidInput, LakehouseError, TooLarge, did_you_mean

# Whatever is in none of these sets is refused: a new DuckDB may bring nodes that write (2.0 brought COPY_QUERY_NODE,
# INSERT_QUERY_NODE and EXECUTE_QUERY_NODE, which stand inside a SELECT as a CTE).
QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
TABLES = frozenset(
    {"BASE_TABLE", "TABLE_FUNCTION", "SHOW_REF", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "PIVOT"}
)
PARTS = frozenset(
    {
        *("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "LEGACY_LIMIT_PERCENT_MODIFIER"),
        *("DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING", "DESCENDING"),
    }
)
EXPRESSIONS = frozenset(
    {
        *("COLUMN_REF", "CONSTANT", "STAR", "FUNCTION", "WINDOW", "SUBQUERY", "TYPE", "CAST", "LAMBDA", "OPERATOR"),
        *("COMPARISON", "CONJUNCTION", "BETWEEN", "CASE", "COLLATE", "PARAMETER", "POSITIONAL_REFERENCE"),
    }
)
MAX_NESTING = 500  # of brackets: the parser takes gigabytes for thousands of open ones (6,000: 3 GB)
# Matched one after the other, never as one repeated group: that takes a text of comments quadratic time, and its
# possessive form, which would not, finds nothing on Python 3.11.2 and 3.11.3.
_BLANK = re.compile(r"\s+|--[^\n]*\n|/\*.*?\*/", re.S)
_EXPLAIN = re.compile(r"EXPLAIN\s+(?=(?:SELECT|WITH|FROM|VALUES)\b)", re.I)

ONE_READ = "Only one SELECT-like statement runs here (SELECT, WITH, FROM, VALUES, DESCRIBE, SUMMARIZE, EXPLAIN SELECT)."
_FILES = "Files are not readable from SQL: ingest_file makes a dataset of one."
_COMPUTE = "Functions that compute from their arguments are; those that read settings, files or state are not."
_INSTEAD = {
    "COPY": "ingest_file stores data; a large answer comes with a result handle.",
    "INSERT": "ingest_file stores data.",
    "CREATE": "Use WITH name AS (…) for what you need within the query; ingest_file stores data.",
    "MULTI": "For PIVOT list the values: PIVOT t ON k IN ('a', 'b') USING sum(v).",
    "EXPLAIN": "EXPLAIN takes no options and only SELECT, WITH, FROM or VALUES.",
}
# What other dialects call by names that are not here, as it is written in ours.
_ELSEWHERE = {
    name: instead
    for names, instead in {
        "to_char date_format format_date from_unixtime": "strftime(value, '%Y-%m-%d')",
        "to_date str_to_date parse_date": "strptime(text, '%d/%m/%Y')::DATE, or text::DATE",
        "dateadd": "value + INTERVAL 3 DAY",
        "timestampdiff timestamp_diff": "date_diff('day', earlier, later)",
        "getdate sysdate curdate": "now() or current_date",
        "unix_timestamp": "epoch(value)",
        "iff nvl2": "CASE WHEN … THEN … ELSE … END",
        "nvl isnull": "coalesce(value, other)",
        "safe_cast to_number try_to_number": "TRY_CAST(value AS DOUBLE)",
        "safe_divide": "a / nullif(b, 0)",
        "charindex locate": "strpos(text, part)",
        "substring_index": "split_part(text, separator, 1)",
        "initcap": "upper(text[1]) || lower(text[2:])",
        "regexp_like rlike": "regexp_matches(text, pattern)",
        "regexp_substr": "regexp_extract(text, pattern)",
        "regexp_count": "len(regexp_extract_all(text, pattern))",
        "json_extract_scalar get_json_object json_unquote json_query": "value->>'$.path'",
        "parse_json": "text::JSON",
        "object_keys": "json_keys(value)",
        "array_size size": "len(list)",
        "array_join": "array_to_string(list, ', ')",
        "collect_list collect_set": "list(value), list(DISTINCT value)",
        "explode posexplode": "unnest(list)",
        "sequence generate_array generate_date_array": "generate_series(first, last, step)",
        "percentile": "quantile_cont(value, 0.9)",
        "percentile_approx approx_percentile": "approx_quantile(value, 0.9)",
        "truncate": "trunc(value)",
        "width_bucket": "least(floor((value - low) / (high - low) * n), n - 1)",
        "pg_typeof": "typeof(value)",
        "setseed": "USING SAMPLE 10 ROWS REPEATABLE (seed)",
    }.items()
    for name in names.split()
}


def read_lists(text: str) -> Mapping[str, frozenset[str]]:
    """The function lists by section; `#` starts a comment line."""
    lists: dict[str, set[str]] = {}
    section: set[str] = set()
    for line in text.splitlines():
        if re.fullmatch(r"\[\w+\]", line):
            section = lists.setdefault(line[1:-1], set())
        elif not line.startswith("#"):
            section.update(folded(name) for name in line.split())
    return {name: frozenset(names) for name, names in lists.items()}


_LISTS = read_lists(Path(__file__).with_name("functions.txt").read_text(encoding="utf-8"))
TABLE_FUNCTIONS = _LISTS["table"]
FUNCTIONS = _LISTS["scalar"] | _LISTS["aggregate"] | _LISTS["window"]

Scope = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Verdict:
    """A text that may run, provided that every one of `tables` is a dataset the caller may see."""

    text: str
    tables: tuple[str, ...]
    body: str = ""  # the text without an EXPLAIN before it


class Gate:
    """Judges texts on an empty, locked DuckDB of its own: nothing is bound, no file is looked at."""

    def __init__(self) -> None:
        shut = {"max_expression_depth": "250", "enable_external_access": "false", "lock_configuration": "true"}
        self._empty = connect(1, "512MB", **shut)
        # Planned once (0.14 ms in place of 0.30), which naming $1 twice would undo.
        self._empty.execute(
            "PREPARE tree AS SELECT json_serialize_sql(t, skip_null := true, skip_empty := true), t "
            "FROM (SELECT $1::VARCHAR AS t)"
        )
        self.judge = lru_cache(maxsize=256)(self._judge)

    def _judge(self, sql: str) -> Verdict:
        """What may run for this text. Raises InvalidInput saying what is not allowed and what is.

        Raises TooLarge when even reading the text takes too much memory.
        """
        check_nesting(sql)
        explain = _EXPLAIN.match(sql, start_of(sql))
        body = sql[explain.end() :] if explain else sql
        tree = self._tree(body)
        walk = _Walk()
        try:
            walk.visit(tree, frozenset())
        except RecursionError:
            raise _too_deep() from None
        # The text that runs is the text that was judged: the EXPLAIN is put back by us, whatever stood before it.
        return Verdict(f"EXPLAIN {body}" if explain else body, tuple(walk.tables), body)

    def _tree(self, sql: str) -> Any:
        try:
            # Unlike extract_statements this releases the interpreter lock, so that the process can be told to end.
            found = self._empty.execute(f"EXECUTE tree({literal(sql)})").fetchone()
            if found is None or found[1] != sql:
                raise ValueError("another text was read")  # what cannot be read cannot be judged
            parsed: dict[str, Any] = json.loads(found[0])
        except RecursionError:
            raise _too_deep() from None
        except (MemoryError, duckdb.OutOfMemoryException):
            raise _too_heavy() from None
        except Exception as error:  # fail closed: what cannot be read cannot be judged
            raise InvalidInput(f"sql: it cannot be read ({type(error).__name__}).", fix=ONE_READ) from error
        if parsed.get("error"):
            raise self._unreadable(sql, parsed)
        statements = parsed.get("statements", [])
        if len(statements) != 1:
            what = f"there are {len(statements)} statements" if statements else "there is no statement"
            raise InvalidInput(f"sql: {what}.", fix=ONE_READ)
        return statements[0]

    def _unreadable(self, sql: str, answer: Mapping[str, Any]) -> LakehouseError:
        kind, message = answer.get("error_type"), str(answer.get("error_message", ""))
        if kind == "out of memory":
            return _too_heavy()
        if "expression depth" in message:
            return _too_deep()
        if kind == "not implemented" and message.startswith("Only SELECT"):
            name = self._kind_of(sql)
            return InvalidInput(
                f"sql: {name} is not a read statement." if name else "sql: this is not a read statement.",
                fix=" ".join(filter(None, [_INSTEAD.get(name), ONE_READ])),
            )
        where = answer.get("position")
        at = f" at character {int(where) + 1}" if isinstance(where, str) and where.isdigit() else ""
        return InvalidInput(
            f"sql: {message.splitlines()[0][:500] if message else 'it cannot be read'}{at}.", fix=_near(sql, where)
        )

    def _kind_of(self, sql: str) -> str:
        try:
            kinds = [statement.type.name for statement in self._empty.extract_statements(sql)]
        except Exception:  # 2.0 knows statements (CONNECT) that its own binding cannot name
            return ""
        return kinds[0] if len(kinds) == 1 else ""


class _Walk:
    """Visits every node of a parse tree; gathers the tables that are no CTE in scope."""

    def __init__(self) -> None:
        self.tables: dict[str, None] = {}

    def visit(self, node: Any, scope: Scope) -> None:
        if isinstance(node, list):
            for item in node:
                self.visit(item, scope)
        elif isinstance(node, dict):
            self._visit(node, scope)

    def _visit(self, node: Mapping[str, Any], scope: Scope) -> None:
        kind, group = node.get("type"), node.get("class")
        if group is not None:
            if group not in EXPRESSIONS:
                raise _refused(f"{group} expressions are")
            if group in {"FUNCTION", "WINDOW"}:
                self._function(node, FUNCTIONS)
            elif group == "TYPE" and len(_path(node)) > 1:
                raise InvalidInput(f"sql: there is no type {'.'.join(_path(node))[:200]}.", fix="Types have no schema.")
        elif isinstance(kind, str):
            if kind in QUERIES:
                return self._query(node, scope)
            if kind not in TABLES and kind not in PARTS:
                raise _refused(f"{kind.removesuffix('_QUERY_NODE').removesuffix('_NODE')} within a query is")
            if kind == "BASE_TABLE":
                self._table(node, scope)
            elif kind == "SHOW_REF" and ("query" not in node or _path(node)):
                raise InvalidInput(
                    "sql: SHOW is not allowed.", fix="list_datasets lists them; DESCRIBE name shows one."
                )
            elif kind == "TABLE_FUNCTION":
                function = node.get("function")
                if not isinstance(function, dict) or function.get("class") != "FUNCTION":
                    raise _refused("this table function is")
                self._function(function, TABLE_FUNCTIONS)
                self._rest(function, scope)
                return self._rest(node, scope, but=("function",))
        self._rest(node, scope)

    def _rest(self, node: Mapping[str, Any], scope: Scope, but: tuple[str, ...] = ()) -> None:
        for key, value in node.items():
            if key not in but:
                self.visit(value, scope)

    def _query(self, node: Mapping[str, Any], scope: Scope) -> None:
        """A name is in scope for the CTEs after it and for the body, never for itself unless it is recursive."""
        for entry in node.get("cte_map", {}).get("map", ()):
            self.visit(entry["value"], scope)
            scope |= {(folded(entry["key"]),)}
        if node["type"] == "RECURSIVE_CTE_NODE":
            name = folded(node["cte_name"])
            self.visit(node.get("right"), scope | {(name,), ("recurring", name)})
            return self._rest(node, scope, but=("cte_map", "right"))
        self._rest(node, scope, but=("cte_map",))

    def _table(self, node: Mapping[str, Any], scope: Scope) -> None:
        path = _path(node)
        if tuple(folded(part) for part in path) in scope:
            return
        if len(path) != 1:
            raise InvalidInput(
                f"sql: there is no table {'.'.join(path)[:200] or '(unnamed)'}.",
                fix="Datasets have no schema: write the name alone, in double quotes where it is not a plain word.",
            )
        self.tables[path[0]] = None

    def _function(self, node: Mapping[str, Any], allowed: frozenset[str]) -> None:
        path = _path(node)
        names = {folded(path[-1]) if path else "", folded(str(node.get("function_name", "")))}
        if not names <= allowed or node.get("export_state"):
            name = path[-1][:100] if path else "(unnamed)"
            if instead := _ELSEWHERE.get(folded(name)):
                raise InvalidInput(f"sql: there is no function {name}.", fix=f"In this dialect: {instead}.")
            fix = _FILES if allowed is TABLE_FUNCTIONS else _COMPUTE
            near = did_you_mean(folded(name), allowed, "")
            raise InvalidInput(f"sql: the function {name} is unknown or not allowed.", fix=f"{near} {fix}".strip())


def _path(node: Mapping[str, Any]) -> list[str]:
    return list(node.get("qualified_name", {}).get("path", ()))


def start_of(sql: str) -> int:
    """Where a text begins, past blanks and comments."""
    position = 0
    while blank := _BLANK.match(sql, position):
        position = blank.end()
    return position


def check_nesting(sql: str) -> None:
    """Raises InvalidInput for a text with too many open brackets to be parsed."""
    if sum(sql.count(bracket) for bracket in "([{") <= MAX_NESTING:
        return
    depth = 0
    for character in sql:
        if character in "([{":
            depth += 1
            if depth > MAX_NESTING:
                raise _too_deep()
        elif character in ")]}":
            depth -= 1


def _near(sql: str, where: Any) -> str:
    if not isinstance(where, str) or not where.isdigit():
        return ""
    at = len(sql.encode()[: int(where)].decode(errors="ignore"))
    return f"Near: {sql[max(0, at - 30) : at + 30].strip()!r}"


def _refused(what: str) -> InvalidInput:
    return InvalidInput(f"sql: {what} not allowed.", fix=ONE_READ)


def _too_deep() -> InvalidInput:
    return InvalidInput("sql: it is nested too deeply.", fix="Split it with WITH, or send long lists as params.")


def _too_heavy() -> TooLarge:
    return TooLarge(
        "sql: reading the statement took more memory than a query process has.",
        fix="Shorten it; sql.address_space is the limit.",
    )
