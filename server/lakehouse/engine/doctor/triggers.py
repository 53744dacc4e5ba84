"""Whether the triggers of workflow files can fire."""

from lakehouse.config import Settings
from lakehouse.engine.doctor.check import Check, bad, good


def check_triggers(settings: Settings) -> list[Check]:
    """What is wrong with triggers, where they are switched on. It blocks."""
    if not settings.config.workflows.triggers:
        return []
    from lakehouse.engine.workflows.library import Library
    from lakehouse.engine.workflows.triggers.trigger import triggers_of

    found, wrong = 0, []
    for loaded in Library(lambda: [*settings.config.plugins.folders, settings.home]).listing():
        flow = loaded.workflow
        if flow is not None:
            triggers, problems = triggers_of(flow.triggers, flow.inputs, flow.interactive)
            found += len(triggers)
            wrong += [f"{flow.name}: {problem.where}: {problem.message}" for problem in problems]
    if wrong:
        return bad(
            "triggers",
            " ".join(wrong)[:2000],
            "Mend the files; `lakehouse workflow triggers` tells more.",
            required=False,
        )
    return good("triggers", f"{found} can fire")
