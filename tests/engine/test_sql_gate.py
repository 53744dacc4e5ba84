"""The gate by itself: what it lets through, what it makes of names, what it does with texts made to hurt it."""

import re
from pathlib import Path

import duckdb
import pytest

from lakehouse.engine.sql import gate, names
from lakehouse.errors import InvalidInput, TooLarge


@pytest.fixture(scope="module")
def judge() -> "gate.Gate":
    return gate.Gate()


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", ()),
        ("SELECT * FROM a, b AS c JOIN d ON true", ("a", "b", "d")),
        ('SELECT * FROM "o\'brien ""x"""', ('o\'brien "x"',)),
        ("WITH a AS (SELECT * FROM b) SELECT * FROM A", ("b",)),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ("a",)),
        ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", ("b",)),
        ("SELECT * FROM (WITH a AS (SELECT 1) FROM a), a", ("a",)),
        ("(WITH a AS (SELECT 1) SELECT * FROM a) UNION SELECT * FROM a", ("a",)),
        ("WITH a AS (SELECT 1) SELECT (SELECT count(*) FROM a) FROM b WHERE x IN (FROM a)", ("b",)),
        ("WITH RECURSIVE a AS (SELECT 1 AS n UNION SELECT n + 1 FROM a) FROM a", ()),
        ("WITH RECURSIVE a AS (SELECT 1 AS n FROM a UNION SELECT n + 1 FROM a) FROM a", ("a",)),
        ("FROM 'x.parquet'", ("x.parquet",)),
    ],
)
def test_it_finds_the_tables_that_are_no_cte_in_scope(judge: gate.Gate, sql: str, tables: tuple[str, ...]) -> None:
    assert judge.judge(sql).tables == tables


@pytest.mark.parametrize(
    "text",
    [
        "'",
        "''",
        "'); DROP TABLE a; --",
        "\\'",
        "\u00a0'\u00a0",
        "$$'$$",
        "\u2019",
        "a\r\n'b",
        "/*'*/",
        "e'\\'",
        "é'" * 900,
    ],
)
def test_quotes_within_a_text_end_nothing(judge: gate.Gate, text: str) -> None:
    """The text is handed to the parser as a string: what is judged is that very text."""
    value = text.replace("'", "''")
    sql = f"SELECT '{value}' AS \"it's\" FROM a"
    assert judge.judge(sql) == gate.Verdict(sql, ("a",), sql)


def test_an_explain_is_put_before_the_text_that_was_judged(judge: gate.Gate) -> None:
    assert judge.judge("/* a */ explain\n select 1").text == "EXPLAIN select 1"
    with pytest.raises(InvalidInput, match="syntax error"):
        judge.judge("EXPLAIN EXPLAIN SELECT 1")


def test_a_text_is_judged_once(judge: gate.Gate) -> None:
    assert judge.judge("SELECT 'once'") is judge.judge("SELECT 'once'")


def test_names_are_compared_as_duckdb_does() -> None:
    with duckdb.connect() as db:
        db.execute('CREATE TABLE "Straße" (i INTEGER)')
        db.execute('SELECT * FROM "sTRAßE"')
        db.execute('CREATE TABLE "É" (i INTEGER)')
        with pytest.raises(duckdb.CatalogException):
            db.execute('SELECT * FROM "é"')
    assert names.folded("sTRAßE") == names.folded("Straße")
    assert names.folded("É") != names.folded("é")


def test_the_lists_name_only_functions_there_are_and_none_that_reach_out() -> None:
    """A new DuckDB function is refused until somebody has looked at it; this keeps the ones that matter out."""
    with duckdb.connect() as db:
        there = {name.lower() for (name,) in db.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
        tables = {
            name
            for (name,) in db.execute(
                "SELECT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')"
            ).fetchall()
        }
        macros = dict(
            db.execute(
                "SELECT function_name, macro_definition FROM duckdb_functions() WHERE function_type LIKE '%macro'"
            ).fetchall()
        )
        volatile = {
            name
            for (name,) in db.execute(
                "SELECT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
            ).fetchall()
        }
    parsed = {"coalesce", "ifnull", "current_time", "current_timestamp", "unlist"}  # no catalog entry of their own
    assert gate.FUNCTIONS | gate.TABLE_FUNCTIONS <= there | parsed
    assert gate.TABLE_FUNCTIONS <= tables
    assert volatile & gate.FUNCTIONS == {"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}
    reach = re.compile(
        r"^(read_|duckdb_|pragma_|pg_|has_|inet_|parquet_|arrow_|python_|__internal|json_(de)?serialize|json_execute)"
    )
    assert not [name for name in gate.FUNCTIONS | gate.TABLE_FUNCTIONS if reach.match(name)]
    never = (
        "getenv getvariable current_setting which_secret nextval currval setval setseed query query_table glob stats"
    )
    never += " write_log sleep_ms current_query finalize combine to_aggregate_state variant_bytes_to_variant sniff_csv"
    assert not set(never.split()) & (gate.FUNCTIONS | gate.TABLE_FUNCTIONS)
    # A macro is as safe as what it calls.
    for name in gate.TABLE_FUNCTIONS | gate.FUNCTIONS:
        called = re.findall(r"(\w+)\(", macros.get(name) or "")
        assert not set(called) & set(never.split()), name


def test_every_function_there_is_was_looked_at() -> None:
    """One that a new DuckDB brings fails here until it is listed: as allowed, or as left out."""
    families = re.compile(
        r"__|(read|duckdb|pragma|pg|inet|parquet|icu|collate|current|arrow|python|pandas|variant|enable|disable|force)_|"
        r"json_(de)?serialize_|json_execute_|json_copy_|has_\w+_privilege|\w*external_resource"
    )
    text = (Path(__file__).parents[1] / "cases" / "sql_functions_left_out.txt").read_text(encoding="utf-8")
    left_out = " ".join(line for line in text.splitlines() if not line.startswith("#")) + " "
    with duckdb.connect() as db:
        rows = db.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type <> 'pragma'")
        there = {names.folded(name) for (name,) in rows.fetchall()}
    unknown = [
        name
        for name in sorted(there - gate.FUNCTIONS - gate.TABLE_FUNCTIONS)
        if not families.match(name) and f"{name} " not in left_out
    ]
    assert unknown == []
    assert not set(left_out.split()) & gate.FUNCTIONS - {"is", "not", "from", "distinct"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 32_000 + "1" + ")" * 32_000,
        "SELECT " + "(" * 60_000,
        "SELECT " + "NOT " * 16_000 + "true",
        "SELECT " + "- " * 30_000 + "1",
        "SELECT 1" + "+1" * 30_000,
        "SELECT " + "[" * 60_000,
        "SELECT " + "CASE WHEN 1 THEN " * 3_000 + "1" + " END" * 3_000,
        "FROM " + "(FROM " * 9_000 + "t" + ")" * 9_000,
        "WITH a AS (" * 5_000 + "SELECT 1" + ") SELECT 1" * 5_000,
        "FROM t" + ",t" * 30_000,
        "SELECT 1" + " INTERSECT SELECT 1" * 3_000,
        "SELECT '" + "(" * 600 + "'",
    ],
    ids=lambda sql: sql[:24],
)
def test_deep_nesting_is_refused(judge: gate.Gate, sql: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        judge.judge(sql[: 64 * 1024])


@pytest.mark.slow
def test_wide_texts_pass(judge: gate.Gate) -> None:
    judge.judge("/**/" * 16_000 + "SELECT 1")
    judge.judge("-- \n" * 16_000 + "EXPLAIN SELECT 1")
    judge.judge("SELECT 1 IN (" + ", ".join(map(str, range(10_000))) + ")")
    judge.judge("SELECT 1" + " UNION ALL SELECT 1" * 2_000)
    judge.judge("SELECT 1 WHERE " + " OR ".join(f"x = {n}" for n in range(1_000)))


def test_an_error_says_where_and_what_to_do(judge: gate.Gate) -> None:
    with pytest.raises(InvalidInput, match="character 12") as caught:
        judge.judge("SELECT a b c")
    assert "b c" in caught.value.fix
    with pytest.raises(InvalidInput) as caught:
        judge.judge("PIVOT t ON k USING sum(v)")
    assert "IN (" in caught.value.fix
    with pytest.raises(InvalidInput, match="function averge") as caught:
        judge.judge("SELECT averge(x) FROM t")
    assert "Did you mean" in caught.value.fix


def test_names_of_other_dialects_are_translated_to_what_there_is(judge: gate.Gate) -> None:
    with duckdb.connect() as db:
        there = {name.lower() for (name,) in db.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
    known_but_refused = {"pg_typeof", "setseed"}
    assert not set(gate._ELSEWHERE) & (there - known_but_refused)
    for name, instead in gate._ELSEWHERE.items():
        with pytest.raises(InvalidInput) as caught:
            judge.judge(f"SELECT {name}(1)")
        assert instead in caught.value.fix
        called = set(re.findall(r"(\w+)\(", instead)) - {"interval"}
        assert called <= gate.FUNCTIONS | {"TRY_CAST", "n", "step"}, (name, called)
