"""One finding of the doctor, and the report they make."""

from pydantic import BaseModel, Field


class Check(BaseModel):
    """One thing that was looked at."""

    name: str = Field(description="What was looked at.")
    ok: bool = Field(description="Whether it is as it should be.")
    required: bool = Field(description="Whether Lakehouse cannot work without it.")
    detail: str = Field(description="What was found.")
    fix: str = Field("", description="What to do about it; empty when nothing is to do.")


class Report(BaseModel):
    """The state of an installation and its data directory."""

    ok: bool = Field(description="Whether every required check is ok.")
    version: str = Field(description="The version of Lakehouse.")
    checks: list[Check] = Field(description="What was looked at, in a fixed order.")


def good(name: str, detail: str, *, required: bool = True) -> list[Check]:
    """A finding that is as it should be."""
    return [Check(name=name, ok=True, required=required, detail=detail)]


def bad(name: str, detail: str, fix: str, *, required: bool = True) -> list[Check]:
    """A finding with what to do about it."""
    return [Check(name=name, ok=False, required=required, detail=detail, fix=fix)]
