"""Conditions on metadata: which items a search may find."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lakehouse.errors import InvalidInput

MAX_FIELDS = 100


@dataclass(frozen=True)
class Filter:
    """A condition on an item's metadata, checked when it was read. An item without metadata never meets one."""

    fields: tuple[tuple[str, tuple[Any, ...]], ...]

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None) -> "Filter | None":
        """A filter as callers write it: fields that must all hold, each a value or a list of which one is enough.

        None for no condition at all. Raises InvalidInput naming the field.
        """
        if not given:
            return None
        if len(given) > MAX_FIELDS:
            raise InvalidInput(f"metadata_filter: over {MAX_FIELDS} fields.", fix="Ask for fewer.")
        return cls(tuple((name, tuple(v) if isinstance(v, list) else (v,)) for name, v in given.items()))

    def matches(self, metadata: Any) -> bool:
        """Whether an item with this metadata is let through."""
        if not isinstance(metadata, dict):
            return False
        return all(name in metadata and any(_equal(metadata[name], v) for v in values) for name, values in self.fields)


def _equal(some: Any, other: Any) -> bool:
    """JSON equality: 1 is 1.0, true is not 1."""
    return isinstance(some, bool) == isinstance(other, bool) and bool(some == other)
