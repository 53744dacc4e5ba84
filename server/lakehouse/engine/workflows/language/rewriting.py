"""Nodes with other names in what they refer to, and with the inputs of an included block filled in."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse.engine.workflows.language.conditions import filled, text_of
from lakehouse.engine.workflows.model import (
    Agent,
    Approval,
    Bash,
    Body,
    Cancel,
    Child,
    Control,
    From,
    Loop,
    LoopGroup,
    Mode,
    Node,
    Prompt,
    Script,
)

_REFERENCE = re.compile(r"\$(LOOP_PREV\.)?([A-Za-z_][A-Za-z0-9_-]*)(?=\.output)")
_IN_WHEN = re.compile(r"'[^']*'|\$(LOOP_PREV\.)?([A-Za-z_][A-Za-z0-9_-]*)(?=\.[A-Za-z_])")
INPUT = re.compile(r"\$INPUTS\.([A-Za-z_][A-Za-z0-9_-]*)")


@dataclass(frozen=True)
class Names:
    """Ids and what they become. `known`: all that may be referred to; others go to `unknown`. None: any."""

    becomes: Mapping[str, str]
    sinks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # where an id in depends_on is several
    known: frozenset[str] | None = None
    unknown: set[str] = field(default_factory=set)
    before: bool = True  # whether LOOP_PREV means these ids

    def one(self, id: str) -> str:
        """What an id becomes."""
        if self.known is not None and id not in self.known and id != "INPUTS":
            self.unknown.add(id)
        return self.becomes.get(id, id)

    def several(self, ids: Collection[str]) -> tuple[str, ...]:
        """What ids in depends_on become."""
        return tuple(dict.fromkeys(new for id in ids for new in self.sinks.get(id) or (self.one(id),)))

    def text(self, template: str) -> str:
        """A text with its references renamed."""
        return _REFERENCE.sub(self._renamed, template) if "$" in template else template

    def condition(self, when: str) -> str:
        """A condition with its references renamed."""
        return _IN_WHEN.sub(lambda match: self._renamed(match) if match[2] else match[0], when)

    def _renamed(self, match: "re.Match[str]") -> str:
        if match[2] == "INPUTS" or (match[1] and not self.before):
            return match[0]
        return f"${match[1] or ''}{self.one(match[2])}"

    def within(self, body: Collection[Node]) -> "Names":
        """For the body of a loop group, whose own ids stand for themselves."""
        own = {node.id for node in body}
        becomes = {id: new for id, new in self.becomes.items() if id not in own}
        sinks = {id: new for id, new in self.sinks.items() if id not in own}
        known = None if self.known is None else self.known | own
        return Names(becomes, sinks, known, self.unknown, before=False)


def renamed(node: Node, names: Names) -> Node:
    """A node with every reference in it renamed; its own id stays."""
    changed = _mapped(node, names.text, lambda value: _values(value, names.text), group=False)
    context = node.context
    if context.startswith("resume:"):
        context = f"resume:{names.one(context.removeprefix('resume:'))}"
    body = changed.body
    if isinstance(body, LoopGroup):
        inner = names.within(body.nodes)
        written = body.control  # its texts refer to the body, too
        steered = replace(
            written, until_bash=inner.text(written.until_bash), gate_message=inner.text(written.gate_message)
        )
        body = replace(body, control=steered, nodes=tuple(renamed(one, inner) for one in body.nodes))
    depends_on, when = names.several(node.depends_on), names.condition(node.when)
    return replace(changed, body=body, depends_on=depends_on, when=when, context=context)


@dataclass
class Inputs:
    """What the inputs of a block are, as values of `with:`. `missing` gathers those that are none of it."""

    given: Mapping[str, Any]
    missing: set[str] = field(default_factory=set)
    wrong: list[tuple[str, str]] = field(default_factory=list)  # a node's id, and why a value cannot stand there

    def text(self, template: str, shielded: Collection[str] = ()) -> str:
        """A text with the inputs in it filled in, but for those a command has of its own."""

        def put(match: "re.Match[str]") -> str:
            return match[0] if match[1] in shielded else text_of(self.value(match[1], match[0]))

        return INPUT.sub(put, template) if "$INPUTS." in template else template

    def value(self, name: str, otherwise: Any) -> Any:
        """One input."""
        if name not in self.given:
            self.missing.add(name)
            return otherwise
        return self.given[name]

    def argument(self, value: Any, *, directives: bool) -> Any:
        """A value of `with:`. `directives`: it may become a From, which the arguments of a mode may not."""
        if isinstance(value, From):
            return replace(value, reference=self.text(value.reference))
        if not isinstance(value, str):
            return _values(value, lambda text: self.argument(text, directives=False))
        whole = INPUT.fullmatch(value)
        if whole is None:
            return self.text(value)
        found = self.value(whole[1], value)
        return found.reference if isinstance(found, From) and not directives else found


def bound(node: Node, inputs: Inputs) -> Node:
    """A node with the inputs of its block filled in. What a shell runs has them in its environment instead."""
    shielded = tuple(node.given) if isinstance(node.body, Prompt) else ()
    directives = not isinstance(node.body, Mode)
    changed = _mapped(
        node,
        lambda text: inputs.text(text, shielded),
        lambda value: inputs.argument(value, directives=directives),
        shell=lambda text: text,
    )
    body, given = changed.body, changed.given
    if isinstance(body, Bash | Script | Loop | LoopGroup):
        given = {**inputs.given, **given}
    if isinstance(body, LoopGroup):
        body = replace(body, nodes=tuple(bound(one, inputs) for one in body.nodes))
    when = node.when
    if "$INPUTS." in when:
        when, why = filled(when, inputs.given, inputs.missing)
        if why:
            inputs.wrong.append((node.id, why))
    return replace(changed, body=body, given=given, when=when)


def _values(value: Any, change: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, From):
        return replace(value, reference=change(value.reference))
    if isinstance(value, Mapping):
        return {key: _values(inner, change) for key, inner in value.items()}
    return [_values(inner, change) for inner in value] if isinstance(value, list) else value


def _mapped(
    node: Node,
    text: Callable[[str], str],
    value: Callable[[Any], Any],
    shell: Callable[[str], str] | None = None,
    *,
    group: bool = True,
) -> Node:
    """A node with each of its texts changed; not what is within a loop group's body, and no conditions.

    The source of a named script is left as it is; so is a loop group without `group`.
    """
    shell = shell or text

    def of_agent(agent: Agent) -> Agent:
        return replace(agent, system=text(agent.system)) if agent.system else agent

    def of_prompt(prompt: Prompt) -> Prompt:
        return replace(prompt, text=text(prompt.text), agent=of_agent(prompt.agent))

    def of_control(control: Control) -> Control:
        return replace(control, until_bash=shell(control.until_bash), gate_message=text(control.gate_message))

    body: Body = node.body
    if isinstance(body, Prompt):
        body = of_prompt(body)
    elif isinstance(body, Bash):
        body = replace(body, script=shell(body.script))
    elif isinstance(body, Script):
        body = body if body.name else replace(body, source=shell(body.source))
    elif isinstance(body, Loop):
        body = replace(body, prompt=of_prompt(body.prompt), control=of_control(body.control))
    elif isinstance(body, LoopGroup) and group:
        body = replace(body, control=of_control(body.control))
    elif isinstance(body, Approval):
        rejected = body.on_reject
        if rejected is not None:
            reworked = rejected.reworks and text(f"${rejected.reworks}.output")[1:].removesuffix(".output")
            rejected = replace(rejected, prompt=text(rejected.prompt), reworks=reworked)
        body = replace(body, message=text(body.message), on_reject=rejected)
    elif isinstance(body, Cancel):
        body = replace(body, reason=text(body.reason))
    elif isinstance(body, Child):
        fan_out = body.fan_out
        if fan_out is not None:
            fan_out = replace(fan_out, items=text(fan_out.items))
        body = replace(body, input=None if body.input is None else text(body.input), fan_out=fan_out)
    return replace(node, body=body, given={name: value(one) for name, one in node.given.items()})
