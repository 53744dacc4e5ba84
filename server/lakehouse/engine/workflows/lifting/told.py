"""A lifted workflow as it is told."""

from pydantic import BaseModel, Field


class FromOps(BaseModel):
    """Recorded calls as a workflow."""

    name: str = Field(description="Its name.")
    workflow: str = Field(description="Its YAML.")
    stubs: str = Field(description="What each node answered, for dry runs, as YAML.")
    test: str = Field(description="What a dry run with these must give, as YAML.")
    nodes: int = Field(description="How many it has.")
    notes: list[str] = Field(description="What was left out or could not be lifted, and why.")
    saved: str | None = Field(None, description="The file.")
