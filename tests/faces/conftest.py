"""A project folder with small tools that do what real ones only sometimes do: fail, wait, report, answer at length."""

from pathlib import Path

import pytest

TRIAL = '''\
"""Tools for trying the faces out."""

from typing import Annotated, Any

import anyio
from pydantic import BaseModel, Field

from lakehouse import Lakehouse, NotFound, mode, prompt, resource, tool

INSTRUCTIONS = "trial_add adds."
waiting: list[str] = []


class Sum(BaseModel):
    """A sum."""

    total: int = Field(description="The sum.")


class Answer(BaseModel):
    """Anything."""

    items: list[str] = Field(description="Texts.")
    note: str | None = Field(default=None, description="A remark.")


class Values(BaseModel):
    """Completions."""

    values: list[str]


@tool(toolset="core")
async def add(lake: Lakehouse, a: Annotated[int, "One."], b: Annotated[int, "Another."] = 2) -> Sum:
    """Add two whole numbers."""
    return Sum(total=a + b)


@tool(effect="writes", toolset="admin")
async def keep(
    lake: Lakehouse,
    items: Annotated[list[str], "Texts."],
    options: Annotated[dict[str, Any] | None, "Any."] = None,
) -> Answer:
    """Give texts back, as if they had been kept."""
    return Answer(items=items, note=str(options) if options else None)


@tool(effect="destroys", toolset="admin")
async def crash(lake: Lakehouse) -> Sum:
    """Fail in a way nobody foresaw."""
    raise RuntimeError("the secret reason")


@tool(toolset="admin")
async def missing(lake: Lakehouse, name: Annotated[str, "A name."] = "x") -> Sum:
    """Find nothing."""
    raise NotFound(f"there is no {name}.", fix="There is nothing at all.")


@tool(toolset="admin")
async def long(lake: Lakehouse, n: Annotated[int, "How many."]) -> Answer:
    """Answer at length."""
    return Answer(items=[f"item {i} \\u00e4" for i in range(n)])


@tool(toolset="admin")
async def wait(lake: Lakehouse, path: Annotated[str, "A file to write when the wait ends early."]) -> Sum:
    """Report progress, then wait for ever."""
    await lake.progress(1, 4, "one of four")
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(path).write_text("cancelled", encoding="utf-8")
    return Sum(total=0)


@mode()
async def names(lake: Lakehouse, prefix: Annotated[str, "Typed so far."] = "") -> Values:
    """Names for completion."""
    return Values(values=[n for n in ("ant", "ape a", "bee") if n.startswith(prefix)])


@resource("lakehouse://trial/{name}", complete={"name": "trial.names"}, listed=True)
async def one(lake: Lakehouse, name: Annotated[str, "Which."]) -> Sum:
    """One of a kind."""
    if name not in ("ant", "ape a", "bee"):
        raise NotFound(f"there is no {name}.")
    return Sum(total=len(name))


@prompt(complete={"name": "trial.names"})
async def ask(lake: Lakehouse, name: Annotated[str, "About what."]) -> str:
    """Ask about something."""
    return f"What is {name}?"
'''


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A project folder whose tools/trial.py holds the tools above."""
    folder = tmp_path / "project"
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "trial.py").write_text(TRIAL, encoding="utf-8")
    return folder
