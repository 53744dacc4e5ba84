"""Text put into Markdown as what it is: no emphasis, link, picture, heading, list, table or HTML comes of it.

After CommonMark 0.31: https://spec.commonmark.org/0.31.2/#backslash-escapes, and GFM's tables and strikethrough.
"""

import re
from itertools import groupby

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Underscores within a word are never emphasis, and names are read more easily without backslashes.
_ACTIVE = re.compile(r"[\\`*\[\]|~$]|_(?![^\W_])|(?<![^\W_])_|(?:(?<=\s)|^)#")
_STARTS = re.compile(r"^(?:(?P<bullet>[-+])(?=\s|-|$)|(?P<number>\d{1,9})(?=[.)](?:\s|$))|(?P<line>=))")
# What is not to be seen, and marks that would have text shown in another order than it stands.
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_BREAK = re.compile(r"\r\n|[\n\r\u2028\u2029]")


def inline(text: str) -> str:
    """A text within one line: line breaks become spaces."""
    line = " ".join(_UNSEEN.sub("", text).split())
    line = _ACTIVE.sub(lambda found: "\\" + found[0], line).translate(_ENTITIES)
    return _STARTS.sub(lambda found: f"{found[0]}\\" if found["number"] else f"\\{found[0]}", line)


def block(text: str) -> str:
    """A text of several lines, which stay: blank ones part paragraphs, the others end with a break."""
    lines = [inline(line) for line in _BREAK.split(text)]
    paragraphs = [list(held) for blank, held in groupby(lines, key=lambda line: not line) if not blank]
    return "\n\n".join("\\\n".join(lines) for lines in paragraphs)


def fenced(text: str, language: str = "") -> str:
    """A text as a block of code, in a fence that is longer than any within it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    named = re.sub(r"[^A-Za-z0-9_+#.-]", "", language)[:40]
    return f"{fence}{named}\n{_UNSEEN.sub('', text)}\n{fence}"
