"""A version read through its base files and deltas is what a dictionary says it is."""

import itertools
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.engine.quoting import identifier
from lakehouse.engine.relation import Part, changes, fresh, marker, relation

Row = dict[str, Any]

KEYS = {
    "int64": st.integers(0, 6),
    "string": st.sampled_from(["", "it's", 'say "x"', "ß", "a\nb", "NULL"]),
    "date32": st.dates(date(2024, 1, 1), date(2024, 1, 4)),
    "bool": st.booleans(),
    "double": st.sampled_from([0.0, 1.5, -2.25, 1e300]),
}
ARROW = {
    "int64": pa.int64(),
    "string": pa.string(),
    "date32": pa.date32(),
    "bool": pa.bool_(),
    "double": pa.float64(),
}
NAMES = st.sampled_from(["id", "_deleted", "_at", "_changes", "a b", 'q"x', "__deleted", "Name", "_rows"])
VALUES = {kind: st.none() | values for kind, values in KEYS.items()}


class Version:
    """Files of one dataset as they come, and beside them what its rows have to be."""

    def __init__(self, folder: Path, columns: dict[str, str], key: Sequence[str]) -> None:
        self.columns, self.key, self.parts = dict(columns), list(key), list[Part]()
        self.rows: dict[tuple[Any, ...], Row] = {}
        self._folder, self._number = folder, itertools.count()

    def write(self, rows: Sequence[Row], role: str, gone: Sequence[bool] = (), only_key: bool = False) -> None:
        names = [name for name in self.columns if not only_key or name in self.key]
        lacks = tuple(name for name in self.columns if name not in names)
        columns = {n: pa.array([row.get(n) for row in rows], ARROW[self.columns[n]]) for n in names}
        if role == "delta":
            columns[marker(list(self.columns), lacks)] = pa.array(list(gone), pa.bool_())
        path = self._folder / f"{next(self._number)}.parquet"
        pq.write_table(pa.table(columns), path)
        self.parts.append(Part(str(path), role, lacks))
        for row, is_gone in zip(rows, gone or [False] * len(rows), strict=True):
            named = tuple(row[name] for name in self.key)
            self.rows.pop(named, None)
            if not is_gone:
                self.rows[named] = {name: row.get(name) for name in self.columns}

    def add_column(self, name: str, kind: str) -> None:
        self.columns[name] = kind
        self.parts = [Part(part.path, part.role, (*part.lacks, name)) for part in self.parts]
        for row in self.rows.values():
            row[name] = None

    def fold(self, start: int, db: Any) -> None:
        """The deltas from one on, as compaction makes one of them."""
        run = self.parts[start:]
        here = [name for name in self.columns if any(name not in part.lacks for part in run)]
        path = self._folder / f"{next(self._number)}.parquet"
        db.execute(f"COPY ({changes(run, here, self.key)}) TO '{path}' (FORMAT parquet)")
        lacks = tuple(name for name in self.columns if name not in here)
        self.parts[start:] = [Part(str(path), "delta", lacks)]

    def check(self, db: Any) -> None:
        sql = relation(self.parts, list(self.columns), self.key)
        found = db.execute(sql).fetchall()
        expected = [tuple(row[name] for name in self.columns) for row in self.rows.values()]
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
        db.execute(f"CREATE OR REPLACE VIEW v AS {sql}")
        assert db.execute("SELECT count(*) FROM v").fetchall() == [(len(expected),)]
        for row in list(self.rows.values())[:1]:  # a condition that is pushed down finds the same
            name = self.key[0]
            same = db.execute(f"SELECT count(*) FROM v WHERE {identifier(name)} = ?", [row[name]]).fetchone()
            assert same == (sum(other[name] == row[name] for other in self.rows.values()),)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[dict[str, str], list[str]]:
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique_by=str.lower))
    columns = {name: draw(st.sampled_from(list(KEYS))) for name in names}
    return columns, names[: draw(st.integers(1, 2))]


def drawn(data: st.DataObject, version: Version, most: int) -> list[Row]:
    def row() -> st.SearchStrategy[Row]:
        return st.fixed_dictionaries(
            {n: KEYS[kind] if n in version.key else VALUES[kind] for n, kind in version.columns.items()}
        )

    return data.draw(
        st.lists(row(), max_size=most, unique_by=lambda row: tuple(row[name] for name in version.key)), "rows"
    )


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(shapes(), st.data())
def test_newest_wins(tmp_path_factory: Any, shape: tuple[dict[str, str], list[str]], data: st.DataObject) -> None:
    """A-S8-9: base and deltas show the rows of both, the newest by key, before and after deltas are folded."""
    version = Version(tmp_path_factory.mktemp("v"), *shape)
    with duckdb.connect(":memory:") as db:
        version.write(drawn(data, version, 6), "base")
        version.check(db)
        for _ in range(data.draw(st.integers(1, 4), "steps")):
            step = data.draw(st.sampled_from(["upsert", "remove", "column", "fold"]), "step")
            if step == "column":
                new = fresh(data.draw(NAMES, "name"), version.columns)
                version.add_column(new, data.draw(st.sampled_from(list(KEYS)), "kind"))
                # A column comes with a file that has it.
                version.write(rows := drawn(data, version, 2), "delta", [False] * len(rows))
            elif step == "fold":
                deltas = [n for n, part in enumerate(version.parts) if part.role == "delta"]
                if deltas:
                    version.fold(data.draw(st.sampled_from(deltas), "from"), db)
            else:
                rows = drawn(data, version, 3)
                version.write(rows, "delta", [step == "remove"] * len(rows), only_key=step == "remove")
            version.check(db)


def test_a_marker_is_never_a_column_of_the_data() -> None:
    assert marker(["id", "a"]) == "_deleted"
    assert marker(["id", "_DELETED"]) == "__deleted"
    # Written before the column came, the delta has the plain name.
    assert marker(["id", "_deleted"], ["_deleted"]) == "_deleted"
