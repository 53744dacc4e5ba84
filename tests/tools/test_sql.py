"""query_sql through the door."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse import InvalidInput, Lakehouse, TimedOut
from lakehouse.engine.sql.queries import GRACE_SECS

pytestmark = pytest.mark.anyio

Register = Callable[..., Awaitable[Path]]


@pytest.mark.slow
async def test_rows_as_plain_data(lake: Lakehouse, register: Register) -> None:
    """A-S8-1 and A-S2-2 for query_sql: the happy path."""
    await register(lake, "people", pa.table({"id": [1, 2], "name": ["ann", "bob"]}))
    answer = await lake.call("query_sql", {"sql": "SELECT * FROM people WHERE id = $id", "params": {"id": 2}})
    assert answer["columns"] == [{"name": "id", "type": "BIGINT"}, {"name": "name", "type": "VARCHAR"}]
    assert (answer["rows"], answer["row_count"], answer["truncated"]) == ([[2, "bob"]], 1, False)
    # Some clients send lists and objects as text.
    answer = await lake.call("sql.query", {"sql": "SELECT ?", "params": "[3]"})
    assert answer["rows"] == [[3]]
    cut = await lake.call("sql.query", {"sql": "FROM people", "max_rows": 1})
    assert (len(cut["rows"]), cut["row_count"], cut["truncated"]) == (1, 2, True)
    page = await lake.call("results.get", {"id": cut["handle"]})
    assert page["rows"] == [[1, "ann"], [2, "bob"]]


async def test_wrong_arguments_are_named(lake: Lakehouse) -> None:
    """A-S2-5 and A-S8-2: an unknown field, a missing one, a wrong type."""
    with pytest.raises(InvalidInput, match="q: there is no such argument"):
        await lake.call("query_sql", {"q": "SELECT 1"})
    with pytest.raises(InvalidInput, match="sql: it is required"):
        await lake.call("query_sql", {})
    for arguments in ({"sql": 1}, {"sql": "SELECT 1", "max_rows": 0}, {"sql": "SELECT ?", "params": 3}):
        with pytest.raises(InvalidInput):
            await lake.call("query_sql", arguments)


@pytest.mark.slow
async def test_the_limit_of_a_call_ends_the_query(lake: Lakehouse) -> None:
    with pytest.raises(TimedOut):
        await lake.sql.query("SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))", timeout=0.1)
    assert (await lake.call("sql.query", {"sql": "SELECT 1"}))["rows"] == [[1]]


async def test_the_limit_of_queries_is_the_one_that_is_named(lake: Lakehouse) -> None:
    """A-S2-3: it ends a query, and kills its process where that is needed, before the limit of all calls does."""
    settings = lake.config
    assert settings.sql.timeout_secs + GRACE_SECS < settings.server.tool_timeout_secs


async def test_a_value_is_the_same_in_the_answer_and_behind_its_handle(lake: Lakehouse) -> None:
    sql = (
        "SELECT 170141183460469231731687303715884105727::HUGEINT AS h, (-5)::HUGEINT AS m, NULL::HUGEINT AS n, "
        "340282366920938463463374607431768211455::UHUGEINT AS u, 1.50::DECIMAL(9, 2) AS d, 12::DECIMAL(38, 0) AS e, "
        "sum(i) AS s, [sum(i)] AS l, 'nan'::DOUBLE AS f FROM range(3) r(i) GROUP BY i"
    )
    answer = await lake.call("query_sql", {"sql": sql, "max_rows": 1})
    page = await lake.call("get_result", {"id": answer["handle"], "limit": 1})
    assert answer["rows"][0][:4] == [2**127 - 1, -5, None, 2**128 - 1]
    assert page["rows"] == answer["rows"] and page["columns"] == answer["columns"]
    whole = json.loads(await lake.call("results.whole", {"id": answer["handle"]}))
    assert whole["rows"][0] == answer["rows"][0]
