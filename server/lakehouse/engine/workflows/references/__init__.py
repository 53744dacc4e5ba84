"""`$node.output`, `$INPUTS.x` and the variables: found in texts, looked up, and put in their place."""

from lakehouse.engine.workflows.references.conditions import Held
from lakehouse.engine.workflows.references.fields import MissingReference
from lakehouse.engine.workflows.references.inputs import checked_inputs
from lakehouse.engine.workflows.references.output import Output
from lakehouse.engine.workflows.references.scope import Scope

__all__ = ["Held", "MissingReference", "Output", "Scope", "checked_inputs"]
