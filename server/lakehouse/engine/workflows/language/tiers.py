"""How much of each feature of the language there is. Published: documentation and `workflow_validate` show it.

`run` and `run_second` run as Archon runs them; `extension` is ours alone; `warn` is read and left out; `refuse` is an
error.
"""

from dataclasses import dataclass
from typing import Literal

Tier = Literal["run", "run_second", "extension", "warn", "refuse"]


@dataclass(frozen=True)
class Feature:
    """A feature, named as `root.KEY`, `kind.KIND`, `node.KEY` or `KIND.KEY`, and what is to be said of it."""

    name: str
    tier: Tier
    about: str = ""


def _all(tier: Tier, prefix: str, names: str, about: str = "") -> tuple[Feature, ...]:
    return tuple(Feature(f"{prefix}.{name}", tier, about) for name in names.split())


CLAUDE = "it is for one provider's agent, which is not used here"
FEATURES: tuple[Feature, ...] = (
    *_all("run", "root", "name description nodes provider model effort thinking inputs returns interactive"),
    Feature("root.persist_sessions", "run", "what persist_session is where a node says nothing of it"),
    Feature("root.modelReasoningEffort", "run", "an older spelling of effort"),
    *_all("run_second", "root", "outcome_field evidence_policy"),
    *_all("extension", "root", "tool title timeout max_cost_usd triggers"),
    Feature("root.budget", "run_second", "max_spend_usd is taken as max_cost_usd; max_work_units is left out"),
    Feature("root.tags", "warn", "nothing here sorts workflows by them"),
    Feature("root.worktree", "warn", "runs stand in the folder of whoever starts them"),
    Feature("root.container", "warn", "there are no containers"),
    Feature("root.mutates_checkout", "warn", "runs do not lock the folder they stand in"),
    Feature("root.requires", "warn", "nothing is asked of other services before a run"),
    *_all("warn", "root", "fallbackModel betas sandbox webSearchMode", CLAUDE),
    Feature("root.steps", "refuse", "the older list of steps; write nodes: with depends_on:"),
    *_all("run", "kind", "prompt command bash script loop loop_group approval cancel"),
    *_all("run_second", "kind", "include workflow"),
    Feature("kind.mode", "extension", "one of our own capabilities, with its arguments in with:"),
    *_all("run", "node", "id description depends_on when trigger_rule context idle_timeout retry always_run with"),
    Feature("node.context.resume", "run_second"),
    Feature("node.output_type", "run_second"),
    Feature("node.timeout", "run", "milliseconds; on kinds other than bash and script it is ours"),
    *_all("run", "node", "runtime deps input isolation"),
    *_all("run", "node", "provider model effort thinking output_format allowed_tools denied_tools systemPrompt"),
    *_all("run", "node", "maxBudgetUsd"),
    Feature("node.persist_session", "run", "goes on where the starter's last run of the workflow left off"),
    *_all("warn", "node", "fallbackModel mcp skills agents hooks settingSources betas sandbox pi", CLAUDE),
    Feature("node.fan_out", "run_second"),
    Feature("fan_out.first_success", "refuse", "a race among children; write all_done or all_success"),
    Feature("workflow.isolation.worktree", "warn", "children stand in the folder their parent stands in"),
    *_all("run", "loop", "prompt command max_iterations until until_bash until_field fresh_context interactive"),
    *_all("run", "loop", "gate_message signal_completes"),
    *_all("run", "loop_group", "nodes max_iterations until until_bash fresh_context interactive gate_message"),
    Feature("loop_group.signal_completes", "run"),
    *_all("run", "approval", "message capture_response on_reject decisions"),
    Feature("on_reject.reworks", "extension", "the prompt whose output the rework takes the place of"),
)
TIERS: dict[str, str] = {feature.name: feature.tier for feature in FEATURES}
ABOUT: dict[str, str] = {feature.name: feature.about for feature in FEATURES}
# Providers that requests can be sent to; of others only the name is kept, and the configured one answers.
PROVIDERS = frozenset(
    "litellm scripted ollama ollama_chat openai azure anthropic gemini vertex_ai bedrock mistral groq deepseek cohere "
    "openrouter together_ai fireworks_ai xai huggingface hosted_vllm lm_studio llamafile".split()
)


def keys(prefix: str) -> tuple[str, ...]:
    """The keys that features of a kind name: of `root`, those of a file."""
    return tuple(name.split(".")[1] for name in TIERS if name.startswith(f"{prefix}.") and name.count(".") == 1)
