"""Whether workflows can be read, and whether somebody answers their prompts."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lakehouse.config import Settings
from lakehouse.engine.doctor.check import Check, bad, good
from lakehouse.errors import LakehouseError


def check_chat(settings: Settings) -> list[Check]:
    """Whether the chat provider has what it needs. It is not called, since that may cost money."""
    chat = settings.config.chat
    if not chat.provider:
        detail = "none; prompts of workflows need one: chat.provider = litellm and chat.model"
        return good("chat model", detail, required=False)
    if chat.provider == "scripted":
        from lakehouse.engine.chat.scripted import Scripted

        try:
            Scripted.read(chat.script)
        except LakehouseError as error:
            return bad("chat model", error.detail, error.fix, required=False)
        return good("chat model", f"answers of {chat.script}; it is for trying things out", required=False)
    if not chat.model:
        fix = "Set chat.model, for instance ollama_chat/qwen3.5."
        return bad("chat model", "chat.provider is litellm and chat.model is not set.", fix, required=False)
    if chat.api_key_env and not os.environ.get(chat.api_key_env, "").strip():
        return bad(
            "chat model",
            f"the environment variable {chat.api_key_env}, which chat.api_key_env names, is empty.",
            f"Put the provider's key into {chat.api_key_env}.",
            required=False,
        )
    return good("chat model", f"{chat.model} through litellm; it was not called", required=False)


def check_workflows(folders: Callable[[], Sequence[Path]]) -> list[Check]:
    """Whether each workflow file can be read; what its nodes name is examined by `workflow.validate`."""
    from lakehouse.engine.workflows.library import Library

    found = Library(folders).listing()
    broken = [one for one in found if one.workflow is None]
    checks = [
        check
        for one in broken
        for check in bad(
            f"workflow {one.source.name}",
            f"{one.source.path}: {one.errors[0]}",
            "Mend the file; `lakehouse workflow validate` tells everything that is wrong with it.",
            required=False,
        )
    ]
    detail = f"{len(found) - len(broken)} can be read; `lakehouse workflow validate` examines what they call"
    return [*checks, *good("workflows", detail, required=False)]
