"""Texts of workflows and of what they name, and where such texts are asked for."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Source:
    """A text and where it came from: a file's path, or "" for one that came with a call.

    Bytes that are no UTF-8 stand in it as lone surrogates, which `load` refuses by line.
    """

    name: str
    text: str
    path: str = ""

    @classmethod
    def of(cls, name: str, data: bytes, path: str = "") -> "Source":
        """The text of a file's bytes; a byte order mark is left out."""
        return cls(name, data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"), path)


class Around(Protocol):
    """What a workflow may name: other workflows, commands, scripts. Of one that is not there, None."""

    def at(self, source: Source) -> "Around":
        """What is around another workflow, which this one includes or starts."""

    def workflow(self, name: str) -> Source | None:
        """Another workflow's text."""

    def command(self, name: str) -> Source | None:
        """A command's text, front matter included."""

    def script(self, name: str) -> Source | None:
        """A named script's source."""

    def names(self, kind: str) -> list[str]:
        """What there is of a kind (`workflow`, `command`, `script`), for advice."""
