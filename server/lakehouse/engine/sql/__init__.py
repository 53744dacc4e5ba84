"""SQL over datasets: a gate that judges the parse tree, a locked engine, killable processes.

Names are looked up when first used: a query process starts in this package and pays only for what it needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.engine.sql.history import Asked, History
    from lakehouse.engine.sql.models import Explanation, ResultColumn, Rows
    from lakehouse.engine.sql.processes import Processes
    from lakehouse.engine.sql.queries import Sql
    from lakehouse.engine.sql.request import AsOf

__all__ = ["AsOf", "Asked", "Explanation", "History", "Processes", "ResultColumn", "Rows", "Sql"]

_IN = {
    "AsOf": "request",
    "Asked": "history",
    "Explanation": "models",
    "History": "history",
    "Processes": "processes",
    "ResultColumn": "models",
    "Rows": "models",
    "Sql": "queries",
}


def __getattr__(name: str) -> Any:
    if name not in _IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"lakehouse.engine.sql.{_IN[name]}"), name)
