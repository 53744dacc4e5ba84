"""Many files of one schema to one Parquet file, in their order. Runs in the reading process.

Each is read by itself; then those whose columns have other types than all of them together are read once more, so that
a text file's cells are what they would be in one long file: with 007 in the last one, 12 is text in the first.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lakehouse.engine import files
from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.engine import Engine, Report
from lakehouse.engine.ingest.parquet import written_columns
from lakehouse.engine.ingest.partitions import partitions
from lakehouse.engine.quoting import identifier, literal
from lakehouse.errors import InvalidInput, LakehouseError

_WARNED = 20
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_WRITTEN = ("csv", "tsv", "json", "jsonl")  # dates in these are text that looks like one
_SAFE = 10**15  # whole numbers below are safe in a double

ReadFile = Callable[[dict[str, Any], dict[str, Any], Report], dict[str, Any]]


@dataclass
class _Part:
    """One file as it was read."""

    called: str
    source: str
    folder: Path
    answer: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.folder / "data.parquet"

    @property
    def types(self) -> dict[str, str]:
        return {name: kind for name, kind in self.answer["columns"]}


def ingest(setup: dict[str, Any], request: dict[str, Any], report: Report, read: ReadFile) -> dict[str, Any]:
    """Write the files of a request as data.parquet, and answer its facts.

    A file is [path, what it is called, format, SHA-256 or None]; `read` reads one. Raises what that raises, with the
    file's name before it, and InvalidInput naming the file that has other columns, or types that do not go together.
    """
    folder, wanted = Path(setup["folder"]), request["files"]
    reader = _Reader(setup, request, report, read, folder)
    parts = [reader.part(n, request["types"]) for n in range(len(wanted))]
    names = _names(parts, request.get("evolve", False))
    types = {name: _together(name, parts) for name in names}
    for n, part in enumerate(parts):
        other = {name: types[name] for name, kind in part.types.items() if types[name] != kind}
        if other:
            asked = {name: kinds.KIND[kind] for name, kind in other.items()}
            parts[n] = reader.part(n, {**request["types"], **asked})
    os.chdir(folder)
    engine = Engine(parts[0].path, setup["memory_limit"], setup["threads"], report)
    report(92, "putting the files together")
    rows = engine.write(_query(names, parts, request["source_column"]), _row_bytes(parts))
    facts = [
        {"file": part.called, "sha256": source["sha256"], "bytes": source["bytes"], "rows": part.answer["rows"]}
        for part in parts
        for source in (part.answer["source"],)
    ]
    warnings = [f"{part.called}: {warning}" for part in parts for warning in part.answer["warnings"]]
    if len(warnings) > _WARNED:
        warnings = [*warnings[:_WARNED], f"and {len(warnings) - _WARNED} more warnings"]
    return {
        "rows": rows,
        "columns": written_columns(engine.target),
        "warnings": warnings,
        "sha256": files.sha256_of(engine.target),
        "bytes": engine.target.stat().st_size,
        "source": {
            # Of many files, the hash of the list that `sha256sum` would print.
            "sha256": hashlib.sha256("".join(f"{f['sha256']}  {f['file']}\n" for f in facts).encode()).hexdigest(),
            "bytes": sum(f["bytes"] for f in facts),
            "files": facts,
        },
    }


@dataclass
class _Reader:
    setup: dict[str, Any]
    request: dict[str, Any]
    report: Report
    read: ReadFile
    folder: Path

    def part(self, n: int, types: Mapping[str, str]) -> _Part:
        """Read one file into a folder of its own."""
        path, called, source, sha256 = self.request["files"][n]
        folder = self.folder / f"part-{n}"
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        one = {**self.request, "path": path, "filename": called, "source": source, "types": dict(types), "files": None}

        def heard(percent: float, what: str) -> None:
            self.report(90 * (n + percent / 100) / len(self.request["files"]), f"{called}: {what}")

        try:
            answer = self.read({**self.setup, "folder": str(folder)}, one, heard)
        except LakehouseError as error:
            error.detail = f"{called}: {error.detail}"
            error.data = {**error.data, "file": called}
            raise
        if sha256 not in (None, answer["source"]["sha256"]):
            raise InvalidInput(f"{called}: its SHA-256 is not the one it should have.", fix="Copy the file again.")
        for leftover in folder.iterdir():
            if leftover.name != "data.parquet" and not leftover.is_dir():
                leftover.unlink()  # what one file unpacks to must not add up
        return _Part(called, source, folder, answer)


def _names(parts: Sequence[_Part], evolve: bool) -> list[str]:
    """The columns, in the order they first come.

    Raises InvalidInput naming the first file that has others than the first one, unless columns may be added.
    """
    first = parts[0]
    for part in parts[1:] if not evolve else ():
        missing = [name for name in first.types if name not in part.types]
        more = [name for name in part.types if name not in first.types]
        if missing or more:
            told = [f"no {_listed(missing)}"] if missing else []
            told += [f"{_listed(more)} beside"] if more else []
            raise InvalidInput(
                f"{part.called} has other columns than {first.called}: {', and '.join(told)}.",
                fix="Leave it out or mend its header; with evolve=true, columns that a file lacks are null there.",
                data={"file": part.called, "missing": missing, "added": more},
            )
    return list(dict.fromkeys(name for part in parts for name in part.types))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:80]) for name in names[:5]) + (", …" if len(names) > 5 else "")


def _together(name: str, parts: Sequence[_Part]) -> str:
    """The type of a column in all files. Raises InvalidInput for types that have none in common."""
    found: dict[str, _Part] = {}
    having = [part for part in parts if name in part.types]
    for part in having:
        found.setdefault(part.types[name], part)
    if len(found) > 1 and "string" in found:
        found = {}
        for part in having:
            if part.types[name] != "string" or not _empty(part, name):
                found.setdefault(part.types[name], part)
    held = set(found)
    if not held:
        return "string"
    if len(held) == 1:
        return held.pop()
    if held <= set(_WHOLE):
        return "int64"
    if held <= {*_WHOLE, "float", "double"}:
        return "double" if all(_short(part, name) for part in having if part.types[name] in _WHOLE) else "string"
    if held == {"date32[day]", "timestamp[us]"} and not any(part.source in _WRITTEN for part in having):
        return "timestamp[us]"
    if held <= set(kinds.KIND) and not any(part.source == "parquet" for part in having):
        return "string"
    (kind, part), (other, another) = list(found.items())[:2]
    raise InvalidInput(
        f"{another.called}: column {name!r} is {other}, and {kind} in {part.called}.",
        fix="Give one type for it with types=.",
        data={"file": another.called},
    )


def _empty(part: _Part, name: str) -> bool:
    """Whether a column holds nothing: its type is a default then."""
    return all(s is not None and s.has_null_count and s.null_count == rows for s, rows in _statistics(part, name))


def _short(part: _Part, name: str) -> bool:
    found = [s for s, _ in _statistics(part, name) if s is not None]
    return all(not s.has_min_max or (-_SAFE < s.min and s.max < _SAFE) for s in found)


def _statistics(part: _Part, name: str) -> list[tuple[Any, int]]:
    with pq.ParquetFile(part.path) as file:
        groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
        index = next(n for n in range(file.metadata.num_columns) if groups[0].column(n).path_in_schema == name)
        return [(group.column(index).statistics, group.num_rows) for group in groups]


def _query(names: Sequence[str], parts: Sequence[_Part], source_column: str | None) -> str:
    cells = [identifier(name) for name in names]
    added = partitions([part.called for part in parts], names)
    for column in added:
        values = ", ".join("NULL" if value is None else literal(value) for value in column.values)
        cell = f"list_extract(CAST([{values}] AS VARCHAR[]), CAST(file_index AS BIGINT) + 1)"
        cells.append(f"CAST({cell} AS {column.kind}) AS {identifier(column.name)}")
    names = [*names, *(column.name for column in added)]
    kinds.check_names(names, "the files' columns and folders")
    if source_column is not None:
        kinds.check_names([*names, source_column], "source_column and the files' columns")
        called = ", ".join(literal(part.called) for part in parts)
        cells.append(f"[{called}][CAST(file_index AS BIGINT) + 1] AS {identifier(source_column)}")
    # Relative, since the readers expand marks in paths, and the working folder's own may hold some.
    listed = ", ".join(literal(f"part-{n}/data.parquet") for n in range(len(parts)))
    return f"SELECT {', '.join(cells)} FROM read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"


def _row_bytes(parts: Sequence[_Part]) -> int:
    total = rows = 0
    for part in parts:
        with pq.ParquetFile(part.path) as file:
            total += sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
            rows += file.metadata.num_rows
    return total // max(1, rows)
