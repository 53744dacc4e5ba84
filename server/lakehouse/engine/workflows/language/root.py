"""A whole file as a Workflow: its own keys, its inputs, and its nodes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lakehouse.engine.workflows.language import agents
from lakehouse.engine.workflows.language.fields import Fields
from lakehouse.engine.workflows.language.file import File, Shared
from lakehouse.engine.workflows.language.kinds import is_required_boolean
from lakehouse.engine.workflows.language.nodes import ID, nodes_of
from lakehouse.engine.workflows.language.reading import read
from lakehouse.engine.workflows.language.tiers import ABOUT, TIERS, keys
from lakehouse.engine.workflows.model import MAX_DEPTH, Agent, Approval, Input, Loop, LoopGroup, Node, Workflow
from lakehouse.engine.workflows.triggers.trigger import triggers_of
from lakehouse.errors import did_you_mean

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}
ROOT = keys("root")
# Archon loads a file in which one of these is wrong, without it.
DROPPED = frozenset("model effort modelReasoningEffort thinking interactive tags persist_sessions".split())


def understood(file: File) -> Workflow | None:
    """What a file says, or None: then its findings hold errors."""
    findings = file.findings
    mapping, errors, strange = read(file.source)
    findings.errors += errors
    findings.warnings += strange
    if mapping is None:
        return None
    fields = Fields(mapping, "", findings, "root", DROPPED)
    if "steps" in mapping:
        findings.used("root.steps")
        fix = "Write nodes: instead, each with an id, and with depends_on: the one before it."
        fields.wrong("steps", "a list of steps is the older form, which is not read any more.", fix)
    else:
        fields.only(ROOT)
    for key in ROOT:
        if key in fields and TIERS[f"root.{key}"] == "warn":
            findings.warn(key, f"{key} is left out: {ABOUT[f'root.{key}']}.")
    name = fields.text("name", required=True, strip=True)
    description = fields.text("description", required=True, strip=True)
    file.agent = _agent(fields)
    file.chain = file.chain or (name or file.source.name,)
    inputs = _inputs(fields)
    nodes: tuple[Node, ...] = ()
    if fields.raw("nodes") or ("nodes" in mapping and "nodes" in fields):
        nodes = nodes_of(mapping["nodes"], "nodes", file)
    if not mapping.get("nodes") and "steps" not in mapping:
        fields.wrong("nodes", "it is missing." if "nodes" not in mapping else "it is empty.", "Add nodes: with one.")
    title, seconds = fields.text("title", strip=True), fields.seconds("timeout")
    cost = fields.number("max_cost_usd", above=True)
    evidence = fields.mapping("evidence_policy")
    if evidence is not None:
        evidence.only(("required",))
        if "required" not in evidence:
            evidence.wrong("required", "it is missing.", "Add required: true.")
    workflow = Workflow(
        name=name,
        description=description,
        nodes=nodes,
        inputs=inputs,
        outcome_field=fields.text("outcome_field", strip=True),
        interactive=fields.flag("interactive") or _pauses(nodes),
        evidence_required=evidence.flag("required") if evidence is not None else False,
        timeout=seconds,
        max_cost_usd=cost if cost is not None else _budget(fields),
        tool=fields.flag("tool"),
        title=title,
        triggers=_triggers(fields),
        agent=file.agent,
    )
    fields.texts("tags")  # they are left out, but told of where they are no list
    for problem in triggers_of(workflow.triggers, inputs, workflow.interactive)[1]:
        findings.warn(problem.where, f"this trigger never fires: {problem.message}", problem.fix)
    workflow = _result(fields, workflow, mapping, file)
    return None if findings.errors else workflow


def known_child(name: str, where: str, file: File) -> Workflow | None:
    """A workflow that a node starts, if it can be read; what texts it needs itself are gathered.

    None with an error; and without one where it lies deeper than runs go, or is being read just now: it starts itself.
    """
    shared = file.shared
    depth = shared.depth + 1
    if depth > MAX_DEPTH:
        shared.deeper.append((name, file.around))
        return None
    known = shared.children.get(name)
    if known is None or known[0] > depth:  # from further up, more of what lies below it is within reach
        source = file.workflow(name, where)
        if source is None:
            return None
        shared.children[name] = depth, None
        # Its blocks are its own, under names that tell apart whose they are; only the texts are gathered.
        within = Shared(used=shared.used, children=shared.children, deeper=shared.deeper, depth=depth)
        child = File(source, file.around.at(source), name, (), within)
        shared.children[name] = depth, understood(child) or str(child.findings.errors[0])
    found = shared.children[name][1]
    if isinstance(found, str):
        file.findings.error(where, f"the workflow {name[:60]!r} cannot run: {found}", "Mend it.")
        return None
    return found


def gather(shared: Shared) -> None:
    """Add the texts of children that lie deeper than runs go: from where such a child is a run, they do not."""
    while shared.deeper:
        name, around = shared.deeper.pop()
        source = None if name in shared.children else around.workflow(name)
        if source is not None:
            shared.children[name] = MAX_DEPTH + 1, None
            shared.used["workflow", name] = source
            within = Shared(used=shared.used, children=shared.children, deeper=shared.deeper, depth=MAX_DEPTH)
            understood(File(source, around.at(source), name, (), within))


def _agent(fields: Fields) -> Agent:
    agent = agents.chosen(fields, Agent())
    older = fields.choice("modelReasoningEffort", agents.EFFORTS[:-1])
    if older:
        fields.findings.warn(fields.at("modelReasoningEffort"), "it is an older spelling.", "Write effort:.")
    return replace(agent, effort=agent.effort or older, persist_session=fields.flag("persist_sessions"))


def _inputs(fields: Fields) -> dict[str, Input]:
    within = fields.mapping("inputs")
    return {name: _input(name, spec, within) for name, spec in within.items()} if within is not None else {}


def _input(name: str, spec: Any, within: Fields) -> Input:
    if not ID.fullmatch(name):
        within.wrong(name, f"{name[:60]!r} cannot be an input's name.", "Letters, digits and underscores.")
    if spec is not None and not isinstance(spec, Mapping):
        within.wrong(name, "it must be a mapping.", f"Write {name}: {{default: ...}}.")
        spec = None
    one = Fields(spec or {}, within.at(name), within.findings)
    one.only(("required", "default", "description", "type"))
    required, has_default = one.flag("required"), "default" in (spec or {})
    if required and has_default:
        one.wrong("default", "it is required and has a default.", "Give it one of the two.")
    default, kind = one.raw("default"), one.choice("type", tuple(TYPES)) or "string"
    if has_default and "type" in one and not _is_of(default, kind):
        one.wrong("default", f"it is not of type {kind}.", f"Write a default of type {kind}.")
    return Input(name, required, default, has_default, one.text("description"), kind)


def _is_of(value: Any, kind: str) -> bool:
    if value is None:
        return True
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _triggers(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    given = fields.raw("triggers")
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        fields.wrong("triggers", "it must be a list of mappings.", "Write - cron: '0 6 * * *', for instance.")
        return ()
    return tuple(given)


def _budget(fields: Fields) -> float | None:
    within = fields.mapping("budget")
    if within is None:
        return None
    within.only(("max_spend_usd", "max_work_units"))
    if "max_work_units" in within:
        fields.findings.warn(within.at("max_work_units"), "it is left out: only costs are limited.")
    return within.number("max_spend_usd", above=True)


def _pauses(nodes: tuple[Node, ...]) -> bool:
    for node in nodes:
        body = node.body
        if isinstance(body, Approval) or (isinstance(body, Loop | LoopGroup) and body.control.interactive):
            return True
        if isinstance(body, LoopGroup) and _pauses(body.nodes):
            return True
    return False


def _result(fields: Fields, workflow: Workflow, mapping: Mapping[str, Any], file: File) -> Workflow:
    """With the node that `returns` names; of an include, the node whose output is the block's."""
    returns = fields.text("returns", strip=True)
    if not returns:
        if workflow.outcome_field:
            fields.wrong("outcome_field", "it needs returns:.", "Add returns: with the node it is a field of.")
        return workflow
    node = workflow.node(returns) or workflow.node(file.primaries.get(returns, ""))
    if node is None:
        written = [str(one.get("id")) for one in mapping.get("nodes") or () if isinstance(one, Mapping)]
        if returns not in written:  # else what is wrong with that node is told already
            fields.wrong("returns", f"there is no node {returns[:60]!r}.", did_you_mean(returns, written))
        return workflow
    schema = node.agent.output_format if node.agent is not None else getattr(node.body, "output_format", None)
    if workflow.outcome_field and not is_required_boolean(schema, workflow.outcome_field):
        fields.wrong(
            "outcome_field",
            f"{workflow.outcome_field[:60]!r} is not a required boolean of the output_format of {returns}.",
            "Declare it there, and name it under required.",
        )
    return replace(workflow, returns=node.id, output_format=schema)
