"""A piece of a document."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["auto", "plain", "markdown", "code", "table"]


@dataclass(frozen=True)
class Piece:
    """What is embedded and found.

    `key` names the piece inside its document and no other piece of it: the heading path, the symbol's qualified name,
    the first row's number, a window's number; "" is the document itself. Where it can, it stays the same while other
    parts of the document change. `fields` are JSON values for the metadata:

    markdown  heading ("Guide > Install"), level (1 to 6, 0 before the first heading), line_start, line_end
    code      symbol ("Store.open"), symbol_kind, parent ("Store"), language, line_start, line_end; between symbols
              instead of the first three `symbols`, the constants and short types that stand there
    table     row_start, row_end (of the data rows, from 1), line_start, line_end
    plain     none

    Lines count from 1 and the last belongs to the piece. A field that does not apply is absent.
    """

    text: str
    key: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
