"""Mutated queries against gate and engine: no file outside is touched, nothing crashes, hangs or names a path."""

import json
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import duckdb
import pytest
from tests.conftest import DATA
from tests.engine.test_sql_cases import ORDERS, QUOTES, cases, state_of
from tests.tables import commit

import lakehouse
from lakehouse.engine.datasets import DatasetNotFound
from lakehouse.engine.sql.queries import GRACE_SECS
from lakehouse.errors import Conflict, InvalidInput, LakehouseError, TimedOut, TooLarge, Upstream

pytestmark = pytest.mark.anyio

LIMIT = 0.4  # seconds of one query
CANARY = "canary-in-the-file"
CANARIES = ("x.csv", "x.json", "x.parquet", "x.txt")
WORDS = re.compile(r"\s+|\w+|\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|[^\w\s]")
# What a mutation may put anywhere; {…} are files that no query may reach.
PIECES = (
    *(
        "'{outside}'",
        '"{outside}"',
        "'{file}'",
        "read_csv('{outside}')",
        "read_text('{outside}')",
        "glob('{folder}/*')",
    ),
    *(
        "COPY (SELECT 1) TO '{folder}/new'",
        "EXPORT DATABASE '{folder}/new'",
        "ATTACH '{folder}/new'",
        "; DROP VIEW orders",
    ),
    *("WITH x AS (COPY (SELECT 1) TO '{folder}/new') FROM x", "EXPLAIN ANALYZE", "EXPLAIN", "DESCRIBE", "SUMMARIZE"),
    *("information_schema.tables", "duckdb_settings()", "duckdb_views", "query_table('orders')", "getenv('HOME')"),
    *(
        "_changes",
        "filename",
        '"orders@v1"',
        "orders",
        "quotes",
        "main.",
        "(",
        ")",
        ",",
        "'",
        '"',
        "--",
        "/*",
        "*/",
        "\0",
    ),
    *(
        "$1",
        "?",
        "::JSON",
        "[1]",
        ".read_text()",
        "LATERAL",
        "UNION ALL",
        "*",
        "COLUMNS(*)",
        "é",
        "🙂",
        "\u202e",
        "\ud800",
    ),
    *(
        "PIVOT",
        "IN (1)",
        "lambda x:",
        "NULL",
        "9223372036854775808",
        "1e400",
        "RECURSIVE",
        "MATERIALIZED",
        "AT (VERSION => 1)",
    ),
)


def corpus() -> list[str]:
    """Statements to begin with: those that must run, those that must not, and the attack collection where it is."""
    found = [case.sql for name in ("sql_allowed.sql", "sql_refused.sql") for case in cases(name)]
    attacks = DATA / "sql_attacks" / "attacks.json"
    if attacks.exists():
        found += [attack["sql"] for attack in json.loads(attacks.read_text()) if attack["must"] == "error"]
    places = ("{home}", "{data_dir}", "{allowed_file}", "{other_tenant_file}")
    return [re.sub("|".join(map(re.escape, places)), "{folder}", sql) for sql in found]


class Mutations:
    """Statements made of others: by tokens, by characters, spliced, nested, with functions exchanged."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._known = corpus()
        with duckdb.connect() as db:
            rows = db.execute("SELECT DISTINCT function_name FROM duckdb_functions() ORDER BY ALL").fetchall()
        self._functions = [name for (name,) in rows]
        self._ways: Sequence[Callable[[str], str]] = (
            *(self._function, self._insert, self._tokens, self._characters, self._splice, self._nest, self._drop),
        )

    def next(self) -> str:
        """Another statement."""
        sql = self._chance.choice(self._known)
        for _ in range(self._chance.randint(1, 4)):
            sql = self._chance.choice(self._ways)(sql)[:20_000]
        return sql

    def _function(self, sql: str) -> str:
        calls = list(re.finditer(r"\b\w+(?=\()", sql))
        if not calls:
            return f"SELECT {self._chance.choice(self._functions)}({sql if len(sql) < 30 else 1})"
        call = self._chance.choice(calls)
        return sql[: call.start()] + self._chance.choice(self._functions) + sql[call.end() :]

    def _insert(self, sql: str) -> str:
        tokens = WORDS.findall(sql)
        tokens.insert(self._chance.randint(0, len(tokens)), f" {self._chance.choice(PIECES)} ")
        return "".join(tokens)

    def _tokens(self, sql: str) -> str:
        tokens = WORDS.findall(sql) or [""]
        one, other = (self._chance.randrange(len(tokens)) for _ in range(2))
        tokens[one], tokens[other] = tokens[other], tokens[one]
        return "".join(tokens)

    def _characters(self, sql: str) -> str:
        at = self._chance.randint(0, len(sql))
        return sql[:at] + chr(self._chance.choice((0, 9, 10, 34, 39, 40, 41, 45, 59, 92, 160, 0x2028))) + sql[at + 1 :]

    def _splice(self, sql: str) -> str:
        other = self._chance.choice(self._known)
        return sql[: self._chance.randint(0, len(sql))] + other[self._chance.randint(0, len(other)) :]

    def _nest(self, sql: str) -> str:
        bare = sql.strip().rstrip(";")
        ways = (
            f"SELECT * FROM ({bare}) t",
            f"WITH x AS ({bare}) SELECT * FROM x, orders",
            f"WITH orders AS ({bare}) SELECT * FROM orders",
            f"SELECT ({bare})",
            f"SELECT 1 WHERE EXISTS ({bare})",
            f"EXPLAIN {bare}",
            f"{bare} UNION ALL {bare}",
            f"SELECT list_transform([1], lambda x: ({bare}))",
            f"FROM range(2) r, LATERAL ({bare})",
        )
        return self._chance.choice(ways)

    def _drop(self, sql: str) -> str:
        tokens = WORDS.findall(sql)
        del tokens[self._chance.randrange(len(tokens)) if tokens else 0 : self._chance.randint(0, 8)]
        return "".join(tokens)


@pytest.mark.timeout(600)
async def test_nothing_outside_is_touched_whatever_is_asked(
    home: Path, tmp_path: Path, seconds: Callable[[float], float]
) -> None:
    """A-S8-10, for statements nobody wrote: each fails as a wrong request, or answers of the datasets alone."""
    seed = int(os.environ.get("LAKEHOUSE_SEED", "8")) if seconds(1) == 1 else time.time_ns() % 2**32
    mutations = Mutations(random.Random(seed))
    outside = tmp_path / "outside"

    def prepare() -> None:
        outside.mkdir()
        for name in CANARIES:
            (outside / name).write_text(f"a\n{CANARY}\n")
            os.utime(outside / name, (1e9, 2e9))  # so that a reading shows even where times are kept lazily

    await anyio.to_thread.run_sync(prepare)
    overrides = {"sql.memory_limit": "200MB", "embed.provider": "hash", "sql.workers": 1}
    async with lakehouse.open(home, overrides=overrides) as lake:
        await commit(lake, "quotes", QUOTES)
        manifest = await commit(lake, "orders", ORDERS)
        file = (await lake.datasets.local_files(manifest))[0]
        places = {"{outside}": str(outside / "x.csv"), "{file}": str(file), "{folder}": str(outside)}
        hidden = (str(home), str(outside), file.stem, CANARY)
        await lake.sql.query("FROM orders")
        before = await anyio.to_thread.run_sync(state_of, home / "objects")
        end = time.monotonic() + seconds(2.5)
        answered = asked = 0
        while time.monotonic() < end:
            sql = mutations.next()
            for place, path in places.items():
                sql = sql.replace(place, path)
            began = time.monotonic()
            asked += 1
            try:
                answer: Any = await lake.sql.query(sql, as_of=1 if asked % 7 == 0 else None, timeout=LIMIT)
                answered += 1
                said = str(answer.rows) + str(answer.columns)
            except (InvalidInput, TooLarge, TimedOut, DatasetNotFound, Conflict) as error:
                said = f"{error.detail} {error.fix}"
            except LakehouseError as error:
                # An engine that fails, or ends, takes nobody with it; what it says must still name nothing.
                assert type(error) in (LakehouseError, Upstream), (seed, sql)
                said = f"{error.detail} {error.fix}"
            assert time.monotonic() - began < LIMIT + GRACE_SECS + 5, (seed, sql)
            for secret in hidden:
                assert secret in sql or secret not in said, (seed, sql, said[:2000])
            assert CANARY not in said, (seed, sql)
        assert (await lake.sql.query("SELECT count(*) FROM orders")).rows == [[4]]
        assert asked > 20 and answered > 0

    def untouched() -> None:
        assert [path.name for path in sorted(outside.iterdir())] == sorted(CANARIES)
        assert [name for name in CANARIES if (outside / name).stat().st_atime != 1e9] == []  # none was read
        assert all((outside / name).read_text() == f"a\n{CANARY}\n" for name in CANARIES)
        assert state_of(home / "objects") == before

    await anyio.to_thread.run_sync(untouched)
