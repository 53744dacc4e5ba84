"""Which model the names of workflow files stand for."""

import pytest

from lakehouse import config
from lakehouse.engine.chat.naming import chosen
from lakehouse.errors import InvalidInput

SETTINGS = config.Chat(
    provider="litellm",
    model="ollama_chat/qwen3.5",
    small="ollama_chat/tiny",
    large="openrouter/a/b",
    aliases=("@fast=small", "codex=large", "pi:kiro/minimax=openai/x", "opus=large"),
)


@pytest.mark.parametrize(
    ("provider", "model", "used", "noted"),
    [
        ("", "", "ollama_chat/qwen3.5", False),
        ("", "small", "ollama_chat/tiny", False),
        ("", "medium", "ollama_chat/qwen3.5", False),
        ("", "large", "openrouter/a/b", False),
        ("", "@fast", "ollama_chat/tiny", False),
        ("", "@slow", "ollama_chat/qwen3.5", True),
        ("", "llama3.2:3b", "ollama_chat/llama3.2:3b", False),
        ("", "openai/gpt-5", "openai/gpt-5", False),
        ("", "sonnet", "ollama_chat/qwen3.5", True),
        ("", "opus", "openrouter/a/b", False),
        ("ollama", "llama3.2", "ollama_chat/llama3.2", False),
        ("ollama", "small", "ollama_chat/tiny", False),
        ("claude", "", "ollama_chat/qwen3.5", True),
        ("claude", "sonnet", "ollama_chat/qwen3.5", True),
        ("claude", "large", "openrouter/a/b", True),
        ("claude", "opus", "openrouter/a/b", False),
        ("codex", "", "openrouter/a/b", False),
        ("codex", "gpt-5", "openrouter/a/b", False),
        ("codex", "small", "ollama_chat/tiny", False),
        ("pi", "kiro/minimax", "openai/x", False),
        ("pi", "ollama/qwen3.5", "ollama_chat/qwen3.5", True),
    ],
)
def test_names(provider: str, model: str, used: str, noted: bool) -> None:
    found = chosen(SETTINGS, provider, model)
    assert (found.model, bool(found.note)) == (used, noted)


@pytest.mark.parametrize("field", [{"api_key_env": "KEY"}, {"api_base": "http://127.0.0.1:1"}])
def test_a_caller_does_not_choose_where_the_key_is_sent(field: dict[str, str]) -> None:
    """litellm takes an address, or a provider, from a model's name, and sends it the key it is given."""
    bound = SETTINGS.model_copy(update=field)
    for model in ("huggingface/https://evil.example/", "https://evil.example/x", "openai/x", "ollama_chat/../x"):
        with pytest.raises(InvalidInput, match="model: "):
            chosen(bound, "", model)
    # The settings' own are theirs to send.
    assert chosen(bound, "", "large").model == "openrouter/a/b"
    assert chosen(bound, "", "ollama_chat/other").model == "ollama_chat/other"


def test_an_address_is_no_name_even_without_a_key() -> None:
    with pytest.raises(InvalidInput, match="model: "):
        chosen(SETTINGS, "", "huggingface/https://evil.example/")
