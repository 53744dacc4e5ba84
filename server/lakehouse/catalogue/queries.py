"""Verified queries as tools: `queries.run` with one query's name filled in and its parameters typed."""

from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, get_type_hints

from lakehouse.declare import Capability, Facts
from lakehouse.verified import Query

PREFIX = "queries"
RUN = "queries.run"


def published(query: Query, path: Path, like: Capability) -> Capability:
    """The tool that a query becomes; `like` is the capability that runs any of them by name."""

    async def run(lake: Any, **given: Any) -> Any:
        return await lake.queries.run(query.name, given, lake.room)

    kinds = {name: parameter.annotation for name, parameter in query.params.items()}
    given = [
        Parameter(
            name, Parameter.KEYWORD_ONLY, annotation=kinds[name], default=Parameter.empty if p.required else p.default
        )
        for name, p in query.params.items()
    ]
    vars(run)["__signature__"] = Signature([Parameter("lake", Parameter.POSITIONAL_OR_KEYWORD), *given])
    run.__annotations__ = {**kinds, "return": get_type_hints(like.run)["return"]}
    run.__name__ = query.name
    over = ", ".join(query.verified.datasets) if query.verified else ""
    run.__doc__ = f"{query.question}\n\nA verified query{f' over {over}' if over else ''}: asked before, found right."
    title = query.name.replace("_", " ").capitalize()
    facts = Facts("tool", title=title, toolsets=("sql",), idempotent=True)
    return Capability(f"{PREFIX}.{query.name}", run, facts, str(path))
