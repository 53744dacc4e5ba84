"""Words of a bash script that bash takes for sums or names once their quotes are gone: quoting them is not enough."""

import re
from typing import Literal

# The text that a word is; a sum; the name of a variable, of which bash computes what stands in its [ ]; the place of an
# element in a list, `x=([…]=1)`, or its key where lists are maps, which bash reads twice: quotes do not help there; or
# the text of a variable that the script computes with later.
Taken = Literal["text", "sum", "name", "element", "key", "later"]

MAX_READ = 64 * 1024  # characters of a script in which it is looked for what it computes with
# Where the name of a command stands.
BEGINS = (
    r"^(?:[\s!({]|(?:if|then|else|elif|do|while|until|time|coproc|builtin|command|exec|sudo|env|timeout\s+\S+"
    r"|[\w.+]+=\S*|[\w.]+\)|\*\))(?=\s))*"
)
_COMPARES = re.compile(r"(?<!\S)-(?:eq|ne|lt|le|gt|ge|v|R)(?!\S)")
_SUMS = re.compile(BEGINS + r"let\s")
# Builtins that take a word for a name, and compute what stands in its [ ].
_NAMES = re.compile(
    BEGINS + r"(?:unset\s|read\s(?!(?:.*\s)?-\w*p\s+(?:\S*|[\x22'][^\x22']*)$)|mapfile\s|readarray\s|getopts\s"
    r"|printf\s+-v\s+\S*$|wait\s.*-p\s+\S*$|(?:test|\[)\s(?:.*\s)?-[vR]\s+\S*$"
    r"|(?:declare|typeset|local|readonly)\s(?:.*\s)?[^\s=]*$)",
    re.DOTALL,
)
_ANY = re.compile(r"[\[=]|let|unset|read|mapfile|getopts|printf|wait|test|declare|typeset|local|for|\\")
_DECLARED = re.compile(r"\b(?:declare|typeset|local|readonly|export)\s+((?:[-+]\w+\s+)+)([^;&|\n]*)")
_INDEX = re.compile(BEGINS + r"\{?(\w+)\[[^\]\s]*$|\{(\w+)\[[^\]\s]*$")
_NAMED_INDEX = re.compile(r"\w\[[^\]\s]*$")
_LOOPED = re.compile(BEGINS + r"for\s+(\w+)\s+in\s")
# What bash computes, with the names that are in it; so long that texts of such beginnings alone take no time.
_COMPUTED = re.compile(
    r"\(\((.{0,300}?)\)\)|\$\[([^\]]{0,300})\]|\[\[(.{0,300}?)\]\]|(?:^|[\s;&|])let\s([^;&|\n]{0,300})|\w\[([^\]\n]{0,300})\]|\$\{\w+:([^}]{0,300})",
    re.DOTALL,
)
_PLACED = re.compile(r"(?:^|\s)\[[^\]\s]*$")
_ASSIGNED = re.compile(r"(?:^|[\s;&|(!])(\w+)\+?=[^\s]*$")


class Declared:
    """What a script declares its variables to be: `maps` have texts in [ ], all others sums."""

    def __init__(self, script: str) -> None:
        sums, maps, aliases = set[str](), set[str](), set[str]()
        for declared in _DECLARED.finditer(script):
            names = re.findall(r"(?<!\S)(\w+)", declared[2])
            for letter, found in (("i", sums), ("A", maps), ("n", aliases)):
                found.update(names if letter in declared[1] else ())
        self.maps = maps - sums
        self._sums = sums
        self._aliases = aliases
        sought = [] if len(script) > MAX_READ else _COMPUTED.findall(script)
        computed = (text for texts in sought for place, text in enumerate(texts) if place != 2 or compares(text))
        self._computed = {name for text in computed for name in re.findall(r"[A-Za-z_]\w*", text)}

    def taken(self, command: str) -> Taken:
        """What the word is taken for that stands behind this part of a command."""
        if _ANY.search(command) is None:
            return "text"
        command = command.replace("\\", "")
        index, assigned = _INDEX.search(command), _ASSIGNED.search(command)
        if index is not None and (index[1] or index[2]) not in self.maps:
            return "sum"
        if (assigned is not None and assigned[1] in self._sums) or _SUMS.search(command):
            return "sum"
        if (assigned is not None and assigned[1] in self._aliases) or _NAMES.search(command):
            return "sum" if _NAMED_INDEX.search(command) else "name"
        bound = assigned or _LOOPED.search(command)
        return "later" if bound is not None and bound[1] in self._computed else "text"

    def listed(self, before: str, elements: str) -> Taken:
        """The same within a list `x=(…)`: `before` its bracket stands the one part, and behind it the other."""
        if _PLACED.search(elements):
            return "key" if self.maps else "element"
        assigned = _ASSIGNED.search(before)
        return "sum" if assigned is not None and assigned[1] in self._sums else "text"


def compares(condition: str) -> bool:
    """Whether a part of `[[ … ]]` compares numbers, or asks for a variable."""
    return _COMPARES.search(condition) is not None
