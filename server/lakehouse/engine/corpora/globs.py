"""Patterns of paths below a folder: `*.md`, `guide/**`, `**/*.py`."""

import re
from collections.abc import Callable, Sequence

from lakehouse.errors import InvalidInput

Matcher = Callable[[Sequence[str]], list[bool]]


def matcher(patterns: Sequence[str]) -> Matcher:
    """Which of some paths (`a/b/c.md`) match one of the patterns. Imports pyarrow: call it in a worker thread.

    `*` and `?` stay within one name, `**` goes through folders. A pattern without a slash is matched against the name
    in any folder; one that ends in a slash stands for everything below. It takes time linear in the paths, whatever
    the patterns are: callers at a distance write them. Raises InvalidInput for patterns that are too much together.
    """
    if not patterns:
        return lambda paths: [False] * len(paths)
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = r"(?s)\A(?:" + "|".join(f"(?:{_regex(pattern)})" for pattern in patterns) + r")\z"

    def matching(paths: Sequence[str]) -> list[bool]:
        # A name that is not UTF-8 is no document's; it is told of by whoever reads it.
        texts = pa.array([path.encode("utf-8", "replace").decode() for path in paths], pa.large_string())
        found: list[bool] = pc.match_substring_regex(texts, pattern=whole).to_pylist()
        return found

    try:
        matching([""])
    except (pa.ArrowInvalid, UnicodeEncodeError):
        raise InvalidInput(
            "include, exclude: the patterns are too long, too many, or not valid Unicode.", fix="Use fewer."
        ) from None
    return matching


def _regex(pattern: str) -> str:
    pattern = pattern.removeprefix("./")
    if pattern.endswith("/"):
        pattern += "**"
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(special.get(part, re.escape(part)) for part in parts)
