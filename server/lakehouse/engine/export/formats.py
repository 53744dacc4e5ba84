"""The formats rows are exported in: their names, suffixes and media types, and how one is chosen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lakehouse.errors import InvalidInput

FormatName = Literal["parquet", "csv", "arrow", "arrows", "xlsx", "json", "jsonl"]


@dataclass(frozen=True)
class Format:
    """One format. `stable` says whether the same rows give the same bytes each time."""

    name: FormatName
    media_type: str
    stable: bool = True

    @property
    def suffix(self) -> str:
        return f".{self.name}"


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format("parquet", "application/vnd.apache.parquet"),
        Format("csv", "text/csv"),
        Format("arrow", "application/vnd.apache.arrow.file"),
        Format("arrows", "application/vnd.apache.arrow.stream"),
        Format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", stable=False),
        Format("json", "application/json"),
        Format("jsonl", "application/jsonl"),
    )
}
MEDIA = {each.media_type: each.name for each in FORMATS.values()}
_OTHER_SUFFIXES = {".ndjson": "jsonl", ".pq": "parquet", ".feather": "arrow"}


def format_called(name: str | None) -> Format:
    """A format by its name. Raises InvalidInput with the names there are."""
    found = FORMATS.get(name or "")
    if found is None:
        what = f"there is no format {name[:40]!r}" if name else "none is named"
        raise InvalidInput(f"format: {what}.", fix=f"Name one of {', '.join(FORMATS)}.")
    return found


def format_for(path: Path, name: str | None, *, strict: bool) -> Format:
    """The format of a file to write: the one that is named, else that of its suffix.

    Where it is `strict`, the suffix must be one of the format's: who may write rows may not write a script or a
    settings file. Raises InvalidInput.
    """
    suffix = path.suffix.lower()
    meant = _OTHER_SUFFIXES.get(suffix, suffix.removeprefix("."))
    if name is None and meant not in FORMATS:
        raise InvalidInput(
            f"path: {path.name!r} does not end in the suffix of a format.",
            fix=f"End it in {', '.join(each.suffix for each in FORMATS.values())}.",
        )
    chosen = format_called(name or meant)
    if strict and meant != chosen.name:
        raise InvalidInput(
            f"path: {path.name!r} does not end in {chosen.suffix}, as {chosen.name} files written from here do.",
            fix="Change the suffix, or leave format out.",
        )
    return chosen
