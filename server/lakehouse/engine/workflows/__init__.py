"""Workflows: YAML graphs of prompts, scripts, gates and capabilities, run so that nothing done is done again."""

from lakehouse.engine.workflows.part import Workflows

__all__ = ["Workflows"]
