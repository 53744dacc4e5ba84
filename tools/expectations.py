"""Rules that every version of a dataset must hold."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool
from lakehouse.engine.expectations import Expectation, Finding


class Checked(BaseModel):
    """A dataset and how it holds what is expected of it."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="The version that was looked at.")
    holds: bool = Field(description="Whether every expectation that is an error holds.")
    findings: Sequence[Finding] = Field(description="One for each expectation, in their order.")


@tool(
    "writes",
    name="set_expectations",
    route="PUT /v1/catalog/expectations/{name}",
    toolset="data",
    title="Say what a dataset must hold",
    long=True,
    idempotent=True,
)
async def set(
    lake: Lakehouse,
    name: Annotated[str, "The dataset."],
    expectations: Annotated[Sequence[Expectation], "All of them; [] removes them."],
) -> Checked:
    """Set the rules that every later version of a dataset must hold; the data there must hold them already.

    Example: {"name": "orders", "expectations": [{"rule": "unique", "columns": ["id"]}]}
    """
    manifest, findings = await lake.expectations.set(lake.datasets, name, expectations)
    return Checked(name=name, version=manifest.version, holds=_holds(findings), findings=findings)


@tool(
    name="check_expectations",
    route="GET /v1/catalog/expectations/{name}",
    toolset="data",
    title="Check what a dataset must hold",
    long=True,
)
async def check(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Checked:
    """Check a dataset against its expectations: which rows break which."""
    manifest, findings = await lake.expectations.look(lake.datasets, name)
    return Checked(name=name, version=manifest.version, holds=_holds(findings), findings=findings)


def _holds(findings: Sequence[Finding]) -> bool:
    return all(finding.holds or finding.severity == "warn" for finding in findings)
