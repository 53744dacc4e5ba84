"""What datasets hold: profiles, and the card to write SQL by."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, resource, tool
from lakehouse.engine.profiling import Profile

INSTRUCTIONS = "Before writing SQL about unfamiliar tables: schema_card, columns with types, ranges, values and joins."


class Card(BaseModel):
    """A card of tables."""

    text: str = Field(description="The card.")


@tool(
    name="profile_dataset",
    route="GET /v1/catalog/profile/{name}",
    toolset="data sql",
    title="Profile a dataset",
    long=True,
)
async def profile(
    lake: Lakehouse,
    name: Annotated[str, "The dataset."],
    as_of: Annotated[int | str | None, "A version, or a moment."] = None,
) -> Profile:
    """Say what each column holds: type, nulls, distinct, range, mean, frequent values, samples, signs of personal data.

    To write SQL, schema_card has the gist of it.
    """
    return await lake.profiler.profile(lake.datasets, name, as_of)


@tool(name="schema_card", route="/v1/catalog/card", toolset="core data sql", title="Describe tables for SQL", long=True)
async def card(
    lake: Lakehouse,
    names: Annotated[Sequence[str] | None, "The datasets; default all."] = None,
    max_chars: Annotated[int, Field(ge=400, le=400_000), "Room; 4 characters are about a token."] = 16_000,
) -> Card:
    """Describe datasets in the text needed to write correct SQL: columns, types, ranges, values, keys, likely joins.

    Read it before query_sql on tables you do not know. Example: {"names": ["orders", "customers"]}
    """
    return Card(text=await lake.profiler.card(lake.datasets, names, max_chars))


@resource("lakehouse://datasets/{name}/profile", title="A dataset's profile", complete={"name": "datasets.names"})
async def facts(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Profile:
    """What each column of a dataset holds."""
    return await lake.profiler.profile(lake.datasets, name)


@resource(
    "lakehouse://datasets/{name}/card",
    title="A dataset's card",
    mime_type="text/plain",
    complete={"name": "datasets.names"},
)
async def text(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> str:
    """What it takes to write SQL about a dataset."""
    return await lake.profiler.card(lake.datasets, [name], 16_000)
