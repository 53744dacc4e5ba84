"""Profiles: which datasets and indexes a reader sees."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool
from lakehouse.engine import profiles as engine
from lakehouse.engine.activation import Activated

Aliases = dict[str, str]


class Defaults(BaseModel):
    """What holds in searches where the reader says nothing."""

    k: int | None = Field(None, ge=1, description="Results.")
    model: str | None = Field(None, description="Of the question.")
    use_playbook: bool | None = Field(None, description="In each search.")


class Profile(BaseModel):
    """What a reader is bound to."""

    name: str = Field(description="Its name.")
    bucket: str = Field(description="The bucket whose datasets are seen.")
    datasets: Sequence[str] | None = Field(None, description="Only these of them; absent: all.")
    indexes: Aliases | None = Field(None, description="Names readers have for indexes, or for generations: index@n.")
    corpora: Sequence[str] | None = Field(None, description="Indexes and corpora they have by their own names.")
    defaults: Defaults | None = Field(None, description="What holds in searches where the reader says nothing.")


class Profiles(BaseModel):
    """The profiles."""

    profiles: Sequence[Profile] = Field(description="By name.")
    count: int = Field(description="How many.")


class Deleted(BaseModel):
    """A profile that is not there any more."""

    name: str = Field(description="Its name.")


@tool(name="list_profiles", route="GET /v1/profiles", toolset="admin", title="List profiles")
async def list(lake: Lakehouse) -> Profiles:
    """List the profiles: what readers can be bound to."""
    found = [Profile(**one.as_dict()) for one in await lake.profiles.list()]
    return Profiles(profiles=found, count=len(found))


@tool(
    "writes",
    name="set_profile",
    route="PUT /v1/profiles/{name}",
    toolset="admin",
    title="Set a profile",
    idempotent=True,
)
async def set(
    lake: Lakehouse,
    name: Annotated[str, "Of letters, digits, _ . -"],
    bucket: Annotated[str, "Whose datasets readers see."],
    datasets: Annotated[Sequence[str] | None, "Only these of them."] = None,
    indexes: Annotated[Aliases | None, "Their names for indexes, or for index@n."] = None,
    corpora: Annotated[Sequence[str] | None, "Indexes and corpora they see."] = None,
    defaults: Annotated[Defaults | None, "For searches."] = None,
) -> Profile:
    """Make a profile, or change it: what readers bound to it see.
    Example: {"name": "eu", "bucket": "eu", "corpora": ["tickets"]}"""
    given = None if defaults is None else engine.Defaults(**defaults.model_dump())
    made = await lake.profiles.set(name, bucket, datasets, indexes=indexes, corpora=corpora or (), defaults=given)
    return Profile(**made.as_dict())


@tool(
    "destroys",
    name="delete_profile",
    route="DELETE /v1/profiles/{name}",
    status=204,
    toolset="admin",
    title="Delete a profile",
)
async def delete(lake: Lakehouse, name: Annotated[str, "The profile."]) -> Deleted:
    """Delete a profile: whoever is bound to it reaches nothing any more. No data is removed."""
    await lake.profiles.delete(name)
    return Deleted(name=name)


@tool(
    name="activate_profile",
    route="POST /v1/profiles/{name}/activate",
    toolset="admin retrieval",
    title="Activate a profile",
    long=True,
)
async def activate(lake: Lakehouse, name: Annotated[str, "The profile."]) -> Activated:
    """Open and check everything a profile names, so that its first question is quick; says what has a problem."""
    from lakehouse.engine.activation import activate as run

    async with lake.within(name):
        assert lake.profile is not None
        return await run(lake.profile, lake.vectors, lake.datasets, lake.embed)
