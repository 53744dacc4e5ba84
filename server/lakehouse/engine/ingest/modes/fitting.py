"""Rows made to fit a dataset: its columns in its order and of its types, or an error that says what is in the way."""

from collections.abc import Sequence

from lakehouse.engine.datasets import Column, check_same_schema
from lakehouse.engine.ingest.rejects import LISTED, VALUE_CHARS, listed
from lakehouse.engine.manifests import Manifest
from lakehouse.engine.quoting import identifier
from lakehouse.engine.relation import fresh
from lakehouse.engine.tables import Desk


def columns_of(current: Manifest, given: Sequence[Column], *, evolve: bool, retype: bool) -> tuple[Column, ...]:
    """The columns of the next version, those of the dataset first. With `evolve`, columns may be added.

    With `retype`, values of other types are for `fitted` to judge. Raises SchemaChanged showing both schemas.
    """
    found = {column.name: column for column in given}
    known = {column.name for column in current.columns}
    added = [column for column in given if column.name not in known]
    here = [(column if retype else found[column.name]) for column in current.columns if column.name in found]
    whole = len(here) == len(current.columns)
    check_same_schema(current, [*here, *([] if evolve and whole else added)])
    return (*current.columns, *added)


async def fitted(
    desk: Desk, given: str, wanted: Sequence[Column], types: dict[str, str], more: Sequence[str] = ()
) -> str:
    """A SELECT of a table's rows in their order, with these columns; `types` are those of the dataset, as SQL has them.
    `more` are further columns as SQL.

    Raises InvalidInput listing rows whose value would not stay the same in the dataset's column.
    """
    has = await types_of(desk, given)
    cells = []
    for column in wanted:
        cell, kind = identifier(column.name), types.get(column.name)
        if kind is not None and column.name in has and has[column.name] != kind:
            await _check_kept(desk, given, column.name, has, kind)
            cell = f"CAST({cell} AS {kind}) AS {cell}"
        elif column.name not in has:
            cell = f"CAST(NULL AS {kind}) AS {cell}"
        cells.append(cell)
    return f"SELECT {', '.join([*cells, *more])} FROM {identifier(given)}"


async def types_of(desk: Desk, table: str) -> dict[str, str]:
    """The SQL types of a table's columns."""
    return {row[0]: row[1] for row in await desk.rows(f"DESCRIBE {identifier(table)}")}


async def _check_kept(desk: Desk, given: str, column: str, has: dict[str, str], kind: str) -> None:
    cell, row = identifier(column), identifier(fresh("row", has))
    bad = await desk.rows(
        f"SELECT {row}, left(CAST({cell} AS VARCHAR), {VALUE_CHARS}) FROM"
        f" (SELECT row_number() OVER () AS {row}, {cell} FROM {identifier(given)}) WHERE {cell} IS NOT NULL"
        f" AND TRY_CAST(TRY_CAST({cell} AS {kind}) AS {has[column]}) IS DISTINCT FROM {cell} LIMIT {LISTED}"
    )
    if bad:
        raise listed(
            [
                {"line": line, "column": column, "value": value, "reason": f"{value!r} is not a {kind}"}
                for line, value in bad
            ]
        )
