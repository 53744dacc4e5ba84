"""How one file shall be read and stored: what a caller may say of it, and what is meant where nothing is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from lakehouse.engine.progress import Progress, unheard
from lakehouse.errors import Conflict

if TYPE_CHECKING:
    from lakehouse.engine.expectations import Expectation


@dataclass(frozen=True)
class Expected:
    """What a caller says beforehand the data is; None where nothing is said."""

    schema_fingerprint: str | None = None
    row_count: int | None = None
    sha256: str | None = None
    size_bytes: int | None = None

    def check(self, name: str, fingerprint: str, rows: int, source: Mapping[str, Any]) -> None:
        """Raises Conflict when the data read for a dataset is something else."""
        read = {
            "schema_fingerprint": (self.schema_fingerprint, fingerprint),
            "row_count": (self.row_count, rows),
            "sha256": (self.sha256 and self.sha256.lower(), source["sha256"]),
            "size_bytes": (self.size_bytes, source["bytes"]),
        }
        for what, (said, found) in read.items():
            if said not in (None, found):
                raise Conflict(
                    f"{what}: the data for dataset {name!r} has {found}, not {said}.",
                    fix=f"Check the data, or leave {what} out.",
                )


class Asked(TypedDict, total=False):
    """The options by name; see Options."""

    source: str | None
    delimiter: str | None
    encoding: str | None
    types: Mapping[str, str] | None
    provenance: Mapping[str, Any] | None
    expected: Expected | None
    quarantine: bool | None
    expectations: Sequence["Expectation"] | None
    progress: Progress | None


@dataclass(frozen=True)
class Options:
    """What is asked for.

    `source` is csv, tsv, json, jsonl or parquet (default: by suffix); the file may be gzip or zstd. `types` sets
    column types by name. `expected` is what the data must be. `provenance` is kept with the version.
    With `quarantine`, rows that cannot be stored become a dataset beside it. `expectations` are what the dataset is to
    hold from now on; None: what it held before.
    """

    source: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    expected: Expected | None = None
    quarantine: bool = False
    expectations: "Sequence[Expectation] | None" = None
    progress: Progress = unheard

    @classmethod
    def of(cls, asked: Asked) -> "Options":
        """The options that are given; None is as good as not given."""
        given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        return cls(**given)
