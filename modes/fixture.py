"""Two steps for trying workflows out: they need no data and no model."""

from typing import Annotated, Any

from pydantic import BaseModel

from lakehouse import Lakehouse, mode


class Echoed(BaseModel):
    """What was given."""

    value: Any


class Text(BaseModel):
    """One text."""

    text: str


@mode()
async def echo(lake: Lakehouse, value: Annotated[Any, "Anything; it comes back unchanged."] = None) -> Echoed:
    """Return what was given."""
    return Echoed(value=value)


@mode()
async def upper(lake: Lakehouse, text: Annotated[str, "The text to upper-case."]) -> Text:
    """Upper-case a text."""
    return Text(text=text.upper())
