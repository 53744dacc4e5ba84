"""Which model a name of a workflow file stands for here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lakehouse import config
from lakehouse.errors import InvalidInput

TIERS = ("small", "medium", "large")
# What Claude's own tools call their models, with or without the size of the context: no other provider has them.
_CLAUDE = re.compile(r"(?:sonnet|opus|haiku|inherit)(?:\[\w+\])?")
_NAME = re.compile(r"(?!.*(?://|\.\.))[\w./:@+ -]+", re.ASCII)


@dataclass(frozen=True)
class Chosen:
    """A model as litellm spells it. `note` says why it is another than was asked for, where it is."""

    model: str
    note: str = ""


def chosen(settings: config.Chat, provider: str, model: str) -> Chosen:
    """The model for a provider and a model as they were asked for; either may be empty.

    Callers choose these names, and litellm takes from a model's name where the key is sent. Raises InvalidInput for
    what is no name, such as an address, and for a model of another provider than that of chat.model, whose key or
    api_base is set; models that the settings name are not asked about.
    """
    names = aliases(settings)
    for name in (f"{provider}:{model}" if provider and model else "", model):
        if name in names:
            return Chosen(_named(settings, names[name]))
    if model in TIERS:
        strange = _foreign(settings, provider) and provider not in names
        return Chosen(_named(settings, model), f"provider {provider[:80]} is not set up here" if strange else "")
    if provider in names:
        return Chosen(_named(settings, names[provider]))
    ours = f"{settings.model or 'the configured model'} answers"
    if _foreign(settings, provider):
        return Chosen(settings.model, f"provider {provider[:80]} is not set up here: {ours}")
    if model.startswith("@") or _CLAUDE.fullmatch(model):
        return Chosen(settings.model, f"model {model[:80]} is not set up here: {ours}")
    return Chosen(_literal(settings, model) if model else settings.model)


def aliases(settings: config.Chat) -> Mapping[str, str]:
    """The aliases by name."""
    return {name: model for name, _, model in (one.partition("=") for one in settings.aliases)}


def home(settings: config.Chat) -> str:
    """The provider that chat.model is of, whose the key and the address are."""
    return family(settings.model)


def family(model: str) -> str:
    """What stands before the first slash of a model's name."""
    return model.partition("/")[0] if "/" in model else ""


def _named(settings: config.Chat, name: str) -> str:
    """What a setting names: a model, or a tier."""
    tiers = {"small": settings.small, "medium": settings.medium, "large": settings.large}
    return (tiers[name] or settings.model) if name in tiers else name


def _foreign(settings: config.Chat, provider: str) -> bool:
    return bool(provider) and provider not in ("litellm", home(settings), home(settings).removesuffix("_chat"))


def _literal(settings: config.Chat, model: str) -> str:
    mine = home(settings)
    if mine and "/" not in model:
        model = f"{mine}/{model}"
    bound = settings.model and (settings.api_key_env or settings.api_base)
    if not _NAME.fullmatch(model) or (bound and family(model) != mine):
        raise InvalidInput(
            f"model: {model[:80]!r} is not one that may be asked for here.",
            fix=f"Leave it out, name one of the provider of {settings.model or 'your key'}, or give it a name in "
            "chat.aliases.",
        )
    return model
