"""Workflows: YAML graphs of prompts, scripts, gates and capabilities, run so that nothing done is done again."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.engine.workflows.part import Workflows

__all__ = ["Workflows"]


# The tools' results lie in this package: whoever runs no workflow must not pay for the runner (100 ms of each start).
def __getattr__(name: str) -> Any:
    if name in __all__:
        from lakehouse.engine.workflows import part

        return getattr(part, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
