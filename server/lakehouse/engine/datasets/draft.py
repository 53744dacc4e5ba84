"""What a dataset's next version shall be, before it has a number."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse.engine.manifests import Column, DataFile, Manifest


@dataclass(frozen=True)
class Draft:
    """The next version's contents. `operation` is the word history shows: ingest, append, upsert, delete, …"""

    operation: str
    columns: tuple[Column, ...]
    objects: tuple[DataFile, ...]
    row_count: int
    key: tuple[str, ...] = ()
    expectations: tuple[Mapping[str, Any], ...] = ()
    dropped: bool = False
    statistics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, operation: str, **changed: Any) -> "Draft":
        """The same contents as a version that is there, but for what is changed."""
        same = cls(
            operation,
            manifest.columns,
            manifest.objects,
            manifest.row_count,
            manifest.key,
            manifest.expectations,
        )
        return replace(same, **changed)

    def same_as(self, manifest: Manifest) -> bool:
        """Whether a version that is there has these very contents."""
        mine = (self.columns, self.objects, self.key, tuple(map(dict, self.expectations)), self.dropped)
        its = (manifest.columns, manifest.objects, manifest.key, manifest.expectations, manifest.dropped)
        return mine == its


# Given the newest version there is (None for a new name; `dropped` when it was dropped), the next one; None when there
# is nothing to do. It is asked again when somebody else committed meanwhile, and may raise what keeps it from that.
Change = Callable[[Manifest | None], Awaitable[Draft | None]]
