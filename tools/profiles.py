"""Profiles: which datasets a reader sees."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


class Profile(BaseModel):
    """What a reader is bound to."""

    name: str = Field(description="Its name.")
    bucket: str = Field(description="The bucket whose datasets are seen.")
    datasets: Sequence[str] | None = Field(None, description="Only these of them; absent: all.")


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
    bucket: Annotated[str, "Readers see this bucket's datasets, and no other's."],
    datasets: Annotated[Sequence[str] | None, "Only these of them."] = None,
) -> Profile:
    """Make a profile or change it. Readers choose it by X-Lakehouse-Profile, /mcp?profile= or --profile; a token or
    server.profile binds them. Example: {"name": "eu", "bucket": "eu"}"""
    return Profile(**(await lake.profiles.set(name, bucket, datasets)).as_dict())


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
