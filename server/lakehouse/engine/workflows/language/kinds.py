"""What each kind of node holds, as the body it is."""

import re
from collections.abc import Callable

from lakehouse.engine.workflows.language import agents
from lakehouse.engine.workflows.language.fields import Fields
from lakehouse.engine.workflows.language.file import File
from lakehouse.engine.workflows.model import (
    BASH_SECS,
    Approval,
    Bash,
    Body,
    Cancel,
    Child,
    Control,
    Decision,
    FanOut,
    Loop,
    Mode,
    OnReject,
    Prompt,
    Script,
    Workflow,
)
from lakehouse.errors import did_you_mean

INLINE = re.compile(r"[\n;(){}&|<>$`\"' ]")
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CONTROL = ("max_iterations", "until", "until_bash", "fresh_context", "interactive", "gate_message", "signal_completes")
SUFFIXES = {"uv": (".py",), "bun": (".ts", ".js", ".mjs", ".tsx", ".jsx")}


def prompt(fields: Fields, file: File) -> Body:
    """A prompt of its own."""
    return Prompt(fields.text("prompt", strip=True), agents.agent_of(fields, file.agent))


def command(fields: Fields, file: File) -> Body:
    """A prompt from a command's file."""
    return _commanded(fields, fields, file)


def _commanded(fields: Fields, whose: Fields, file: File) -> Prompt:
    name = fields.text("command", strip=True)
    text = file.command(name, fields.at("command")) if name else ""
    if text is not None and name and not text:
        fields.wrong("command", f"the command {name[:60]!r} is empty.", "Write its prompt.")
    return Prompt(text or "", agents.agent_of(whose, file.agent), command=name)


def bash(fields: Fields, file: File) -> Body:
    """A script for bash."""
    return Bash(fields.text("bash"), fields.seconds("timeout") or BASH_SECS)


def script(fields: Fields, file: File) -> Body:
    """A script of its own, or a named one."""
    text, runtime = fields.text("script"), fields.choice("runtime", ("bun", "uv"))
    if "runtime" not in fields:
        fields.wrong("runtime", "it is missing.", "Add runtime: uv for Python, or runtime: bun for JavaScript.")
    deps, timeout = fields.texts("deps") or (), fields.seconds("timeout") or BASH_SECS
    if deps and runtime == "bun":
        fields.findings.warn(fields.at("deps"), "deps are for runtime: uv; they are left out.")
        deps = ()
    name = "" if not text or INLINE.search(text.strip()) else text.strip()
    if name:
        found = file.script(name, fields.at("script"))
        text = found.text if found is not None else ""
        suffix = "." + found.path.rpartition(".")[2] if found is not None and "." in found.path else ""
        others = [one for one, suffixes in SUFFIXES.items() if suffix in suffixes and one != runtime]
        if others and runtime:
            fields.wrong("runtime", f"the script {name!r} is a {suffix} file.", f"Write runtime: {others[0]}.")
    return Script(text, "bun" if runtime == "bun" else "uv", name, deps, timeout)


def control(fields: Fields, channels: tuple[str, ...]) -> Control:
    """When a loop ends."""
    rounds = fields.whole("max_iterations", least=1)
    if "max_iterations" not in fields:
        fields.wrong("max_iterations", "it is missing.", "Add max_iterations: 10, or how often it may run.")
    found = Control(
        max_iterations=rounds or 1,
        until=fields.text("until", strip=True),
        until_bash=fields.text("until_bash"),
        until_field=fields.text("until_field", strip=True) if "until_field" in channels else "",
        fresh_context=fields.flag("fresh_context"),
        interactive=fields.flag("interactive"),
        gate_message=fields.text("gate_message"),
        signal_completes=fields.flag("signal_completes"),
    )
    if not any(channel in fields for channel in channels):
        fields.wrong("until", "it never says when it is done.", f"Add one of {', '.join(channels)}.")
    if found.interactive and "gate_message" not in fields:
        fields.wrong("gate_message", "interactive: true needs it.", "Write what is asked between iterations.")
    if "gate_message" in fields and not found.interactive:
        fields.findings.warn(fields.at("gate_message"), "it is never shown.", "Add interactive: true.")
    return found


def loop(fields: Fields, file: File) -> Body | None:
    """A prompt that is repeated."""
    within = fields.mapping("loop", "loop")
    if within is None:
        return None
    within.only(("prompt", "command", *CONTROL, "until_field"))
    if ("prompt" in within) == ("command" in within):
        both = "prompt" in within
        within.wrong("prompt", "it has prompt and command." if both else "it has no prompt.", "Give it one of the two.")
        return None
    if "command" in within:
        asked = _commanded(within, fields, file)
    else:
        asked = Prompt(within.text("prompt", strip=True), agents.agent_of(fields, file.agent))
    steered = control(within, ("until", "until_bash", "until_field"))
    if steered.until_field and not is_required_boolean(asked.agent.output_format, steered.until_field):
        within.wrong(
            "until_field",
            f"{steered.until_field[:60]!r} is not a required boolean of output_format.",
            "Declare it there, and name it under required.",
        )
    return Loop(asked, steered)


def approval(fields: Fields, file: File) -> Body | None:
    """A gate."""
    within = fields.mapping("approval", "approval")
    if within is None:
        return None
    within.only(("message", "capture_response", "on_reject", "decisions"))
    rejected = within.mapping("on_reject")
    on_reject = None
    if rejected is not None:
        rejected.only(("prompt", "max_attempts", "reworks"))
        if "reworks" in rejected:
            file.findings.used("on_reject.reworks")
        most = rejected.whole("max_attempts", least=1, most=10)
        asked = rejected.text("prompt", required=True, strip=True)
        on_reject = OnReject(asked, most or 3, rejected.text("reworks", strip=True), file.agent)
        if "decisions" in within:
            within.wrong("decisions", "it stands beside on_reject.", "Give it one of the two.")
    decisions = _decisions(within)
    return Approval(within.text("message", required=True), within.flag("capture_response"), on_reject, decisions)


def _decisions(fields: Fields) -> tuple[Decision, ...]:
    given = fields.raw("decisions")
    if given is None:
        return ()
    if not isinstance(given, list):
        fields.wrong("decisions", "it must be a list.", "Write - id: approve, and the others.")
        return ()
    found: list[Decision] = []
    for item in given:
        if not isinstance(item, dict):
            fields.wrong("decisions", "an item is no mapping.", "Write - id: approve.")
            continue
        one = Fields(item, fields.at("decisions"), fields.findings)
        one.only(("id", "label"))
        id = one.text("id", required=True)
        if id and not KEBAB.fullmatch(id):
            fields.wrong("decisions", f"{id[:60]!r} is not an id: small letters, digits and hyphens.", "Rename it.")
        elif id in (other.id for other in found):
            fields.wrong("decisions", f"{id!r} stands there twice.", "Take one out.")
        found.append(Decision(id, one.text("label")))
    if not any(one.id == "approve" for one in found):
        fields.wrong("decisions", "none of them is approve.", "Add - id: approve.")
    return tuple(found)


def cancel(fields: Fields, file: File) -> Body:
    """The end of the run."""
    return Cancel(fields.text("cancel", strip=True))


def mode(fields: Fields, file: File) -> Body:
    """One of our own capabilities."""
    return Mode(fields.text("mode", strip=True))


def child(fields: Fields, file: File) -> Body:
    """Another workflow, as a run of its own."""
    name = fields.text("workflow", strip=True)
    fan_out = _fan_out(fields, file)
    if name:
        from lakehouse.engine.workflows.language.root import known_child

        found = known_child(name, fields.at("workflow"), file)
        if found is not None:
            _check_given(fields, found, fan_out.name if fan_out is not None else "")
    if "input" in fields and "with" in fields:
        fields.wrong("input", "it stands beside with.", "Give the child one of the two.")
    if fields.choice("isolation", ("inherit", "worktree")) == "worktree":
        file.findings.used("workflow.isolation.worktree")
        fields.findings.warn(fields.at("isolation"), "there are no worktrees; the child stands where its parent does.")
    schema = fields.raw("output_format") if fields.mapping("output_format") is not None else None
    return Child(name, fields.text("input") or None, fan_out, schema)


def _check_given(fields: Fields, found: Workflow, item: str) -> None:
    """What a child is given has to be declared there, and what it requires has to be given."""
    given = dict.fromkeys(fields.raw("with") or {}) if isinstance(fields.raw("with"), dict) else {}
    for name in given:
        if name not in found.inputs:
            fields.wrong(f"with.{name}", f"{found.name!r} has no such input.", did_you_mean(name, found.inputs))
    if item and item not in found.inputs:
        fields.wrong("fan_out.as", f"{found.name!r} has no input {item}.", did_you_mean(item, found.inputs))
    for name, one in found.inputs.items():
        if one.required and name not in given and name != item:
            fields.wrong("with", f"{found.name!r} needs the input {name}.", f"Add {name} to with:.")


def _fan_out(fields: Fields, file: File) -> FanOut | None:
    within = fields.mapping("fan_out")
    if within is None:
        return None
    within.only(("items", "as", "max_parallel", "join"))
    name = within.text("as", strip=True)
    if name and not INPUT_NAME.fullmatch(name):
        within.wrong("as", f"{name[:60]!r} cannot be an input's name.", "Letters, digits and underscores.")
    if within.raw("join") == "first_success":
        file.findings.used("fan_out.first_success")
        within.wrong("join", "first_success, a race among children, is not supported.", "all_done or all_success.")
        join = ""
    else:
        join = within.choice("join", ("all_done", "all_success"))
    at_once = within.whole("max_parallel", least=1)
    return FanOut(
        within.text("items", required=True, strip=True),
        name,
        at_once or 5,
        "all_success" if join == "all_success" else "all_done",
    )


def is_required_boolean(schema: object, field: str) -> bool:
    """Whether a JSON Schema of an object promises a boolean under a name."""
    if not isinstance(schema, dict):
        return False
    properties, required = schema.get("properties"), schema.get("required")
    one = properties.get(field) if isinstance(properties, dict) else None
    return isinstance(one, dict) and one.get("type") == "boolean" and isinstance(required, list) and field in required


BODIES: dict[str, Callable[[Fields, File], Body | None]] = {
    "prompt": prompt,
    "command": command,
    "bash": bash,
    "script": script,
    "loop": loop,
    "approval": approval,
    "cancel": cancel,
    "workflow": child,
    "mode": mode,
}
