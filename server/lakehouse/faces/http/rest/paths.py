"""Paths as routes declare them, and what of them a request names."""

import re
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar
from urllib.parse import quote, unquote

from starlette.types import Scope

from lakehouse.errors import InvalidInput

T = TypeVar("T")
_SAFE = "/:@!$&'()*+,;=~"  # what a path holds as it is
_PART = re.compile(r"\{(\w+)(:path)?\}")


class Template:
    """`/v1/x/{name}/{key:path}`: a `{name}` is one part between slashes, a `{key:path}` may hold slashes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names = [name for name, _ in _PART.findall(text)]
        self.shape = _PART.sub(lambda found: "{:path}" if found[2] else "{}", text)
        self.plain = _PART.sub(lambda found: f"{{{found[1]}}}", text)
        # A literal part is nearer to what is meant than a parameter, and that than a rest of any length.
        self.rank = [2 if "{:path}" in part else 1 if "{}" in part else 0 for part in self.shape.split("/")]
        ends = [(at.start(), at.end(), at[1], bool(at[2])) for at in _PART.finditer(text)]
        pattern, begin = "", 0
        for start, end, name, many in ends:
            pattern += _literal(text[begin:start]) + f"(?P<{name}>{'.*' if many else '[^/]+'})"
            begin = end
        self._pattern = re.compile(pattern + _literal(text[begin:]), re.DOTALL)

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a path as it was sent, percent-encoded still; None when it is another."""
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found else None


class Paths(Generic[T]):
    """What lies at each template."""

    def __init__(self, entries: Iterable[tuple[Template, T]]) -> None:
        self.entries: Sequence[tuple[Template, T]] = sorted(entries, key=lambda entry: entry[0].rank)
        self._plain = {
            quote(template.text, safe=_SAFE): found for template, found in self.entries if not template.names
        }

    def at(self, path: str) -> tuple[T, dict[str, str]] | None:
        """What lies at a path, and the path's parameters, percent-encoded still."""
        if (plain := self._plain.get(path)) is not None:
            return plain, {}
        for template, found in self.entries:
            if (parameters := template.match(path)) is not None:
                return found, parameters
        return None


def path_of(scope: Scope) -> str:
    """The path as it was sent: a server decodes it before it says which slash was part of a name."""
    raw = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else bytes(raw).decode("latin-1")


def decoded(name: str, part: str) -> str:
    """One parameter of a path, percent-decoded once. Raises InvalidInput for what is not UTF-8."""
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(f"{name}: the path is not UTF-8.", fix="Percent-encode it as UTF-8.") from None


def _literal(text: str) -> str:
    return re.escape(quote(text, safe=_SAFE))
