"""Workflows that say `tool: true` as tools: `workflow.run` with the name filled in and the inputs typed."""

import re
from collections.abc import Mapping
from inspect import Parameter, Signature
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel

from lakehouse.declare import Capability, Facts
from lakehouse.errors import InvalidInput
from lakehouse.offered import Input, Offered

PREFIX = "workflow"
RUN = "workflow.run"
MESSAGE = "message"
_TYPES: Mapping[str, Any] = {
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict[str, Any],
    "array": list[Any],
}


def published(flow: Offered, path: Path, like: Capability) -> Capability:
    """The tool that a workflow becomes; `like` is the capability that runs any of them by name.

    Raises InvalidInput for an input whose name no tool can have.
    """

    async def run(lake: Any, **given: Any) -> Any:
        lake.check_starts()
        message = given.pop(MESSAGE, "") if flow.asks else ""
        inputs = {name: value for name, value in given.items() if value is not None}
        record = await lake.workflows.start(flow.name, lake.starter, inputs=inputs, message=message)
        return await lake.followed(record.id, own=True)

    kinds = {name: _kind(one) for name, one in flow.inputs.items()}
    given = [Parameter(name, Parameter.KEYWORD_ONLY, default=_default(one)) for name, one in flow.inputs.items()]
    if flow.asks:
        if MESSAGE in kinds:
            raise InvalidInput("it has an input `message` and reads $ARGUMENTS, which is called so.", fix="Rename it.")
        kinds[MESSAGE] = Annotated[str, "What `$ARGUMENTS` stands for."]
        given.append(Parameter(MESSAGE, Parameter.KEYWORD_ONLY, default=""))
    vars(run)["__signature__"] = Signature([Parameter("lake", Parameter.POSITIONAL_OR_KEYWORD), *given])
    run.__annotations__ = {**kinds, "return": get_type_hints(like.run)["return"]}
    run.__name__ = name = re.sub(r"[^a-z0-9]+", "_", flow.name.lower()).strip("_")
    run.__doc__ = flow.description
    facts = Facts("tool", "writes", title=flow.title, toolsets=("workflow",), long=True)
    return Capability(f"{PREFIX}.{name}", run, facts, str(path))


def _kind(one: Input) -> Any:
    if not one.name.isidentifier() or iskeyword(one.name) or one.name == "lake" or hasattr(BaseModel, one.name):
        raise InvalidInput(f"inputs.{one.name}: a tool can have no argument of that name.", fix="Rename it.")
    kind = _TYPES.get(one.type, str)
    kind = kind if one.required or one.default is not None else kind | None
    return Annotated[kind, one.description] if one.description else kind


def _default(one: Input) -> Any:
    return Parameter.empty if one.required else one.default
