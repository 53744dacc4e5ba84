"""Steps for trying workflows out: they need no data and no model."""

from typing import Annotated, Any, Literal

import anyio
from pydantic import BaseModel, Field

from lakehouse import (
    Busy,
    InvalidInput,
    Lakehouse,
    LakehouseError,
    NotFound,
    TimedOut,
    Unavailable,
    Unprocessable,
    Upstream,
    mode,
)

_FAILURES: dict[str, type[LakehouseError]] = {
    kind.code: kind for kind in (InvalidInput, NotFound, Unprocessable, Upstream, Unavailable, TimedOut, Busy)
}


class Echoed(BaseModel):
    """What was given."""

    value: Any


class Text(BaseModel):
    """One text."""

    text: str


class Waited(BaseModel):
    """How long it was waited."""

    seconds: float


@mode()
async def echo(lake: Lakehouse, value: Annotated[Any, "Anything; it comes back unchanged."] = None) -> Echoed:
    """Return what was given."""
    return Echoed(value=value)


@mode()
async def upper(lake: Lakehouse, text: Annotated[str, "The text to upper-case."]) -> Text:
    """Upper-case a text."""
    return Text(text=text.upper())


@mode()
async def fail(
    lake: Lakehouse,
    code: Annotated[
        Literal["invalid_request", "not_found", "unprocessable", "upstream", "unavailable", "timeout", "busy"],
        "Which error; the last four are worth another try.",
    ] = "unprocessable",
    detail: Annotated[str, "What the error says."] = "it was to fail.",
) -> Text:
    """Fail, to see what a workflow makes of it: retry, trigger_rule, the run's verdict."""
    raise _FAILURES[code](detail, fix="Take fixture.fail out.")


@mode(long=True)
async def wait(lake: Lakehouse, seconds: Annotated[float, Field(ge=0, le=600), "How long."] = 1) -> Waited:
    """Wait, to see what runs beside it, what a time limit does, and how a run is cancelled."""
    await anyio.sleep(seconds)
    return Waited(seconds=seconds)
