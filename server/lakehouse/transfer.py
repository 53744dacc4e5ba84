"""Contents too large or too raw for JSON, on their way in or out over HTTP: files on this machine's disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from lakehouse.config import Config


class Upload(BaseModel):
    """A file somebody sent. It is removed when the call ends; a capability may move it away before."""

    path: Path = Field(description="Where it lies for now.")
    size: int = Field(description="Its size in bytes.")
    filename: str = Field("", description="What the sender calls it; never a path to write to.")
    media_type: str = Field("", description="What the sender says it is.")


class Download(BaseModel):
    """A file to send."""

    path: Path = Field(description="Where it lies.")
    size: int = Field(description="Its size in bytes.")
    media_type: str = Field("application/octet-stream", description="What it is.")
    etag: str | None = Field(None, description="A tag for these contents.")
    filename: str | None = Field(None, description="What the receiver may call it.")
    temporary: bool = Field(False, description="Whether it is removed once it is sent.")
    headers: Mapping[str, str] = Field({}, description="More headers of the answer.")


@dataclass(frozen=True)
class Accepts:
    """How much a parameter of type Upload takes: `Annotated[Upload | None, Accepts(limit, "section.key")]`.

    `limit` gives the bytes from the settings and the other arguments; `setting` is the one an error names.
    """

    limit: Callable[[Config, Mapping[str, Any]], int]
    setting: str
