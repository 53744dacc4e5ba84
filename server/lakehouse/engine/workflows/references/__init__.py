"""`$node.output`, `$INPUTS.x` and the variables: found in texts, looked up, and put in their place."""

from lakehouse.engine.workflows.references.scope import MissingReference, Output, Scope

__all__ = ["MissingReference", "Output", "Scope"]
