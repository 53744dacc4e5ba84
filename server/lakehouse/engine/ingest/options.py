"""How one file shall be read and stored: what a caller may say of it, and what is meant where nothing is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

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


Mode = Literal["replace", "append", "upsert"]


class Asked(TypedDict, total=False):
    """The options by name; see Options."""

    source: str | None
    delimiter: str | None
    encoding: str | None
    types: Mapping[str, str] | None
    sheet: str | None
    header_row: int | None
    source_column: str | None
    mode: Mode | None
    key: Sequence[str] | None
    evolve: bool
    repeat: bool
    deletes: str
    provenance: Mapping[str, Any] | None
    expected: Expected | None
    quarantine: bool | None
    expectations: Sequence["Expectation"] | None
    progress: Progress | None
    bucket: str | None


@dataclass(frozen=True)
class Options:
    """What is asked for.

    `source` is csv, tsv, json, jsonl, parquet, xlsx or pdf (default: by suffix); the file may be gzip or zstd. `types`
    sets column types by name. `sheet` is that of a workbook, by name or number from 1, `header_row` the row of its
    column names. `source_column` is a column to add that says which of many files a row is from.

    The rows `replace` what is there, are an `append` to it, or an `upsert`: each takes the place of the row with the
    same `key`. With `evolve` the dataset gets the columns it does not have yet. With `repeat` content is appended that
    the dataset has already. `deletes` is the column of an upsert that says which rows go.

    `expected` is what the data must be. `provenance` is kept with the version.
    `bucket` is where a new dataset goes. With `quarantine`, rows that cannot be stored become a dataset beside it.
    `expectations` are what the dataset is to hold from now on; None: what it held before.
    `request` is what else the reading process must be told of a source that is no single file; it may hold credentials.
    `warnings` are told with those of the reading.
    """

    source: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None
    header_row: int | None = None
    source_column: str | None = None
    mode: Mode = "replace"
    key: Sequence[str] = ()
    evolve: bool = False
    repeat: bool = False
    deletes: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    expected: Expected | None = None
    quarantine: bool = False
    expectations: "Sequence[Expectation] | None" = None
    progress: Progress = unheard
    bucket: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: Asked) -> "Options":
        """The options that are given; None is as good as not given."""
        given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        return cls(**given)
