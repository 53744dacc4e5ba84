"""Settings of workflows, and of the chat models their prompts are answered by."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lakehouse.config.section import Section

MIB = 2**20


class Chat(Section):
    """Who answers prompts."""

    provider: Literal["", "litellm", "scripted"] = Field(
        "", description="litellm, or empty for none; scripted answers from a file, for trying things out."
    )
    model: str = Field("", description="As litellm spells it: ollama_chat/qwen3.5, openai/gpt-5-mini.")
    small: str = Field("", description="What `model: small` of a workflow stands for; empty: chat.model.")
    medium: str = Field("", description="What `model: medium` stands for; empty: chat.model.")
    large: str = Field("", description="What `model: large` stands for; empty: chat.model.")
    aliases: tuple[Annotated[str, Field(pattern=r"^[^=\s]+=[^=\s]+$")], ...] = Field(
        (),
        description="What names of workflow files stand for here, as NAME=MODEL: @fast=openai/gpt-5-mini for a model, "
        "claude=large for a provider, claude:opus=large for a provider's model.",
    )
    api_base: str = Field("", pattern=r"^(https?://[^\s]+)?$", description="Address of the server; empty: litellm's.")
    api_key_env: str = Field(
        "", description="Environment variable with the key; empty: the one litellm looks into for the provider."
    )
    timeout_secs: float = Field(300, gt=0, description="Seconds an answer may take.")
    json_schema: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the server holds answers to a JSON Schema: auto where litellm knows that it does. "
        "Elsewhere the schema is part of the question.",
    )
    script: Path = Field(Path(""), description="The YAML file of a scripted provider's answers.")


class Workflows(Section):
    """Workflows and their runs."""

    at_once: int = Field(4, ge=1, le=64, description="Nodes of one run that run at once.")
    allow_shell: bool = Field(
        False,
        description="Let bash and script nodes run in workflows started over MCP or HTTP, where their text is a file "
        "of this machine. Of a text that came over the network they never run.",
    )
    triggers: bool = Field(
        False,
        description="Start workflows of this machine's files by their triggers: cron, datasets, hooks. Only a process "
        "that stays does, the one that owns the data directory.",
    )
    timeout_secs: float = Field(24 * 3600, gt=0, description="Seconds a run may take, where its file says nothing.")
    max_output_bytes: int = Field(16 * MIB, ge=1024, description="Bytes one node may put out.")
    keep_runs: int = Field(0, ge=0, description="Runs that gc keeps, the newest, of those that are over; 0: all.")
    keep_days: float = Field(0, ge=0, description="Days that gc keeps a run that is over; 0: for ever.")
    max_tool_rounds: int = Field(
        16, ge=1, le=200, description="How often a prompt may have tools called before it must have answered."
    )
    max_tool_result_bytes: int = Field(
        32 * 1024, ge=256, description="Bytes a prompt's model is shown of what one tool answered."
    )
    max_session_bytes: int = Field(
        256 * 1024, ge=1024, description="Bytes kept of a conversation that later prompts go on with."
    )
