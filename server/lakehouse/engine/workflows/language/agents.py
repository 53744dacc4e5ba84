"""What of a node or file is for the model that answers."""

from dataclasses import replace

from lakehouse.engine.workflows.language.fields import Fields
from lakehouse.engine.workflows.language.tiers import ABOUT, PROVIDERS, TIERS
from lakehouse.engine.workflows.model import Agent

EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
THINKING = ("adaptive", "enabled", "disabled")
READ = frozenset(
    "provider model effort thinking output_format allowed_tools denied_tools systemPrompt maxBudgetUsd "
    "persist_session".split()
)
LEFT_OUT = frozenset(
    name.removeprefix("node.") for name, tier in TIERS.items() if name.startswith("node.") and tier == "warn"
)
HOOKS = frozenset(
    "PreToolUse PostToolUse PostToolUseFailure Notification UserPromptSubmit SessionStart SessionEnd Stop StopFailure "
    "SubagentStart SubagentStop PreCompact PostCompact PermissionRequest Setup TeammateIdle TaskCompleted TaskCreated "
    "Elicitation ElicitationResult ConfigChange WorktreeCreate WorktreeRemove InstructionsLoaded CwdChanged "
    "FileChanged".split()
)
HOOK_KEYS = frozenset({"matcher", "response", "command", "timeout"})


def agent_of(fields: Fields, around: Agent) -> Agent:
    """The agent of a node, with what its file says for all of them where it says nothing."""
    output_format = fields.mapping("output_format")
    allowed = fields.texts("allowed_tools")
    agent = replace(
        chosen(fields, around),
        system=fields.text("systemPrompt"),
        output_format=fields.raw("output_format") if output_format is not None else None,
        allowed_tools=allowed,
        denied_tools=fields.texts("denied_tools") or (),
        max_cost_usd=fields.number("maxBudgetUsd", above=True),
        persist_session=fields.flag("persist_session", around.persist_session),
    )
    if output_format is not None:
        output_format.mapping("properties")
        output_format.texts("required")
    for key in sorted(LEFT_OUT):
        if key in fields:
            fields.findings.warn(fields.at(key), f"{key} is left out: {ABOUT[f'node.{key}']}.")
    _check_hooks(fields)
    return agent


def chosen(fields: Fields, around: Agent) -> Agent:
    """Which model answers and how it thinks. A node with a provider of its own has no model of another's."""
    provider = fields.text("provider", strip=True)
    if provider and provider.lower() not in PROVIDERS:
        fields.findings.warn(
            fields.at("provider"),
            f"the provider {provider[:60]!r} is none of ours; the configured one answers, unless it is mapped.",
            "chat.aliases says what it stands for, or --provider-map for one run.",
        )
    model = fields.text("model", strip=True)
    if not model and provider in ("", around.provider):
        model = around.model
    return replace(
        around,
        provider=provider or around.provider,
        model=model,
        effort=fields.choice("effort", EFFORTS) or around.effort,
        thinking=_thinking(fields) or around.thinking,
    )


def _thinking(fields: Fields) -> object:
    given = fields.raw("thinking")
    if isinstance(given, dict):
        within = fields.mapping("thinking")
        assert within is not None
        within.only({"type", "budgetTokens"})
        kind, tokens = within.choice("type", THINKING), within.whole("budgetTokens", least=1)
        return {"type": kind} | ({"budgetTokens": tokens} if tokens else {}) if kind else None
    kind = fields.choice("thinking", THINKING)
    return {"type": kind} if kind else None


def _check_hooks(fields: Fields) -> None:
    """Hooks are not run, but one that is misspelled is an error, as it is where they are."""
    hooks = fields.mapping("hooks")
    for event, matchers in hooks.items() if hooks is not None else ():
        assert hooks is not None
        if event not in HOOKS:
            hooks.wrong(event, f"{event[:60]!r} is not an event that hooks have.", "Mend it, or take hooks: out.")
        elif not isinstance(matchers, list):
            hooks.wrong(event, "it must be a list.", "Write a list of matchers.")
        else:
            for matcher in matchers:
                bad = sorted(set(matcher) - HOOK_KEYS) if isinstance(matcher, dict) else ["a matcher that is none"]
                if bad:
                    hooks.wrong(event, f"a matcher may not have {bad[0][:60]!r}.", "Mend it, or take hooks: out.")
