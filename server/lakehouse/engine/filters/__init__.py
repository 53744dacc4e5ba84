"""Conditions on metadata: which items a search may find. Light to import."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread

from lakehouse.engine.filters.conditions import Condition, holds, tests
from lakehouse.engine.filters.reading import Reader


@dataclass(frozen=True)
class Filter:
    """A condition on items' metadata. An item whose metadata is no object never meets one.

    `key` is the same for filters that are written the same.
    """

    condition: Condition
    key: bytes = field(compare=False)

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None, name: str = "filter") -> "Filter | None":
        """A filter as callers write it: fields that must all hold, each a value, a list of which one is enough, or
        operators ({"age": {"$gte": 30}}); "$and", "$or", "$not" join such objects. Dots reach fields of objects,
        unless there is a field of just that name. conditions.py says what each operator means.

        `name` is the argument's, for messages. None for no condition at all. Raises InvalidInput naming the place;
        regular expressions are looked at by `check`, or when the filter is used.
        """
        if not given:
            return None
        condition = Reader().conditions(given, name)
        return cls(condition, hashlib.blake2b(repr(condition).encode(), digest_size=16).digest())

    def check(self) -> None:
        """Raises InvalidInput for a bad regular expression, naming its place. Call it in a worker thread."""
        for test in tests(self.condition):
            test.check()

    def matches(self, metadata: Any) -> bool:
        """Whether an item with this metadata is let through. Call it in a worker thread where there may be a regex."""
        return isinstance(metadata, dict) and holds(self.condition, metadata)


async def checked(given: Mapping[str, Any] | None, name: str = "filter") -> Filter | None:
    """`Filter.parse`, and its regular expressions are checked, too. Raises InvalidInput naming the place."""
    found = Filter.parse(given, name)
    if found is not None and any(test.op == "regex" for test in tests(found.condition)):
        await anyio.to_thread.run_sync(found.check)
    return found
