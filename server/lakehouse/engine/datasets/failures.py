"""What can be wrong with a dataset: unknown, damaged, of another schema."""

from collections.abc import Sequence

from lakehouse.engine.manifests import Column, Manifest, fingerprint
from lakehouse.errors import Conflict, NotFound, Upstream, did_you_mean


class DatasetNotFound(NotFound):
    """No dataset, or no version of it, has this name."""


class DatasetAway(DatasetNotFound):
    """No bucket that can be read has a dataset of this name; one that cannot be read may."""


class DatasetDropped(DatasetNotFound):
    """The dataset was dropped, and can be restored."""


class SchemaChanged(Conflict):
    """The data has other columns than the dataset; `data` holds both schemas and what differs."""


class DatasetDamaged(Upstream):
    """The newest manifest or a data file of a dataset cannot be read."""


def check_same_schema(current: Manifest, columns: Sequence[Column]) -> None:
    """Raises SchemaChanged, saying what differs, unless these are the dataset's columns."""
    if current.schema_fingerprint == fingerprint(columns):
        return
    stored = {column.name: column.type for column in current.columns}
    given = {column.name: column.type for column in columns}
    parts = [f"{name} {kind} is new" for name, kind in given.items() if name not in stored]
    parts += [f"{name} {kind} is missing" for name, kind in stored.items() if name not in given]
    parts += [f"{name} was {kind}, is {given[name]}" for name, kind in stored.items() if given.get(name, kind) != kind]
    shown = "; ".join(parts[:10]) + (f"; and {len(parts) - 10} more" if len(parts) > 10 else "")
    raise SchemaChanged(
        f"dataset {current.name!r} has another schema: {shown or 'the columns have another order'}.",
        fix="Ingest under another name, or make the columns as they were (types= sets a column's type).",
        data={
            "stored": [{"name": column.name, "type": column.type} for column in current.columns],
            "given": [{"name": column.name, "type": column.type} for column in columns],
        },
    )


def unknown(name: str, known: list[str]) -> DatasetNotFound:
    """The error for a name that no dataset has; it names the nearest."""
    none = None if known else "There are none yet; ingest_file makes one of a file."
    return DatasetNotFound(f"there is no dataset {name!r}.", fix=did_you_mean(name, known, none))


def dropped(name: str, version: int | None = None) -> DatasetNotFound:
    """The error for a dataset that was dropped, and for the version that says so."""
    if version is not None:
        return DatasetNotFound(
            f"with version {version} dataset {name!r} was dropped; it holds nothing.", fix="Name a version before it."
        )
    return DatasetDropped(
        f"dataset {name!r} was dropped.", fix="restore_dataset brings it back, unless gc has removed its versions."
    )


def lost(what: str) -> DatasetDamaged:
    """The error for a data file that is not what its manifest says."""
    return DatasetDamaged(what, fix="Restore the object from a backup, or ingest the source again under another name.")
