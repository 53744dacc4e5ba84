"""Generations of an index: kept, and made live again."""

from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool

Name = Annotated[str, "The index."]


class Swapped(BaseModel):
    """Which generation is live now, and which was."""

    name: str = Field(description="The index.")
    generation: int = Field(description="The one that is live now.")
    previous: int = Field(description="The one that was live; equal: nothing changed.")
    count: int = Field(description="Items of the live one.")
    previous_count: int = Field(description="Items of the other. What was added to it stays in it, and only there.")
    swapped_at: str = Field(description="When the live one went live.")
    kept: bool = Field(description="Whether the other can be read as name@previous, and gone back to.")


@tool(
    "writes",
    name="swap_index",
    route="/v1/vectors/index/{name}/swap",
    toolset="retrieval",
    title="Swap the live generation",
    idempotent=True,
)
async def swap(
    lake: Lakehouse,
    name: Name,
    generation: Annotated[int, "One that get_index lists."],
    force: Annotated[bool, "Even if it is empty."] = False,
) -> Swapped:
    """Make another generation of an index the live one, in one step; searches that run end on the one they began with.
    Example: {"name": "faces", "generation": 3}"""
    return Swapped(**vars(await lake.vectors.swap(name, generation, force=force)))


@tool(
    "writes",
    name="rollback_index",
    route="/v1/vectors/index/{name}/rollback",
    toolset="retrieval",
    title="Roll an index back",
)
async def rollback(lake: Lakehouse, name: Name) -> Swapped:
    """Make the generation that was live before the present one live again; a second time takes that back."""
    return Swapped(**vars(await lake.vectors.rollback(name)))


@tool(
    "writes",
    name="snapshot_index",
    route="/v1/vectors/index/{name}/snapshot",
    toolset="retrieval",
    title="Keep a generation",
)
async def snapshot(lake: Lakehouse, name: Name) -> Swapped:
    """Keep an index as it is now under its generation's number; it goes on with the same items under the next."""
    return Swapped(**vars(await lake.vectors.snapshot(name)))
