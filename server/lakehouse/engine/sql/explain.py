"""What a statement would do, or did: its plan as text, and what it reads of which dataset."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from lakehouse.engine.sql.footers import Scan, most_read
from lakehouse.engine.sql.gate import start_of
from lakehouse.engine.sql.instance import View
from lakehouse.errors import InvalidInput

BIG = 1_000_000  # rows; reading fewer takes some hundredths of a second
_READABLE = re.compile(r"(?:SELECT|WITH|FROM|VALUES)\b", re.I)
_WITHOUT = {"Function", "Estimated Cardinality", "Total Files Read", "Text", "View"}
_ALL_PAIRS = {"CROSS_PRODUCT", "NESTED_LOOP_JOIN", "BLOCKWISE_NL_JOIN"}
_WRAPPERS = {"RESULT_COLLECTOR", "EXPLAIN_ANALYZE"}
_LONGEST = 200  # characters of one particular: a list of a thousand values says nothing more

Node = Mapping[str, Any]


def explained(
    cursor: duckdb.DuckDBPyConnection,
    body: str,
    request: Mapping[str, Any],
    views: Sequence[View],
    hidden: Sequence[str],
) -> tuple[dict[str, Any], bytes]:
    """A header, and as JSON the plan with what it reads; after running it when the request says `analyze`.

    Raises InvalidInput for what has no plan (DESCRIBE, SUMMARIZE, a bare PIVOT).
    """
    if not _READABLE.match(body, start_of(body)):
        raise InvalidInput(
            "sql: only SELECT, WITH, FROM and VALUES are explained.", fix="Put another statement behind FROM (…)."
        )
    analyze = request["explain"]["analyze"]
    how = "ANALYZE, FORMAT json" if analyze else "FORMAT json"
    found = cursor.execute(f"EXPLAIN ({how}) {body}", request["params"] or None).fetchall()
    tree = json.loads(found[0][1])
    roots: Sequence[Node] = tree["operator"] if analyze else tree
    nodes = [(node, depth) for root in roots for node, depth in _below(root, 0)]
    reads = most_read(views, [_scan(node) for node, _ in nodes if _reads(node)])
    explanation: dict[str, Any] = {
        "plan": "\n".join(_line(node, depth, analyze, hidden) for node, depth in nodes),
        "reads": reads,
        "hints": list(_hints(nodes, views, reads)),
    }
    if analyze:
        explanation["ran"] = _ran(tree, nodes)
    return {}, json.dumps(explanation).encode()


def _below(node: Node, depth: int) -> Iterator[tuple[Node, int]]:
    wrapper = _name(node) in _WRAPPERS
    if not wrapper:
        yield node, depth
    for child in node.get("children", ()):
        yield from _below(child, depth if wrapper else depth + 1)


def _name(node: Node) -> str:
    return str(node.get("name") or node.get("type") or "").strip()


def _info(node: Node) -> Mapping[str, Any]:
    return node.get("extra_info") or {}


def _reads(node: Node) -> bool:
    return _info(node).get("Function") == "READ_PARQUET" or _name(node) == "READ_PARQUET"


def _texts(value: Any) -> list[str]:
    return [text for text in ([value] if isinstance(value, str) else list(value or ())) if text]


def _scan(node: Node) -> Scan:
    info = _info(node)
    return Scan(tuple(_texts(info.get("Projections"))), tuple(_texts(info.get("Filters"))))


def _line(node: Node, depth: int, analyze: bool, hidden: Sequence[str]) -> str:
    title = "Scan" if _reads(node) else _name(node).replace("_", " ").title()
    parts = [
        f"{key.lower()}: {_cut(', '.join(_texts(value)))}"
        for key, value in _info(node).items()
        if key not in _WITHOUT and "file" not in key.lower() and _texts(value)
    ]
    expected = _info(node).get("Estimated Cardinality")
    if analyze:
        parts.append(f"{node.get('intermediate_rows', 0):,} rows, {node.get('timing', 0) * 1000:.2f} ms")
    elif expected is not None:
        parts.append(f"about {int(expected):,} rows")
    # A value of the statement may look like anything; a path of ours it is not.
    line = re.sub(r"\s+", " ", f"{title}: {'; '.join(parts)}" if parts else title)
    for folder in hidden:
        line = re.sub(re.escape(folder) + r"[^\s'\"]*", "(a data file)", line)
    return "  " * depth + line


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _ran(tree: Mapping[str, Any], nodes: Sequence[tuple[Node, int]]) -> dict[str, Any]:
    """What running it took. Operators' times add up over threads."""
    query = tree.get("query", {})
    return {
        "elapsed_ms": round(query.get("total_time", 0) * 1000, 3),
        "rows": nodes[0][0].get("intermediate_rows", 0) if nodes else 0,
        "rows_read": query.get("total_rows_scanned", 0),
        "row_groups_read": query.get("total_row_groups_scanned", 0),
        "row_groups": query.get("total_row_groups_to_scan", 0),
        "bytes_read": tree.get("io", {}).get("total_bytes_read", 0),
        "peak_memory": tree.get("system", {}).get("peak_buffer_memory", 0),
        "operators": [
            {
                "operator": "Scan" if _reads(node) else _name(node).replace("_", " ").title(),
                "rows": node.get("intermediate_rows", 0),
                "ms": round(node.get("timing", 0) * 1000, 3),
            }
            for node, _ in nodes
        ],
    }


def _hints(
    nodes: Sequence[tuple[Node, int]], views: Sequence[View], reads: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    names = {_name(node) for node, _ in nodes}
    if names & _ALL_PAIRS:
        yield "Every row of one side meets every row of the other (a cross join): join on equal columns if you can."
    limited = any("LIMIT" in name for name in names)
    for view, read in zip(views, reads, strict=True):
        if read["rows"] >= BIG and not read["filtered"] and not limited:
            yield f"All {read['rows']:,} rows of {view.name!r} are read: there is no filter on it."
        elif read["rows"] >= BIG and read["filtered"] and read["rows"] == read["total_rows"]:
            yield f"The filter on {view.name!r} skips no part of its files: every row is checked."
