"""The ways in which a reference can stand in a bash script."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from lakehouse.engine.workflows.references.sums import Taken

# word: a word of a command, or of an expansion within one; double, single, ansi: the quotes "…", '…', $'…'; here and
# literal: a here-document of which bash expands the text, or (<<'EOF') does not; computed: bash computes what stands
# there, as in $((…)); unsure: any of them.
Kind = Literal["word", "double", "single", "ansi", "here", "literal", "comment", "computed", "unsure"]


class Place(NamedTuple):
    """Where one reference stands. `command` is what stands before it in its command; `heredoc` which literal one it
    is in; `tabs`: that loses the tabs at the beginnings of its lines; `escaped`: a backslash stands before it."""

    kind: Kind
    command: str = ""
    heredoc: int | None = None
    tabs: bool = False
    escaped: bool = False
    taken: Taken = "text"


@dataclass(frozen=True)
class HereDocument:
    """One whose text bash takes literally: where its delimiter stands, and its text."""

    delimiter: str
    start: int
    end: int
    body: int
    over: int
    tabs: bool
