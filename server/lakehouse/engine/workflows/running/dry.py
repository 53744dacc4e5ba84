"""Dry runs: a workflow's control flow without models, capabilities or shells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakehouse.engine.workflows.running.step import Executor


@dataclass(frozen=True)
class Dry:
    """What is answered in place of models and modes."""

    stubs: Mapping[str, Any] = field(default_factory=dict)
    exec_code: bool = False
    pause_at_gates: bool = False

    def executor(self, kind: type) -> Executor:
        """What stands in for a kind."""
        raise NotImplementedError
