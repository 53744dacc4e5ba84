"""Turn a Postgres table or query into a dataset."""

from collections.abc import Sequence
from typing import Annotated, Literal

from lakehouse import Lakehouse, tool
from lakehouse.engine.ingest import Ingested


@tool(
    "writes",
    name="ingest_postgres",
    route="/v1/ingest/postgres",
    title="Ingest from Postgres",
    toolset="data",
    long=True,
    idempotent=True,
)
async def ingest(
    lake: Lakehouse,
    name: Annotated[str, "The dataset, new or not."],
    dsn: Annotated[str | None, "postgresql://…; better: dsn_secret."] = None,
    dsn_secret: Annotated[str | None, "NAME of [postgres.NAME] in the secrets file."] = None,
    table: Annotated[str | None, "As schema.table."] = None,
    query: Annotated[str | None, "Or one SELECT."] = None,
    mode: Annotated[Literal["replace", "append", "upsert"], "As in ingest_file."] = "replace",
    key: Annotated[Sequence[str] | None, "As in ingest_file."] = None,
) -> Ingested:
    """Copy a Postgres table, or what a query answers, into a dataset that query_sql can read.

    It only reads there. Example: {"name": "orders", "dsn_secret": "shop", "table": "public.orders"}
    """
    return await lake.ingest.ingest_postgres(
        name,
        dsn=dsn,
        dsn_secret=dsn_secret,
        table=table,
        query=query,
        mode=mode,
        key=key,
        anywhere=lake.via in ("python", "cli"),
        progress=lake.progress,
    )
