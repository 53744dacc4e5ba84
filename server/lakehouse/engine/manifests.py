"""What a dataset's version is made of: its manifest, names, keys, ids and fingerprints, and the form on disk."""

import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from lakehouse.errors import InvalidInput

FORMAT = 2
_READABLE = (1, FORMAT)
PREFIX = "_catalog/"
# Data files are read by these names for ever: neither may change.
_NAMESPACE = uuid.UUID("a8f3c1d2-4e5b-5a6c-9d8e-7f0a1b2c3d4e")
_LONGEST_FOLDER = 200
MAX_NAME_BYTES = 128
_BAD_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")
_KEY = re.compile(r"_catalog/([^/]+)/(\d{20})\.json")


class EmptyName(InvalidInput):
    """A dataset's name is empty or blank."""


class EmptyFingerprint(InvalidInput):
    """A schema fingerprint is empty, or there are no columns to take one of."""


class BadManifest(ValueError):
    """A stored manifest cannot be believed; the message says why."""


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a dataset; `key` is its object in the bucket.

    A `base` file holds rows; a `delta` rows that replace those of the same key, or remove them where its column
    `_deleted` is true. Files of a dataset come oldest first. `lacks` are columns of the dataset that were added after
    the file was written: they are null in its rows.
    """

    key: str
    sha256: str
    size_bytes: int
    row_count: int
    role: str = "base"
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column's name and its Arrow type as text: int64, double, string, date32[day], timestamp[us] ..."""

    name: str
    type: str


@dataclass(frozen=True)
class Manifest:
    """One immutable version of a dataset. Times are UTC, RFC 3339 with microseconds.

    `row_count` is what a query counts. `key` are the columns whose values name a row; without one, rows are only ever
    added or replaced as a whole. `operation` says how the version came to be; `dropped` that the dataset ends with it,
    until it is restored.
    """

    dataset_id: str
    name: str
    version: int
    schema_fingerprint: str
    objects: tuple[DataFile, ...]
    row_count: int
    columns: tuple[Column, ...]
    statistics: dict[str, Any]
    provenance: dict[str, Any]
    created_at: str
    updated_at: str
    bucket: str
    operation: str = "ingest"
    key: tuple[str, ...] = ()
    expectations: tuple[dict[str, Any], ...] = ()
    dropped: bool = False

    @property
    def merged(self) -> bool:
        """Whether reading it takes more than its files one after another."""
        return any(file.role != "base" or file.lacks for file in self.objects)

    def copy(self) -> "Manifest":
        """The same manifest with statistics, provenance and expectations of its own: no other part can be changed."""
        return replace(
            self,
            statistics=deepcopy(self.statistics),
            provenance=deepcopy(self.provenance),
            expectations=deepcopy(self.expectations),
        )

    def as_dict(self) -> dict[str, Any]:
        """The manifest as plain JSON data, a copy."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def encoded(self) -> bytes:
        """The manifest as it is stored: JSON with the format's number and a SHA-256 over all the rest."""
        fields = {"format": FORMAT, **asdict(self)}
        return json.dumps({**fields, "checksum": _checksum(fields)}, indent=1).encode()


def decoded(data: bytes) -> Manifest:
    """A stored manifest. Raises BadManifest when it is not one, was altered, or is of a newer format."""
    try:
        fields = json.loads(data)
        given = fields.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadManifest(f"it is not a manifest ({type(error).__name__})") from error
    if fields.get("format") not in _READABLE:
        raise BadManifest(f"it has format {fields.get('format')!r}; this Lakehouse reads formats up to {FORMAT}")
    if _checksum(fields) != given:
        raise BadManifest("its contents do not match its checksum")
    try:
        return Manifest(
            objects=tuple(_file(**file) for file in fields.pop("objects")),
            columns=tuple(Column(**column) for column in fields.pop("columns")),
            key=tuple(fields.pop("key", ())),
            expectations=tuple(fields.pop("expectations", ())),
            **{name: value for name, value in fields.items() if name != "format"},
        )
    except (KeyError, TypeError) as error:
        raise BadManifest(f"it does not have the fields of a manifest ({error})") from error


def _file(lacks: Sequence[str] = (), **fields: Any) -> DataFile:
    return DataFile(lacks=tuple(lacks), **fields)


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_name(name: str) -> str:
    """Return the name when it is a legal one for a dataset: 1 to 128 bytes; quotes, spaces and any script are fine.

    Raises EmptyName for a blank one; InvalidInput for slashes, control characters, `.`, `..`, a leading underscore
    and more than 128 bytes.
    """
    if not name.strip():
        raise EmptyName("name: it is empty.", fix="Give the dataset a name, for instance orders.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidInput("name: it is not valid Unicode.", fix="Send the name as UTF-8.") from None
    if size > MAX_NAME_BYTES:
        raise InvalidInput(f"name: it has {size} bytes; {MAX_NAME_BYTES} are the most.", fix="Choose a shorter one.")
    if _BAD_NAME.search(name) or name in (".", "..") or name.startswith("_"):
        raise InvalidInput(
            f"name {name!r}: slashes, backslashes, control characters, '.', '..' and a leading _ are not allowed.",
            fix="Use letters, digits, spaces, dots and dashes.",
        )
    return name


def dataset_id(name: str) -> str:
    """The id of a dataset: a UUID (version 5) of its name, the same on every machine."""
    return str(uuid.uuid5(_NAMESPACE, name))


def fingerprint(columns: Sequence[Column]) -> str:
    """The lowercase hex SHA-256 over `name 0x1F type 0x1E` of each column, in order.

    Raises EmptyFingerprint when there are no columns.
    """
    if not columns:
        raise EmptyFingerprint("columns: there are none.", fix="A dataset needs at least one column.")
    text = "".join(f"{column.name}\x1f{column.type}\x1e" for column in columns)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_of(name: str) -> str:
    """The dataset's name as one part of a key: percent-escaped, cut with a hash when over 200 characters.

    `=` never comes out of the escaping, so a cut name meets no other.
    """
    escaped = quote(name, safe="")
    if len(escaped) <= _LONGEST_FOLDER:
        return escaped
    return f"{escaped[: _LONGEST_FOLDER - 65]}={hashlib.sha256(name.encode()).hexdigest()}"


def shown_name(folder: str) -> str:
    """A folder as somebody would recognise it, for messages about manifests that cannot be read."""
    return unquote(folder.partition("=")[0])


def data_key(name: str, fingerprint: str, sha256: str) -> str:
    """The key of a dataset's Parquet file: datasets/<escaped name>/<fingerprint>-<sha256>.parquet."""
    return f"datasets/{folder_of(name)}/{fingerprint}-{sha256}.parquet"


def manifest_key(folder: str, version: int) -> str:
    """The key of one version's manifest."""
    return f"{PREFIX}{folder}/{version:020d}.json"


def version_of(key: str) -> tuple[str, int] | None:
    """The folder and version a manifest's key stands for; None for any other key."""
    found = _KEY.fullmatch(key)
    return (found[1], int(found[2])) if found else None
