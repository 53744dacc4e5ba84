"""SQL over datasets: a gate that judges the parse tree, a locked engine, killable processes.

Names are looked up when first used: a query process starts in this package and pays only for what it needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.engine.sql.queries import ResultColumn, Rows, Sql

__all__ = ["ResultColumn", "Rows", "Sql"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lakehouse.engine.sql import queries

    return getattr(queries, name)
