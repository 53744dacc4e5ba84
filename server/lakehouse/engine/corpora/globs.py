"""Patterns of paths below a folder: `*.md`, `guide/**`, `**/*.py`."""

import re
from collections.abc import Callable, Sequence


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path (`a/b/c.md`) matches one of the patterns.

    `*` and `?` stay within one name, `**` goes through folders. A pattern without a slash is matched against the name
    in any folder; one that ends in a slash stands for everything below.
    """
    if not patterns:
        return lambda path: False
    whole = re.compile("|".join(f"(?:{_regex(pattern)})" for pattern in patterns), re.DOTALL)
    return lambda path: whole.fullmatch(path) is not None


def _regex(pattern: str) -> str:
    pattern = pattern.removeprefix("./")
    if pattern.endswith("/"):
        pattern += "**"
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(special.get(part, re.escape(part)) for part in parts)
