"""SQL as a condition on items: the ids that a query over the datasets selects."""

from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from lakehouse.errors import InvalidInput, TimedOut, TooLarge, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from lakehouse import config
    from lakehouse.engine.sql import Sql

MAX_IDS = 1_000_000


class SqlFilter(BaseModel):
    """Only items whose ids a query selects."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(description="One SELECT; all its rows count.")
    id_column: str = Field(description="Its column of ids.")
    id_prefix: str = Field("", description="Put before each, as w-.")


async def allowed(sql: "Sql", limits: "config.Sql", asked: SqlFilter) -> frozenset[str]:
    """The ids a query selects, all of them whatever the row limit of an answer is; those of null are none.

    Raises what `Sql.query` raises, InvalidInput for a column that is not there or has no ids, TooLarge for more than
    a million ids or more rows than a result may hold.
    """
    async with sql.spool(asked.sql, seconds=limits.timeout_secs, max_bytes=limits.max_handle_bytes) as spool:
        if spool.late:
            raise TimedOut(
                f"sql: the rows did not come within {limits.timeout_secs:g} seconds.",
                fix="Ask for less, or raise sql.timeout_secs.",
            )
        if not spool.complete:
            raise TooLarge(
                f"sql: the rows are over the limit of {limits.max_handle_bytes:,} bytes.",
                fix="Select the column of ids alone, or raise sql.max_handle_bytes.",
            )
        names = [column["name"] for column in spool.columns]
        if asked.id_column not in names:
            raise InvalidInput(
                f"id_column: the query has no column {asked.id_column[:80]!r}.",
                fix=did_you_mean(asked.id_column, names),
            )
        return await anyio.to_thread.run_sync(_ids, spool.path, names.index(asked.id_column), asked)


def _ids(path: Path, column: int, asked: SqlFilter) -> frozenset[str]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        kind = reader.schema.types[column]
        if not _names(kind):
            raise InvalidInput(
                f"id_column: {asked.id_column[:80]!r} is {kind}, which is no id.",
                fix="Name a column of text or whole numbers, or cast it.",
            )
        found: set[str] = set()
        for place in range(reader.num_record_batches):
            values = reader.get_batch(place).column(column).cast(pa.large_string()).drop_null()
            found.update(values.to_pylist())
            if len(found) > MAX_IDS:
                raise TooLarge(f"sql: it selects more than {MAX_IDS:,} ids.", fix="Select fewer.")
    return frozenset(asked.id_prefix + id for id in found) if asked.id_prefix else frozenset(found)


def _names(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_decimal(kind):
        return bool(kind.scale == 0)  # HUGEINT, the type of sums
    return any(is_one(kind) for is_one in (types.is_string, types.is_large_string, types.is_integer, types.is_null))
