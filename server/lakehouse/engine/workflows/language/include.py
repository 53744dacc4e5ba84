"""`include:` another workflow's nodes become nodes of this one, as `<include>__<id>`."""

from dataclasses import dataclass, replace
from typing import Any

from lakehouse.engine.workflows.language.conditions import both
from lakehouse.engine.workflows.language.fields import Fields
from lakehouse.engine.workflows.language.file import File
from lakehouse.engine.workflows.language.findings import Findings
from lakehouse.engine.workflows.language.rewriting import Inputs, Names, bound, renamed
from lakehouse.engine.workflows.model import Child, LoopGroup, Node, Workflow
from lakehouse.engine.workflows.problems import Problem
from lakehouse.errors import did_you_mean

MAX_DEPTH = 3
RUNS_OWN = ("evidence_required", "outcome_field", "timeout", "max_cost_usd", "triggers")
TOLD = {"evidence_required": "evidence_policy"}


@dataclass
class Block:
    """A workflow that was read to be included: None where it cannot be. `height`: levels it includes itself."""

    workflow: Workflow | None
    findings: Findings
    height: int = 0


@dataclass(frozen=True)
class Inlined:
    """What stands in the place of an include: its nodes, those that stand for it in depends_on, and its output."""

    nodes: tuple[Node, ...]
    sinks: tuple[str, ...] = ()
    primary: str = ""


def inlined(fields: Fields, node: Node, given: dict[str, Any], file: File, *, rule: bool, group: bool) -> Inlined:
    """The nodes of the block that an include names. `node` has the include's own id, dependencies and condition.

    `rule`: it has a trigger_rule of its own; `group`: it stands in a loop group. Where the block cannot be included,
    an error and no nodes.
    """
    name = fields.text("include", required=True, strip=True)
    if not name:
        return Inlined(())
    where = fields.at("include")
    block = _block(name, where, file)
    if block is None or block.workflow is None:
        return Inlined(())
    file.height = max(file.height, block.height + 1)
    if len(file.chain) + block.height > MAX_DEPTH:
        file.findings.error(where, f"it is included deeper than {MAX_DEPTH} levels.", "Include less deeply.")
        return Inlined(())
    child = block.workflow
    if group and _starts(child.nodes):
        file.findings.error(
            where, "a loop group may not start workflows, as this block does.", "Include what it starts."
        )
        return Inlined(())
    for key in RUNS_OWN:
        if getattr(child, key):
            told = TOLD.get(key, key)
            file.findings.warn(where, f"{told} of {name!r} is left out: it is the run's.", f"Write {told} here.")
    inputs = Inputs(_inputs(fields, child, given))
    prefix = f"{node.id}__"
    ids = frozenset(one.id for one in child.nodes)
    names = Names({id: prefix + id for id in ids}, known=ids)
    nodes = []
    for one in child.nodes:
        if not file.counted(where, _weight(one)):
            break
        nodes.append(_placed(bound(renamed(one, names), inputs), one, node, prefix, rule, fields))
    for id in sorted(names.unknown):
        fix = did_you_mean(id, ids, "A block may only refer to its own nodes.")
        file.findings.error(where, f"{name!r} refers to {id}, which is no node of it.", fix)
    for input in sorted(inputs.missing - set(child.inputs)):
        file.findings.error(
            where, f"{name!r} refers to $INPUTS.{input}, which it is not given.", f"Add {input} to with:."
        )
    for id, why in inputs.wrong:
        file.findings.error(where, f"the condition of {id} in {name!r} cannot be decided: {why}.", "Give a constant.")
    needed = {id for one in child.nodes for id in one.depends_on}
    sinks = tuple(prefix + one.id for one in child.nodes if one.id not in needed)
    primary = prefix + child.returns if child.returns else (sinks or ("",))[0]
    return Inlined(tuple(nodes), sinks, primary)


def _starts(nodes: tuple[Node, ...]) -> bool:
    return any(
        isinstance(node.body, Child) or (isinstance(node.body, LoopGroup) and _starts(node.body.nodes))
        for node in nodes
    )


def _weight(node: Node) -> int:
    inner = node.body.nodes if isinstance(node.body, LoopGroup) else ()
    return 1 + sum(map(_weight, inner))


def _placed(changed: Node, original: Node, include: Node, prefix: str, rule: bool, fields: Fields) -> Node:
    entry = not original.depends_on
    changed = replace(changed, id=prefix + original.id)
    if include.when and (entry or original.trigger_rule == "all_done"):
        # A node that runs whatever became of those before it would run in a block that was never entered.
        when = both(include.when, changed.when)
        if when is None:
            fields.wrong("when", "it cannot be joined with the conditions of the block.", "Shorten it.")
        changed = replace(changed, when=when or "")
    if entry:
        changed = replace(changed, depends_on=include.depends_on)
        if rule and original.trigger_rule == "all_success":
            changed = replace(changed, trigger_rule=include.trigger_rule)
    return changed


def _inputs(fields: Fields, block: Workflow, given: dict[str, Any]) -> dict[str, Any]:
    if not block.inputs:
        return given
    for name in given:
        if name not in block.inputs:
            fields.wrong(f"with.{name}", f"{block.name!r} has no such input.", did_you_mean(name, block.inputs))
    found = {}
    for name, declared in block.inputs.items():
        if name in given:
            found[name] = given[name]
        elif declared.required:
            fields.wrong("with", f"{block.name!r} needs the input {name}.", f"Add {name} to with:.")
        else:
            found[name] = declared.default if declared.has_default else ""
    return found


def _block(name: str, where: str, file: File) -> Block | None:
    from lakehouse.engine.workflows.language.root import understood

    if name in file.chain:
        cycle = " includes ".join((*file.chain[file.chain.index(name) :], name))
        file.findings.error(where, f"workflows include each other: {cycle}.", "Take one of the includes out.")
        return None
    if len(file.chain) > MAX_DEPTH:
        chain = " includes ".join((*file.chain, name))
        message = f"workflows include each other deeper than {MAX_DEPTH} levels: {chain}."
        file.findings.error(where, message, "Include less deeply.")
        return None
    block = file.shared.blocks.get(name)
    if block is None:
        source = file.workflow(name, where)
        if source is None:
            return None
        inner = File(source, file.around.at(source), name, (*file.chain, name), file.shared)
        nodes_before = file.shared.nodes
        workflow = understood(inner)
        file.shared.nodes = nodes_before
        block = file.shared.blocks[name] = Block(workflow, inner.findings, inner.height)
    _tell(name, where, block.findings, file)
    return block


def _tell(name: str, where: str, inner: Findings, file: File) -> None:
    """What was found in a block is told where it is included."""
    for tell, problems in ((file.findings.error, inner.errors), (file.findings.warn, inner.warnings)):
        for problem in problems:
            tell(where, f"in {name!r}, {_in_block(problem)}", problem.fix)
    for feature in inner.features:
        file.findings.used(feature)
    for kind, names in inner.missing.items():
        for one in names:
            file.findings.lacks(kind, one)


def _in_block(problem: Problem) -> str:
    return f"{problem.where}{f' (line {problem.line})' if problem.line else ''}: {problem.message}"
