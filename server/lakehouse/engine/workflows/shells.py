"""Which nodes of a workflow run programs of this machine, and what those need that is not here."""

import importlib.metadata
import shutil
from collections.abc import Iterator, Sequence
from functools import lru_cache

from lakehouse.engine.workflows.model import Bash, Loop, LoopGroup, Node, Script, Workflow
from lakehouse.engine.workflows.problems import Problem
from lakehouse.errors import Forbidden

MAX_NAMED = 5


def needs_shell(workflow: Workflow) -> list[str]:
    """The nodes with `bash`, `script` or `until_bash`, by path (`group/inner`), in the order of the file."""
    return [path for path, node in _all(workflow.nodes) if _runs_programs(node)]


def check_open(workflow: Workflow, shell: bool) -> None:
    """Raises Forbidden where the shell is not open to a workflow that needs it."""
    paths = [] if shell else needs_shell(workflow)
    if paths:
        named = ", ".join(paths[:MAX_NAMED]) + (" and others" if len(paths) > MAX_NAMED else "")
        raise Forbidden(
            f"workflow {workflow.name} runs programs of this machine ({named}), which is not open to this caller.",
            fix="Start it on the machine itself with `lakehouse run`, or have workflows.allow_shell set there for its "
            "workflow files.",
        )


def missing(workflow: Workflow) -> list[Problem]:
    """What its programs need that is not here: bash, bun, packages of `deps`. Nothing is downloaded. Blocking."""
    found: list[Problem] = []
    installed = lru_cache(shutil.which)
    for path, node in _all(workflow.nodes):
        where = f"nodes.{path}"
        body = node.body
        if isinstance(body, Script):
            if body.runtime == "bun" and installed("bun") is None:
                found.append(
                    Problem(f"{where}.runtime", "there is no bun on the PATH.", "Install it, or use runtime: uv.")
                )
            elif body.runtime == "uv":
                found += [Problem(f"{where}.deps", problem, fix) for problem, fix in _not_installed(body.deps)]
        elif _runs_programs(node) and installed("bash") is None:
            found.append(Problem(where, "there is no bash on the PATH.", "Install it."))
    return found


def _all(nodes: Sequence[Node], prefix: str = "") -> Iterator[tuple[str, Node]]:
    for node in nodes:
        yield prefix + node.id, node
        if isinstance(node.body, LoopGroup):
            yield from _all(node.body.nodes, f"{prefix}{node.id}/")


def _runs_programs(node: Node) -> bool:
    body = node.body
    if isinstance(body, Loop | LoopGroup):
        return bool(body.control.until_bash)
    return isinstance(body, Bash | Script)


def _not_installed(deps: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each requirement that this Python's packages do not meet, and what to do."""
    from packaging.requirements import InvalidRequirement, Requirement

    for dep in deps:
        try:
            wanted = Requirement(dep)
        except InvalidRequirement:
            yield f"{dep[:80]!r} is no requirement.", "Write it as pip does: httpx>=0.27."
            continue
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        install = f"Install it beside Lakehouse: pip install '{dep}'. Nothing is downloaded for a run."
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{wanted.name} is not installed.", install
            continue
        if wanted.url is None and not wanted.specifier.contains(version, prereleases=True):
            yield f"{wanted.name} {version} is installed, which is not {wanted.specifier}.", install
