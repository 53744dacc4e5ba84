"""Settings of workflows, and of the chat models their prompts are answered by."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from lakehouse.config.section import Section

MIB = 2**20


class Chat(Section):
    """Who answers prompts."""

    provider: Literal["", "litellm", "scripted"] = Field(
        "", description="litellm, or empty for none; scripted answers from a file, for trying things out."
    )
    model: str = Field("", description="As litellm spells it: ollama_chat/qwen3.5, openai/gpt-5-mini.")
    script: Path = Field(Path(""), description="The YAML file of a scripted provider's answers.")


class Workflows(Section):
    """Workflows and their runs."""

    at_once: int = Field(4, ge=1, le=64, description="Nodes of one run that run at once.")
    allow_shell: bool = Field(
        False,
        description="Let bash and script nodes run in workflows started over MCP or HTTP, where their text is a file "
        "of this machine. Of a text that came over the network they never run.",
    )
    timeout_secs: float = Field(24 * 3600, gt=0, description="Seconds a run may take, where its file says nothing.")
    max_output_bytes: int = Field(16 * MIB, ge=1024, description="Bytes one node may put out.")
    keep_runs: int = Field(0, ge=0, description="Runs that gc keeps, the newest, of those that are over; 0: all.")
    keep_days: float = Field(0, ge=0, description="Days that gc keeps a run that is over; 0: for ever.")
