"""Lakehouse: data and retrieval for AI agents, behind one door.

async with lakehouse.open("data") as lake:
    await lake.call("ingest.file", {"path": "orders.csv", "name": "orders"})
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.declare import download, mode, prompt, resource, tool
    from lakehouse.errors import (
        Busy,
        Conflict,
        Forbidden,
        InvalidInput,
        LakehouseError,
        NotFound,
        NotInstalled,
        TimedOut,
        TooLarge,
        Unauthorized,
        Unavailable,
        Unprocessable,
        Upstream,
    )
    from lakehouse.lake import Lakehouse, open, restore
    from lakehouse.transfer import Accepts, Download, Upload

__version__ = "0.1.0"

# Names are looked up when first used, so that `lakehouse --help` does not pay for what it does not need.
_HOMES = {
    "lakehouse.declare": ("download", "mode", "prompt", "resource", "tool"),
    "lakehouse.errors": (
        "Busy",
        "Conflict",
        "Forbidden",
        "InvalidInput",
        "LakehouseError",
        "NotFound",
        "NotInstalled",
        "TimedOut",
        "TooLarge",
        "Unauthorized",
        "Unavailable",
        "Unprocessable",
        "Upstream",
    ),
    "lakehouse.lake": ("Lakehouse", "open", "restore"),
    "lakehouse.transfer": ("Accepts", "Download", "Upload"),
}

__all__ = [
    "Accepts",
    "Busy",
    "Conflict",
    "Download",
    "Forbidden",
    "InvalidInput",
    "Lakehouse",
    "LakehouseError",
    "NotFound",
    "NotInstalled",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "Upload",
    "Upstream",
    "download",
    "mode",
    "open",
    "prompt",
    "resource",
    "restore",
    "tool",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(home), name)
        raise AttributeError(f"module 'lakehouse' has no attribute {name!r}")
