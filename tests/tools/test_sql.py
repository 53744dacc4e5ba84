"""query_sql through the door."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse import InvalidInput, Lakehouse, TimedOut

pytestmark = pytest.mark.anyio

Register = Callable[..., Awaitable[Path]]


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


async def test_the_limit_of_a_call_ends_the_query(lake: Lakehouse) -> None:
    with pytest.raises(TimedOut):
        await lake.sql.query("SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))", timeout=0.1)
    assert (await lake.call("sql.query", {"sql": "SELECT 1"}))["rows"] == [[1]]
