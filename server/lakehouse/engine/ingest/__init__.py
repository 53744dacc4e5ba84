"""Ingest: a file becomes a dataset, whole or not at all.

`Ingester` is the parent's side. Reading happens in a child process (`worker`) that can crash or be killed without harm.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.engine.ingest.ingester import Compacted, Deleted, Expected, Ingested, Ingester

__all__ = ["Compacted", "Deleted", "Expected", "Ingested", "Ingester"]


# The worker imports this package too, and must not pay for the parent's side (70 ms of each ingest).
def __getattr__(name: str) -> Any:
    if name in __all__:
        from lakehouse.engine.ingest import ingester

        return getattr(ingester, name)
    raise AttributeError(f"module 'lakehouse.engine.ingest' has no attribute {name!r}")
