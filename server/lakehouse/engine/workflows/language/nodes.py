"""The entries of `nodes:` as Nodes."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from lakehouse.engine.workflows.language import agents
from lakehouse.engine.workflows.language.fields import Fields
from lakehouse.engine.workflows.language.file import MAX_NODES, File
from lakehouse.engine.workflows.language.include import Inlined, inlined
from lakehouse.engine.workflows.language.kinds import BODIES, CONTROL, control
from lakehouse.engine.workflows.language.reading import Mapped, plain
from lakehouse.engine.workflows.language.rewriting import Names, renamed
from lakehouse.engine.workflows.language.tiers import keys
from lakehouse.engine.workflows.model import (
    IDLE_SECS,
    RESERVED_IDS,
    Body,
    From,
    LoopGroup,
    Node,
    Retry,
    Trigger,
)
from lakehouse.errors import did_you_mean

KINDS = keys("kind")
ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
MAX_ID = 200
RULES = ("all_success", "one_success", "none_failed_min_one_success", "all_done")
WITH = frozenset({"command", "script", "include", "workflow", "mode"})
_STRUCTURE = frozenset({"id", "description", "depends_on", "when", "trigger_rule"})
_RUN = frozenset({"always_run", "output_type", "idle_timeout", "timeout"})
_ASKS = agents.READ | agents.LEFT_OUT | {"context"}
# What means something on a node of each kind, beside what every node has. Other keys of nodes are left out.
MEANT: dict[str, frozenset[str]] = {
    "prompt": _RUN | _ASKS | {"retry"},
    "command": _RUN | _ASKS | {"retry", "with"},
    "bash": _RUN | {"retry"},
    "script": _RUN | {"retry", "runtime", "deps", "with"},
    "loop": _RUN | _ASKS | {"retry"},
    "loop_group": _RUN | {"provider", "model", "retry"},
    "approval": _RUN,
    "cancel": frozenset(),
    "include": frozenset({"with"}),
    "workflow": _RUN | {"retry", "with", "input", "isolation", "fan_out", "output_format"},
    "mode": _RUN | {"retry", "with"},
}
NO_RETRY = {
    "loop": "a loop repeats by itself",
    "loop_group": "a loop group repeats by itself",
    "workflow": "it would leave the first child behind; resume the run instead",
}
AGAIN = Retry(2)  # of nodes that ask a model and say nothing of it


def nodes_of(given: Any, where: str, file: File, *, group: bool = False) -> tuple[Node, ...]:
    """The nodes that a list describes; includes are what they include. `group`: the body of a loop group."""
    if not isinstance(given, list):
        file.findings.error(where, "it must be a list of nodes.", "Write - id: NAME and what it does.")
        return ()
    found: list[Node] = []
    includes: dict[str, Inlined] = {}
    ids: set[str] = set()
    for place, entry in enumerate(given):
        if file.shared.nodes > MAX_NODES:
            break
        if not isinstance(entry, Mapping):
            file.findings.error(f"{where}.{place}", "an entry is no mapping.", "Write - id: NAME and what it does.")
            continue
        got = _entry(entry, where, place, file, ids, group=group)
        if isinstance(got, Inlined):
            id = str(entry["id"]).strip()
            includes[id] = got
            for node in got.nodes:
                file.findings.lines.setdefault(f"{where}.{node.id}", file.findings.line(f"{where}.{id}"))
            found += got.nodes
        elif got is not None:
            found.append(got)
    if includes:
        sinks = {id: one.sinks for id, one in includes.items()}
        becomes = {id: one.primary for id, one in includes.items() if one.primary}
        names = Names(becomes, sinks)
        if not group:
            file.primaries.update(becomes)
        found = [renamed(node, names) for node in found]
        seen: set[str] = set()
        for node in found:
            if node.id in seen:
                file.findings.error(f"{where}.{node.id}", f"there are two nodes {node.id!r}.", "Rename one.")
            seen.add(node.id)
    return tuple(found)


def _entry(
    given: Mapping[str, Any], where: str, place: int, file: File, ids: set[str], *, group: bool
) -> Node | Inlined | None:
    id = _id(given, where, place, file, ids)
    here = f"{where}.{id or place}"
    if isinstance(given, Mapped):
        file.findings.lines.setdefault(here, given.line)
    fields = Fields(given, here, file.findings, "node")
    kind = _kind(fields, given, group=group)
    if not id or not kind or not file.counted(here):
        return None
    file.findings.used(f"kind.{kind}")
    _check_keys(fields, kind)
    rule = fields.choice("trigger_rule", RULES)
    node = Node(
        id,
        cast(Body, None),
        depends_on=fields.texts("depends_on") or (),
        when=fields.text("when", strip=True),
        trigger_rule=cast(Trigger, rule or "all_success"),
        given=_with(fields, kind),
        description=fields.text("description"),
    )
    if kind == "include":
        file.shared.nodes -= 1  # it becomes what it includes
        return inlined(fields, node, dict(node.given), file, rule=bool(rule), group=group)
    body = _group(fields, file) if kind == "loop_group" else BODIES[kind](fields, file)
    if body is None:
        return None
    seconds = None if kind in ("bash", "script") else fields.seconds("timeout")  # theirs stands in the body
    return replace(
        node,
        body=body,
        context=_context(fields),
        idle_timeout=fields.seconds("idle_timeout") or IDLE_SECS,
        timeout=seconds,
        retry=_retry(fields, kind),
        always_run=fields.flag("always_run"),
        output_type=fields.text("output_type", strip=True),
    )


def _id(given: Mapping[str, Any], where: str, place: int, file: File, ids: set[str]) -> str:
    here = f"{where}.{place}"
    if isinstance(given, Mapped):
        file.findings.lines[here] = given.lines.get("id", given.line)
    fields = Fields(dict(given), here, file.findings)
    id = fields.text("id", required=True, strip=True)
    if not id:
        return ""
    if id in RESERVED_IDS:
        fields.wrong("id", f"{id} is reserved: $INPUTS.x are the inputs.", "Rename the node.")
    elif len(id) > MAX_ID or not id.isprintable() or set(id) & set("/#"):
        fields.wrong("id", f"{id[:60]!r} cannot be an id.", f"Up to {MAX_ID} characters, without / and #.")
        return ""
    elif id in ids:
        fields.wrong("id", f"there are two nodes {id!r}.", "Rename one.")
    elif not ID.fullmatch(id):
        fix = "Letters, digits, underscores and hyphens, not a digit or hyphen first."
        file.findings.warn(f"{here}.id", f"nothing can refer to a node called {id[:60]!r}.", fix)
    ids.add(id)
    return id


def _kind(fields: Fields, given: Mapping[str, Any], *, group: bool) -> str:
    kinds = [key for key in KINDS if key in fields]
    if len(kinds) == 1:
        kind = kinds[0]
        if group and kind == "workflow":
            fields.wrong(
                "workflow", "a loop group may not start workflows.", "Include it, or start it after the group."
            )
            return ""
        value = fields.raw(kind)
        if isinstance(value, str) and not value.strip():
            fields.wrong(kind, "it is blank.", "Say what it does.")
            return ""
        return kind
    empty = [key for key in KINDS if key in given]
    if kinds:
        message, fix = f"it is of {len(kinds)} kinds: {', '.join(kinds)}.", "Make two nodes of it."
    elif empty:
        message, fix = f"{empty[0]} is empty.", "Say what it does."
    else:
        unknown = [key for key in given if key not in ALL]
        message = f"it is of no kind{f'; {unknown[0][:60]!r} is none' if unknown else ''}."
        fix = did_you_mean(unknown[0] if unknown else "", KINDS, f"Give it one of {', '.join(KINDS)}.")
    fields.findings.error(fields.where, message, fix)
    return ""


def _check_keys(fields: Fields, kind: str) -> None:
    meant = _STRUCTURE | MEANT[kind] | {kind}
    for key, value in fields.items():
        if key in meant:
            if value is None:
                fields.findings.warn(fields.at(key), "it is empty.", "Give it a value, or leave it out.")
            fields.findings.used(f"node.{key}")
        elif key not in ALL:
            if key in ROOT:
                fields.findings.warn(fields.at(key), f"{key} is a key of the file, not of a node.", "Move it up.")
            else:
                fields.findings.unknown(fields.where, key, sorted(meant | (ALL - set(KINDS))))
        elif key == "fan_out":
            fields.wrong(key, "only workflow nodes fan out.", "Make a workflow of it, and start that for each item.")
        elif value is not None:
            fields.findings.warn(fields.at(key), f"{key} does nothing on nodes of the kind {kind}.", "Take it out.")


def _with(fields: Fields, kind: str) -> dict[str, Any]:
    within = fields.mapping("with") if kind in WITH else None
    given: dict[str, Any] = {}
    folded: dict[str, str] = {}
    for name, value in within.items() if within is not None else ():
        assert within is not None
        if kind == "mode":
            given[name] = plain(value)
            continue
        if not ID.fullmatch(name):
            within.wrong(name, f"{name[:60]!r} cannot be an input's name.", "Letters, digits and underscores.")
        key = re.sub(r"\W", "_", name).upper()
        if folded.setdefault(key, name) != name:
            within.wrong(name, f"{folded[key]} and {name} are both INPUTS_{key} to a script.", "Rename one.")
        if isinstance(value, Mapping) and ("from" in value or kind in ("command", "script")):
            given[name] = _from(within, name, value)
        else:
            given[name] = plain(value)
    return given


def _from(within: Fields, name: str, value: Mapping[str, Any]) -> From | None:
    one = Fields(value, within.at(name), within.findings)
    one.only(("from", "if_skipped"))
    reference = one.text("from", required=True, strip=True)
    if reference and not re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_.-]*", reference):
        one.wrong("from", f"{reference[:60]!r} is not one reference.", "Write $node.output or $node.output.field.")
    return From(reference, one.raw("if_skipped"), "if_skipped" in value)


def _context(fields: Fields) -> str:
    given = fields.raw("context")
    if not isinstance(given, dict):
        return fields.choice("context", ("fresh", "shared"))
    within = fields.mapping("context")
    assert within is not None
    within.only(("resume",))
    node = within.text("resume", required=True, strip=True)
    fields.findings.used("node.context.resume")
    return f"resume:{node}" if node else ""


def _retry(fields: Fields, kind: str) -> Retry | None:
    if kind in NO_RETRY:
        if "retry" in fields:
            fields.wrong("retry", f"{kind} nodes are not tried again: {NO_RETRY[kind]}.", "Take it out.")
        return None
    within = fields.mapping("retry") if "retry" in MEANT[kind] else None
    if within is None:
        return AGAIN if kind in ("prompt", "command") else None
    within.only(("max_attempts", "delay_ms", "on_error"))
    if "max_attempts" not in within:
        within.wrong("max_attempts", "it is missing.", "Add max_attempts: 1 to 5, the tries after the first.")
    retries = within.whole("max_attempts", least=1, most=5)
    delay = within.number("delay_ms", least=1000, most=60_000)
    on_error = within.choice("on_error", ("transient", "all"))
    return Retry(retries or 1, (delay or 3000) / 1000, "all" if on_error == "all" else "transient")


def _group(fields: Fields, file: File) -> Body | None:
    within = fields.mapping("loop_group", "loop_group")
    if within is None:
        return None
    within.only(("nodes", *CONTROL, "until_field"))
    if "until_field" in within:
        within.wrong("until_field", "a loop group has no fields of its own.", "Use until or until_bash.")
    steered = control(within, ("until", "until_bash"))
    raw = dict(within.items()).get("nodes")
    if not raw:
        within.wrong("nodes", "it is missing.", "Add nodes: with at least one.")
        return None
    outer, asked = file.agent, agents.chosen(fields, file.agent)
    file.agent = replace(outer, provider=asked.provider, model=asked.model, persist_session=False)
    try:
        nodes = nodes_of(raw, within.at("nodes"), file, group=True)
    finally:
        file.agent = outer
    return LoopGroup(nodes, steered)


ALL = frozenset(keys("node")) | frozenset(KINDS)
ROOT = frozenset(keys("root"))
