"""A workflow as it is understood: nodes of one kind each, with every default filled in. Times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Trigger = Literal["all_success", "one_success", "none_failed_min_one_success", "all_done"]
BASH_SECS = 120.0
IDLE_SECS = 30 * 60.0
MAX_DEPTH = 3  # of runs below runs
RESERVED_IDS = frozenset({"INPUTS"})


@dataclass(frozen=True)
class Input:
    """A declared input. With neither `required` nor a `default` it is the empty text when it is not given."""

    name: str
    required: bool = False
    default: Any = None
    has_default: bool = False
    description: str = ""
    type: str = "string"  # string, integer, number, boolean, object, array


@dataclass(frozen=True)
class From:
    """A value of `with:` written as `{from: $n.output, if_skipped: ...}`: where n was skipped, `if_skipped`.

    Without `has_default`, a skipped n is what it is to any other reference.
    """

    reference: str
    if_skipped: Any = None
    has_default: bool = False


@dataclass(frozen=True)
class Retry:
    """How often a node is tried again: `retries` 1 is two attempts; `delay` seconds, doubled each time."""

    retries: int
    delay: float = 3.0
    on_error: Literal["transient", "all"] = "transient"


@dataclass(frozen=True)
class Agent:
    """What of a prompt is for the model that answers it. `allowed_tools` None: as the provider has it; (): none."""

    provider: str = ""
    model: str = ""
    effort: str = ""
    thinking: Any = None
    system: str = ""
    output_format: Mapping[str, Any] | None = None
    allowed_tools: tuple[str, ...] | None = None
    denied_tools: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    persist_session: bool = False


@dataclass(frozen=True)
class Prompt:
    """A text for a model; of a `command`, the body of its file."""

    text: str
    agent: Agent = Agent()
    command: str = ""  # the name of the command it was read from


@dataclass(frozen=True)
class Bash:
    """A script for `bash -c`."""

    script: str
    timeout: float = BASH_SECS


@dataclass(frozen=True)
class Script:
    """Python (`uv`) or JavaScript (`bun`): a source, or the source of the file `name`."""

    source: str
    runtime: Literal["bun", "uv"]
    name: str = ""
    deps: tuple[str, ...] = ()
    timeout: float = BASH_SECS


@dataclass(frozen=True)
class Control:
    """When a loop ends: at the first channel that says so, and it fails after `max_iterations` without."""

    max_iterations: int
    until: str = ""
    until_bash: str = ""
    until_field: str = ""
    fresh_context: bool = False
    interactive: bool = False
    gate_message: str = ""
    signal_completes: bool = False


@dataclass(frozen=True)
class Loop:
    """One prompt, repeated."""

    prompt: Prompt
    control: Control


@dataclass(frozen=True)
class LoopGroup:
    """A graph of its own, repeated."""

    nodes: "tuple[Node, ...]"
    control: Control


@dataclass(frozen=True)
class Decision:
    """An answer somebody may give at a gate."""

    id: str
    label: str = ""


@dataclass(frozen=True)
class OnReject:
    """What is done with a rejection: a prompt runs, then the gate asks again, so many times.

    `reworks` is the node upstream that the prompt's answer takes the place of; "": the prompt works by what it does.
    """

    prompt: str
    max_attempts: int = 3
    reworks: str = ""
    agent: Agent = Agent()


@dataclass(frozen=True)
class Approval:
    """A gate that waits for somebody."""

    message: str
    capture_response: bool = False
    on_reject: OnReject | None = None
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Cancel:
    """Ends the whole run."""

    reason: str


@dataclass(frozen=True)
class FanOut:
    """One child run for each item. `items` is a reference that yields an array."""

    items: str
    name: str = ""  # `as`: the input that holds the item
    max_parallel: int = 5
    join: Literal["all_done", "all_success"] = "all_done"


@dataclass(frozen=True)
class Child:
    """Another workflow, as a run of its own."""

    workflow: str
    input: str | None = None
    fan_out: FanOut | None = None
    output_format: Mapping[str, Any] | None = None  # what its output is said to be; nothing holds it to that


@dataclass(frozen=True)
class Mode:
    """One of our own capabilities; `Node.given` are its arguments."""

    name: str


Body = Prompt | Bash | Script | Loop | LoopGroup | Approval | Cancel | Child | Mode
KINDS: Mapping[type, str] = {
    Prompt: "prompt",
    Bash: "bash",
    Script: "script",
    Loop: "loop",
    LoopGroup: "loop_group",
    Approval: "approval",
    Cancel: "cancel",
    Child: "workflow",
    Mode: "mode",
}


@dataclass(frozen=True)
class Node:
    """One node. `include`d ones are here already, under `<include>__<id>`, with their `$INPUTS` filled in."""

    id: str
    body: Body
    depends_on: tuple[str, ...] = ()
    when: str = ""
    trigger_rule: Trigger = "all_success"
    context: str = ""  # "": as the graph has it; fresh, shared, or resume:<node>
    idle_timeout: float = IDLE_SECS
    timeout: float | None = None  # seconds for all of it; None: no such limit
    retry: Retry | None = None
    always_run: bool = False
    output_type: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)  # `with`; but for modes, values may be a From
    description: str = ""

    @property
    def kind(self) -> str:
        """The key it was written with; a `command` is one, too."""
        if isinstance(self.body, Prompt) and self.body.command:
            return "command"
        return KINDS[type(self.body)]

    @property
    def agent(self) -> Agent | None:
        """What is for a model, of a node that asks one."""
        if isinstance(self.body, Loop):
            return self.body.prompt.agent
        return self.body.agent if isinstance(self.body, Prompt) else None


@dataclass(frozen=True)
class Workflow:
    """A workflow that was read and can be checked and run."""

    name: str
    description: str
    nodes: tuple[Node, ...]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    returns: str = ""
    outcome_field: str = ""
    interactive: bool = False
    evidence_required: bool = False
    timeout: float | None = None  # seconds for the whole run; None: workflows.timeout_secs
    max_cost_usd: float | None = None
    tool: bool = False
    title: str = ""
    triggers: tuple[Mapping[str, Any], ...] = ()
    output_format: Mapping[str, Any] | None = None  # that of the node `returns` names
    agent: Agent = Agent()  # what its prompts have where they say nothing themselves

    def node(self, id: str) -> Node | None:
        """The node of this id, outside of loop groups."""
        return next((node for node in self.nodes if node.id == id), None)
