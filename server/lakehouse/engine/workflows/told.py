"""Workflow files as they are told to callers: what there is, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine.workflows.runs.record import Starter
from lakehouse.errors import InvalidInput, NotFound, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.workflows.language import Loaded
    from lakehouse.engine.workflows.model import Input
    from lakehouse.engine.workflows.part import RunState, Workflows


class Listed(BaseModel):
    """One workflow."""

    name: str = Field(description="What it is run by.")
    description: str = Field(description="What it is for.")
    inputs: dict[str, Any] = Field(description="What it takes: type, whether required, default, description.")
    nodes: int = Field(description="How many nodes it has.")
    valid: bool = Field(description="Whether it can be read; workflow_validate tells what is wrong.")
    tool: bool = Field(description="Whether it is a tool of its own.")
    file: str = Field(description="Where it is.")


class Listing(BaseModel):
    """The workflows there are."""

    workflows: Sequence[Listed] = Field(description="By name.")
    count: int = Field(description="How many there are.")


class Finding(BaseModel):
    """Something wrong or strange."""

    where: str = Field(description="Its place in the file: nodes.review.when.")
    message: str = Field(description="What it is.")
    fix: str = Field(description="What to do.")
    line: int = Field(description="The line, from 1; 0 where it is not known.")


class Used(BaseModel):
    """A feature of the language."""

    feature: str = Field(description="root.KEY, kind.KIND, node.KEY or KIND.KEY.")
    tier: str = Field(description="run, run_second, extension, warn (read and left out) or refuse.")


class Checked(BaseModel):
    """One workflow, examined."""

    file: str = Field(description="Where it is; empty of a text.")
    name: str = Field(description="Its name.")
    valid: bool = Field(description="Whether it can be run.")
    errors: Sequence[Finding] = Field(description="What keeps it from that.")
    warnings: Sequence[Finding] = Field(description="What is strange, or left out.")
    features: Sequence[Used] = Field(description="What of the language it uses.")
    missing: dict[str, list[str]] = Field(description="commands, scripts and workflows it names that are not there.")
    nodes: int = Field(description="How many nodes it has.")


class Validation(BaseModel):
    """Workflows, examined."""

    valid: bool = Field(description="Whether all can be run.")
    files: Sequence[Checked] = Field(description="Each of them.")
    count: int = Field(description="How many.")


def check_named(name: str, definition: str | None) -> None:
    """Raises InvalidInput unless it is said what is to run, in one way."""
    if bool(name) == (definition is not None):
        said = "both are given" if name else "neither is given"
        raise InvalidInput(f"workflow or definition: {said}.", fix="Give the name of a workflow, or its text.")


async def listing(workflows: "Workflows", starter: Starter) -> Listing:
    """The workflows by name; those with errors, too."""
    found = [_listed(one, starter) for one in await workflows.listing(starter)]
    return Listing(workflows=found, count=len(found))


async def validation(workflows: "Workflows", name: str, definition: str | None, starter: Starter) -> Validation:
    """Examine a workflow by name, or a text; on this machine also a file, or all in a folder. No name means all.

    Raises NotFound.
    """
    if definition is not None:
        reports = [await workflows.validate(name or "workflow", definition, starter)]
    else:
        reports = []
        for one in await _named(workflows, name, starter):
            report = await workflows.validate(one, None, starter)
            if report["valid"]:
                from lakehouse.engine.workflows.lifting.tested import failures_of

                found = await failures_of(workflows, report["file"], one, starter)
                report |= {"errors": [vars(problem) for problem in found], "valid": not found}
            reports.append(report)
        if not name:
            whole = [one.report() for one in await workflows.listing(starter) if one.workflow is None]
            reports += whole
    files = [Checked(**{**one, "file": _place(one["file"], starter)}) for one in reports]
    return Validation(valid=all(one.valid for one in files), files=files, count=len(files))


async def _named(workflows: "Workflows", name: str, starter: Starter) -> list[str]:
    if not name:
        return [one.workflow.name for one in await workflows.listing(starter) if one.workflow is not None]
    folder = Path(starter.folder or "", name).expanduser()
    if not starter.shell or not await anyio.to_thread.run_sync(folder.is_dir):
        return [name]
    from lakehouse.engine.workflows.library import files_under

    found = await anyio.to_thread.run_sync(files_under, folder)
    if not found:
        raise NotFound(f"there is no workflow in {name[:200]}.", fix="Name a folder with YAML files.")
    return [str(path.absolute()) for path in found]


def output_of(state: "RunState", path: str) -> str:
    """All that a node of a run put out. Raises NotFound."""
    node = next((one for one in state.nodes if one.path == path), None)
    if node is None:
        fix = did_you_mean(path, [one.path for one in state.nodes])
        raise NotFound(f"run {state.record.id} has no node {path[:80]!r}.", fix=fix)
    return node.text


def _listed(loaded: "Loaded", starter: Starter) -> Listed:
    flow, source = loaded.workflow, loaded.source
    return Listed(
        name=flow.name if flow else source.name,
        description=flow.description.strip() if flow else str(loaded.errors[0]),
        inputs={name: described(one) for name, one in flow.inputs.items()} if flow else {},
        nodes=loaded.nodes,
        valid=flow is not None,
        tool=bool(flow and flow.tool),
        file=_place(source.path, starter),
    )


def described(one: "Input") -> Mapping[str, Any]:
    """An input as it is told."""
    told: dict[str, Any] = {"type": one.type}
    if one.required:
        told["required"] = True
    if one.has_default:
        told["default"] = one.default
    return told | ({"description": one.description} if one.description else {})


def _place(path: str, starter: Starter) -> str:
    """A file's path; for callers elsewhere only its name."""
    return Path(path).name if starter.remote else path
