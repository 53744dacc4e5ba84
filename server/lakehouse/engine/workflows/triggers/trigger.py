"""A trigger as a workflow's file has it under `triggers:`, checked."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lakehouse.engine.workflows.model import Input
from lakehouse.engine.workflows.problems import Problem
from lakehouse.engine.workflows.references.inputs import checked_inputs
from lakehouse.engine.workflows.triggers.due import check_cron
from lakehouse.errors import InvalidInput, did_you_mean

Kind = Literal["cron", "dataset", "webhook"]
KINDS: tuple[Kind, ...] = ("cron", "dataset", "webhook")
COMMON = ("input", "overlap", "catch_up")
OWN: Mapping[str, tuple[str, ...]] = {"cron": ("timezone",), "dataset": (), "webhook": ("secret_env",)}
OVERLAPS, CATCH_UPS = ("skip", "parallel"), ("none", "last")
# What a firing is, by what `{from: trigger.…}` names it.
TOLD: Mapping[str, tuple[str, ...]] = {
    "cron": ("kind", "at", "cron"),
    "dataset": ("kind", "at", "dataset", "version"),
    "webhook": ("kind", "at", "webhook", "body"),
}
HOOK = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
# Such variables are known as credentials: their values are cut out of all that leaves.
SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(_KEY|_TOKEN|_SECRET|_PASSWORD)")


@dataclass(frozen=True)
class Trigger:
    """What starts a workflow. `on` is the cron expression, the dataset, or the hook's name."""

    kind: Kind
    on: str
    timezone: str = "UTC"
    secret_env: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    overlap: str = "skip"
    catch_up: str = "none"

    def key(self, workflow: str) -> str:
        """What tells it apart from all others: the same as long as nothing of it changes."""
        told = [workflow, self.kind, self.on, self.timezone, self.input, self.overlap, self.catch_up]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def inputs(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The run's inputs at a firing. Raises InvalidInput for a part of the body that is not there."""
        return {name: _filled(name, value, told) for name, value in self.input.items()}


def triggers_of(
    given: Sequence[Mapping[str, Any]], inputs: Mapping[str, Input], interactive: bool = False
) -> tuple[list[Trigger], list[Problem]]:
    """The triggers of a file with these inputs, and what is wrong with the others."""
    found: list[Trigger] = []
    problems: list[Problem] = []
    for number, one in enumerate(given):
        here = f"triggers.{number}"
        trigger = _trigger(one, inputs, here, problems)
        if trigger is not None and interactive:
            problems.append(Problem(here, "the workflow asks somebody while it runs.", "Leave its gates out."))
        elif trigger is not None and trigger.key("") in {other.key("") for other in found}:
            problems.append(Problem(here, "it stands here twice.", "Leave one out."))
        elif trigger is not None:
            found.append(trigger)
    return found, problems


def _trigger(given: Mapping[str, Any], inputs: Mapping[str, Input], here: str, out: list[Problem]) -> Trigger | None:
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        said = f"it is {' and '.join(kinds)} at once." if kinds else "it says not what starts the workflow."
        out.append(Problem(here, said, f"Give it one of {', '.join(KINDS)}."))
        return None
    (kind,) = kinds
    known = (kind, *OWN[kind], *COMMON)
    wrong = [
        Problem(f"{here}.{key}", f"{str(key)[:60]!r} is not a key of a {kind} trigger.", did_you_mean(str(key), known))
        for key in given
        if key not in known
    ]
    texts = {key: given[key] for key in (kind, *OWN[kind], "overlap", "catch_up") if given.get(key) is not None}
    for key, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            wrong.append(Problem(f"{here}.{key}", "it must be a text.", f'Write {key}: "…".'))
    if kind not in texts:
        wrong.append(Problem(f"{here}.{kind}", "it is empty.", "Give it a value."))
    if not wrong:
        made = Trigger(kind, texts.pop(kind).strip(), **{"overlap": _usual(kind), **texts})
        wrong += [replace(one, where=f"{here}.{one.where}") for one in _strange(made)]
        given_inputs = given.get("input")
        if given_inputs is not None and not isinstance(given_inputs, Mapping):
            wrong.append(Problem(f"{here}.input", "it must be a mapping.", "Write input: {name: value}."))
        else:
            made = replace(made, input=dict(given_inputs or {}))
            wrong += [replace(one, where=f"{here}.{one.where}") for one in _unfit(made, inputs)]
    out += wrong
    return None if wrong else made


def _usual(kind: Kind) -> str:
    """What happens when it fires while its last run still runs: posts are never dropped by themselves."""
    return "parallel" if kind == "webhook" else "skip"


def _strange(trigger: Trigger) -> list[Problem]:
    found = []
    for key, value, known in (
        ("overlap", trigger.overlap, OVERLAPS),
        ("catch_up", trigger.catch_up, CATCH_UPS),
    ):
        if value not in known:
            found.append(Problem(key, f"{value[:60]!r} is none of {', '.join(known)}.", did_you_mean(value, known)))
    if trigger.kind == "cron":
        where, said, fix = check_cron(trigger.on, trigger.timezone)
        if said:
            found.append(Problem(where, said, fix))
    if trigger.kind == "webhook":
        if not HOOK.fullmatch(trigger.on):
            found.append(Problem("webhook", "it is no name for a path.", "Use letters, digits, - _ and dots."))
        if trigger.secret_env and not SECRET.fullmatch(trigger.secret_env):
            fix = "Call the variable …_SECRET: then its value is cut out of logs and answers."
            found.append(Problem("secret_env", "it names no variable for a credential.", fix))
    return found


def _unfit(trigger: Trigger, inputs: Mapping[str, Input]) -> list[Problem]:
    """What of its inputs does not fit those of the workflow."""
    found: list[Problem] = []
    literal: dict[str, Any] = {}
    for name, value in trigger.input.items():
        if isinstance(value, Mapping) and set(value) == {"from"}:
            parts = str(value["from"]).split(".")
            told = TOLD[trigger.kind]
            deep = len(parts) > 2 and parts[1] != "body"
            if len(parts) < 2 or parts[0] != "trigger" or parts[1] not in told or deep:
                fix = f"There are {', '.join(f'trigger.{one}' for one in told)}."
                found.append(Problem(f"input.{name}", f"{str(value['from'])[:60]!r} is nothing of a firing.", fix))
            if name not in inputs:
                literal[name] = None
        else:
            literal[name] = value
    filled = {name for name in trigger.input if name not in literal}
    declared = {name: replace(one, required=one.required and name not in filled) for name, one in inputs.items()}
    try:
        checked_inputs(declared, literal)
    except InvalidInput as error:
        found.append(Problem("input", error.detail, error.fix))
    return found


def _filled(name: str, value: Any, told: Mapping[str, Any]) -> Any:
    if not (isinstance(value, Mapping) and set(value) == {"from"}):
        return value
    _, first, *rest = str(value["from"]).split(".")
    here = told[first]
    for part in rest:
        if isinstance(here, list) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
        elif isinstance(here, Mapping) and part in here:
            here = here[part]
        else:
            raise InvalidInput(f"{name}: the body has no {'.'.join(rest)[:80]}.", fix="Send it.")
    return here
