"""A workflow as it is offered as a tool: what its file says of itself, once it is understood."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lakehouse.engine.workflows.language import Source, load
from lakehouse.engine.workflows.library import Library
from lakehouse.engine.workflows.model import Input
from lakehouse.errors import InvalidInput
from lakehouse.sources import workflow_folders

_ASKS = re.compile(r"\$(?:ARGUMENTS|USER_MESSAGE)\b")


@dataclass(frozen=True)
class Offered:
    """A workflow that says `tool: true`. `asks` is whether it reads the message it is run with."""

    name: str
    title: str
    description: str
    inputs: Mapping[str, Input]
    asks: bool


def offered(path: Path, data: bytes, folders: Sequence[Path], home: Path | None) -> Offered | None:
    """The tool that a workflow file is; None: it is none.

    `folders` and `home` are where the commands, scripts and workflows are that it names. Raises InvalidInput for a file
    that cannot be understood.
    """
    source = Source.of(path.stem, data, str(path))
    loaded = load(source, Library(lambda: workflow_folders(folders, home)).around(source))
    flow = loaded.workflow
    if flow is None:
        raise InvalidInput(str(loaded.errors[0]), fix="`lakehouse workflow validate` tells the rest.")
    if not flow.tool:
        return None
    asks = any(_ASKS.search(one.text) for one in (source, *loaded.used.values()))
    title = flow.title or flow.name.replace("-", " ").replace("_", " ").capitalize()
    return Offered(flow.name, title, flow.description.strip(), flow.inputs, asks)


__all__ = ["Input", "Offered", "offered"]
