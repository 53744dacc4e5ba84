"""Names of tables in a query: how they are compared, which dataset one means, and what to say when it means none."""

from collections.abc import Iterable

from lakehouse.engine.quoting import identifier
from lakehouse.errors import Conflict, InvalidInput, did_you_mean

_UPPER = {ord(c): ord(c) + 32 for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def folded(name: str) -> str:
    """A name as DuckDB compares identifiers: ASCII letters in lower case, all others as they are."""
    return name.translate(_UPPER)


class Names:
    """The names of datasets, found as SQL finds them: as they are spelled, else without regard to case."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)
        self._by_folded: dict[str, list[str]] = {}
        for name in self._names:
            self._by_folded.setdefault(folded(name), []).append(name)

    def find(self, name: str) -> str | None:
        """The dataset that is meant; None when there is none. Raises Conflict where two differ only by case."""
        if name in self._names:
            return name
        found = self._by_folded.get(folded(name), [])
        if len(found) > 1:
            raise alike(found[0], found[1])
        return found[0] if found else None

    def unknown(self, name: str) -> InvalidInput:
        """The error for a name that means nothing."""
        as_written = [n if n.isidentifier() else identifier(n) for n in self._names]
        none = None if self._names else "There are none yet; ingest_file makes one of a file."
        return InvalidInput(
            f"sql: there is no dataset {name[:200]!r}.",
            fix=did_you_mean(name, as_written, none),
            data={"dataset": name[:200]},
        )


def alike(one: str, other: str) -> Conflict:
    """The error for two names in one query that SQL cannot tell apart."""
    return Conflict(
        f"SQL cannot tell the datasets {one!r} and {other!r} apart: they differ only by case.",
        fix="Query one at a time, spelled exactly.",
    )
