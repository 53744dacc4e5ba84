"""What nodes refer to: whether it is there, has run by then, and has the field."""

from collections.abc import Sequence

from lakehouse.engine.workflows.checks.level import Findings, Level
from lakehouse.engine.workflows.checks.places import Place, places
from lakehouse.engine.workflows.model import Approval, Loop, LoopGroup, Node, Prompt
from lakehouse.engine.workflows.references.conditions import Atom, Malformed, parsed
from lakehouse.engine.workflows.references.fields import declared_fields
from lakehouse.engine.workflows.references.quoting import commented
from lakehouse.engine.workflows.references.scope import environment_key
from lakehouse.engine.workflows.references.templates import CALLERS, Reference, quotes, references

ANSWERS = ("decision", "text")  # what a gate with decisions puts out


def check_mentions(level: Level, node: Node, findings: Findings) -> None:
    """Find references of a node that lead nowhere, and those that may not be there yet."""
    shown: set[tuple[str, str]] = set()
    for place in places(node):
        if "$" in place.text:
            quoted = quotes(place.text if place.how == "prompt" else "")
            found = list(references(place.text, deep=place.how == "arguments"))
            remarks = commented(place.text, found) if place.how == "shell" else ()
            for reference in found:
                if reference in remarks:
                    continue
                if not quoted(reference) or _leads(level, reference):
                    _check(level, node, place, reference, findings)
                elif (place.key, str(reference)) not in shown:
                    shown.add((place.key, str(reference)))
                    message = f"{reference}: there is no node {reference.name}; in Markdown code it stays as it is."
                    fix = findings.meant(reference.name, level.names(), "")
                    findings.warn(level.place(node.id, place.key), message, fix)
    if node.when:
        _check_when(level, node, findings)


def _check(level: Level, node: Node, place: Place, reference: Reference, findings: Findings) -> None:
    where = level.place(node.id, place.key)
    if reference.kind == "variable":
        if place.how == "source" and reference.name in CALLERS:
            message = f"{reference} stays as it is in a script; it is in the environment."
            findings.warn(where, message, f"Read {reference.name} from the environment.")
        return
    if reference.kind == "input":
        if place.how in ("shell", "source"):
            key, name = environment_key(reference.name), reference.name
            fix = f"Write ${key}." if place.how == "shell" else f"Read {key} from the environment."
            declared = [*level.workflow.inputs, *node.given]
            if name not in declared:
                findings.warn(
                    where,
                    f"{reference}: there is no such input.",
                    findings.meant(name, declared, "Declare it under inputs:."),
                )
                return
            findings.warn(where, f"$INPUTS.{name} stays as it is in a script; it is in the environment.", fix)
            return
        _check_input(level, node, where, reference, findings, own=not place.key.startswith("with."))
        return
    inside = level.within(node, node.body.nodes) if place.inner and isinstance(node.body, LoopGroup) else None
    if inside is not None and (reference.kind == "previous" or reference.name in inside.by_id):
        _check_producer(inside, node, where, reference, findings, strict=False)
    else:
        strict = place.how in ("given", "arguments")
        _check_producer(level, node, where, reference, findings, strict=strict)


def _leads(level: Level, reference: Reference) -> bool:
    """Whether there is what a reference names."""
    if reference.kind not in ("output", "previous"):
        return True
    holder = level.holder(reference.name)
    return holder is not None and (reference.kind == "output" or holder.group is not None)


def _check_input(
    level: Level, node: Node, where: str, reference: Reference, findings: Findings, *, own: bool = False
) -> None:
    declared = [*level.workflow.inputs, *(node.given if own else ())]
    if reference.name not in declared:
        fix = findings.meant(reference.name, declared, "Declare it under inputs:.")
        findings.error(where, f"{reference}: there is no such input.", fix)


def _check_producer(
    level: Level, node: Node, where: str, reference: Reference, findings: Findings, *, strict: bool
) -> None:
    """`strict`: what has not surely settled is an error, not a warning."""
    name = reference.name
    if reference.kind == "previous":
        holder = level.holder(name)
        if level.group is None:
            findings.error(where, f"{reference}: this is no part of a loop group.", f"Write ${name}.output.")
        elif holder is None or holder.group is None:
            findings.error(
                where, f"{reference}: no loop group here has a node {name}.", findings.meant(name, level.by_id)
            )
        else:
            _check_field(holder, holder.by_id[name], where, reference, findings)
        return
    holder = level.holder(name)
    if holder is None:
        within = level.inner.get(name)
        fix = f"It is a part of {within}: write ${within}.output." if within else findings.meant(name, level.names())
        findings.error(where, f"{reference}: there is no node {name}.", fix)
        return
    asking = node.id
    inner = level
    while inner is not holder and inner.outer is not None and inner.group is not None:
        asking, inner = inner.group.id, inner.outer
    if asking == name and not (inner is level and level.group is node):
        whole = "itself" if inner is level else "the loop group it is a part of"
        tell = findings.error if strict or reference.path else findings.warn
        tell(where, f"{reference}: it refers to {whole}, which is empty until it ends.", "Refer to a node before it.")
        return
    if level.group is not node and not holder.upstream(name, asking):
        message = f"{reference}: {name} need not have run by then; what did not is empty."
        tell = findings.error if strict else findings.warn
        tell(where, message, f"Add {name} to depends_on{f' of {asking}' if asking != node.id else ''}.")
    _check_field(holder, holder.by_id[name], where, reference, findings)


def _check_field(holder: Level, producer: Node, where: str, reference: Reference, findings: Findings) -> None:
    if not reference.path:
        return
    field = reference.path[0]
    schema = holder.schemas.get(producer.id)
    declared: Sequence[str] | None = None
    fields = declared_fields(schema)
    if schema is not None and fields is not None and not schema.get("additionalProperties"):
        declared = list(fields)
    gate = producer.body if isinstance(producer.body, Approval) else None
    if gate is not None and not gate.capture_response:  # what is said with an answer may be JSON, too
        declared = ANSWERS if gate.decisions else []
    if declared is not None and field not in declared:
        source = "output_format" if producer.agent is not None else "output"
        fix = findings.meant(field, declared, f"Declare it in the output_format of {producer.id}." if schema else "")
        findings.error(where, f"{reference}: the {source} of {producer.id} has no field {field}.", fix)
    elif schema is None and isinstance(producer.body, Prompt | Loop):
        message = f"{reference}: {producer.id} has no output_format, so that its answer may be no JSON object."
        findings.warn(where, message, f"Give {producer.id} an output_format.")


def _check_when(level: Level, node: Node, findings: Findings) -> None:
    where = level.place(node.id, "when")
    try:
        clauses = parsed(node.when)
    except Malformed as error:
        findings.warn(
            where, f"{error} The node is skipped.", "Compare a reference with 'text', a number, true or false."
        )
        return
    for atom in (atom for clause in clauses for atom in clause):
        if atom.reference.kind == "input":
            _check_input(level, node, where, atom.reference, findings)
        else:
            _check_producer(level, node, where, atom.reference, findings, strict=False)
            _check_whole(level, where, atom, findings)


def _check_whole(level: Level, where: str, atom: Atom, findings: Findings) -> None:
    """What a model says at length is never just the word that it is compared with."""
    holder = level.holder(atom.reference.name)
    if atom.reference.kind != "output" or atom.reference.path or holder is None:
        return
    producer = holder.by_id[atom.reference.name]
    prose = isinstance(producer.body, Prompt) and producer.body.agent.output_format is None
    if prose or isinstance(producer.body, Loop | LoopGroup):
        message = f"{atom.reference}: the whole output of {producer.id} is prose, and is compared with one text."
        findings.error(where, message, "Give it an output_format and compare a field.")
