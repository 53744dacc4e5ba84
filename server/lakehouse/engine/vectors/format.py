"""What is on disk: keys, generations and segment descriptions as checksummed JSON. Readers ignore unknown keys.

_vectors/<index>/manifest/<number>.json      one generation of the index, create-only; the highest number is the index
                 log/<number>.arrow          one committed batch, create-only (log.py)
                 seg/<id>/...                one immutable segment (segment.py), described by its seg.json
                 tomb/<id>.bin               the dead rows of one segment as a bitmap, little-endian bits
                 graph/<id>.usearch          the HNSW graph of one segment (graph.py)

A number is 20 digits: the index's epoch (seconds since 2025, when it was created), then ten digits that count from 1.
An index that is deleted and created again has a later epoch, so that nothing of the first can show in the second.

What callers call a generation of an index is a Build: a manifest names the live one and those that are kept beside it.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from lakehouse.engine import moment
from lakehouse.engine.vectors.items import Distance, IndexDamaged

FORMAT = 1
PREFIX = "_vectors/"
_START = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
_STEP = 10**10
_LINEAGE = 32


@dataclass(frozen=True, order=True)
class Number:
    """A place in the order of generations or log entries: an epoch, then a count."""

    epoch: int
    count: int

    def __str__(self) -> str:
        return f"{self.epoch * _STEP + self.count:020d}"

    @property
    def next(self) -> "Number":
        """The one after it, in the same epoch."""
        return Number(self.epoch, self.count + 1)


def parse_number(key: str) -> Number | None:
    """The number in a manifest's or log entry's key; None for any other object."""
    stem = key.rpartition("/")[2].partition(".")[0]
    return Number(*divmod(int(stem), _STEP)) if len(stem) == 20 and stem.isdigit() else None


def seconds() -> int:
    """Seconds since the first epoch."""
    return max(1, int(time.time()) - _START)


def new_id(epoch: int) -> str:
    """The name of a new segment or bitmap: the epoch it belongs to, when it was begun, chance."""
    return f"{epoch:010d}-{seconds():010d}-{secrets.token_hex(6)}"


def epoch(name: str) -> int:
    """The epoch of the index a segment or bitmap was made for, by its name; 0 for a stranger's file."""
    return int(name[:10]) if name[:10].isdigit() else 0


def age(name: str) -> int:
    """Seconds since a segment or bitmap was begun, by its name."""
    return seconds() - (int(name[11:21]) if name[11:21].isdigit() else 0)


def home_of(index: str) -> str:
    """The prefix of all objects of an index."""
    return f"{PREFIX}{index}/"


def manifest_key(index: str, number: Number) -> str:
    """The key of a generation."""
    return f"{PREFIX}{index}/manifest/{number}.json"


def log_key(index: str, number: Number) -> str:
    """The key of a log entry."""
    return f"{PREFIX}{index}/log/{number}.arrow"


def segment_key(index: str, segment: str, file: str) -> str:
    """The key of a file of a segment."""
    return f"{PREFIX}{index}/seg/{segment}/{file}"


def tomb_key(index: str, tomb: str) -> str:
    """The key of a bitmap of dead rows."""
    return f"{PREFIX}{index}/tomb/{tomb}.bin"


def graph_key(index: str, graph: str) -> str:
    """The key of a segment's graph."""
    return f"{PREFIX}{index}/graph/{graph}.usearch"


@dataclass(frozen=True)
class Tomb:
    """The bitmap of a segment's dead rows: its name, its checksum, how many rows it marks."""

    id: str
    sha256: str
    dead: int


@dataclass(frozen=True)
class GraphRef:
    """The graph of a segment, built in `build_s` seconds. `scale` makes its codes (graph.Coding).

    `misses` of the rows sampled after the build were not found by their own vector (graph.Builder).
    """

    id: str
    size: int
    sha256: str
    m: int
    ef_construction: int
    ef_search: int
    scale: float
    misses: int
    build_s: float = 0.0


@dataclass(frozen=True)
class SegmentRef:
    """A segment as a generation names it. `check` is the checksum of its seg.json, which has those of its files."""

    id: str
    check: str
    rows: int
    vectors: int
    tomb: Tomb | None = None
    graph: GraphRef | None = None


@dataclass(frozen=True)
class FileRef:
    """A file of a segment."""

    size: int
    sha256: str


@dataclass(frozen=True)
class SegmentDoc:
    """seg.json. Rows 0 to `vectors`-1 have a vector; the others are kept for retrieval only.

    `codes` says how vec.i8 was made from vec.f32. `columns` is empty: typed columns of the metadata are fields.bin.
    """

    id: str
    dimension: int
    distance: Distance
    rows: int
    vectors: int
    files: Mapping[str, FileRef]
    codes: str = "row-peak-127"
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Build:
    """A build of an index that is kept beside the live one: complete in its segments, and never changed.

    `created` is when it was made, `swapped` when it last went live, `count` how many items it has.
    """

    number: int
    dimension: int
    distance: Distance
    created: str
    swapped: str
    count: int
    model: str | None = None
    builder: dict[str, Any] | None = None
    segments: tuple[SegmentRef, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """One generation of an index. Log entries from `log_from` on come on top of its segments.

    `m`, `ef_construction` and `ef_search` are the wishes for graphs; None leaves them to whoever builds one. `build` is
    the number of the live build, `built` when that was made, `swapped` when it went live, `last` the highest number
    there has been. `retained` are the builds kept beside it, the one that was live most recently last. `token` is of
    this one alone, `lineage` has those of the ones before it: a number that was cleared away can be taken again by a
    process that is behind, and says nothing.
    """

    number: Number
    dimension: int
    distance: Distance
    created: str
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    model: str | None = None
    builder: dict[str, Any] | None = None
    segments: tuple[SegmentRef, ...] = ()
    log_from: int = 1
    prev: int | None = None
    deleted: bool = False
    build: int = 1
    last: int = 1
    built: str = ""
    swapped: str = ""
    retained: tuple[Build, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(6))
    lineage: tuple[str, ...] = ()

    def successor(self, **changes: Any) -> "Manifest":
        """The next generation, with some fields changed."""
        after = replace(self, number=self.number.next, prev=self.number.count, created=moment.now(), **changes)
        return replace(after, token=secrets.token_hex(6), lineage=(*self.lineage, self.token)[-_LINEAGE:])

    def follows(self, other: "Manifest") -> bool:
        """Whether it was made of the other one, with at most so many between them as are made in a moment."""
        return self.token == other.token or (self.number > other.number and other.token in self.lineage)


def write_manifest(manifest: Manifest) -> bytes:
    """A generation as the bytes of its object."""
    document = asdict(manifest)
    number = document.pop("number")
    params = {name: document.pop(name) for name in ("m", "ef_construction", "ef_search")}
    return _signed(document | {"epoch": number["epoch"], "generation": number["count"], "params": params})[0]


def read_manifest(data: bytes, key: str) -> Manifest:
    """A generation from the bytes of its object. Raises IndexDamaged naming the key."""
    document = _checked(data, key)
    try:
        return Manifest(
            number=Number(document["epoch"], document["generation"]),
            dimension=document["dimension"],
            distance=document["distance"],
            created=document["created"],
            m=document["params"].get("m"),
            ef_construction=document["params"].get("ef_construction"),
            ef_search=document["params"].get("ef_search"),
            model=document["model"],
            builder=document["builder"],
            segments=tuple(_segment_ref(s) for s in document["segments"]),
            log_from=document["log_from"],
            prev=document["prev"],
            deleted=document["deleted"],
            # Those of earlier versions had one build, and did not say so.
            build=document.get("build", 1),
            last=document.get("last", 1),
            built=document.get("built") or document["created"],
            swapped=document.get("swapped") or document["created"],
            retained=tuple(_build(b) for b in document.get("retained", ())),
            token=document.get("token", ""),
            lineage=tuple(document.get("lineage", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(key, f"{error} is missing or of the wrong kind") from error


def _build(document: dict[str, Any]) -> Build:
    known = {each.name: document[each.name] for each in fields(Build)}
    return Build(**known | {"segments": tuple(_segment_ref(s) for s in document["segments"])})


def _segment_ref(document: dict[str, Any]) -> SegmentRef:
    tomb, graph = document["tomb"], document.get("graph")  # generations of before there were graphs have none
    return SegmentRef(
        document["id"],
        document["check"],
        document["rows"],
        document["vectors"],
        Tomb(tomb["id"], tomb["sha256"], tomb["dead"]) if tomb else None,
        GraphRef(**{each.name: graph[each.name] for each in fields(GraphRef) if each.name in graph}) if graph else None,
    )


def write_segment_doc(doc: SegmentDoc) -> tuple[bytes, str]:
    """A segment's description as bytes, and its checksum."""
    return _signed(asdict(doc))


def read_segment_doc(data: bytes, key: str, check: str) -> SegmentDoc:
    """A segment's description, when it is the one with this checksum. Raises IndexDamaged naming the key."""
    document = _checked(data, key)
    if document["check"] != check:
        raise damaged(key, "it is not the file its generation names")
    try:
        files = {name: FileRef(ref["size"], ref["sha256"]) for name, ref in document["files"].items()}
        return SegmentDoc(
            document["id"],
            document["dimension"],
            document["distance"],
            document["rows"],
            document["vectors"],
            files,
            document["codes"],
            document["columns"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(key, f"{error} is missing or of the wrong kind") from error


def _signed(document: dict[str, Any]) -> tuple[bytes, str]:
    document = {"format": FORMAT, **document}
    check = hashlib.sha256(_canonical(document)).hexdigest()
    return _canonical(document | {"check": check}), check


def _checked(data: bytes, key: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
        body = {name: value for name, value in document.items() if name != "check"}
        whole = document["check"] == hashlib.sha256(_canonical(body)).hexdigest()
    except (ValueError, AttributeError, KeyError) as error:
        raise damaged(key, "it is not the document that was written") from error
    if not whole:
        raise damaged(key, "its checksum differs")
    if document["format"] > FORMAT:
        raise damaged(key, f"its format {document['format']} is newer than {FORMAT}, which this version reads")
    return dict(document)


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def damaged(key: str, reason: str) -> IndexDamaged:
    """The error for a stored file that is not what was written."""
    return IndexDamaged(
        f"vector index {key.removeprefix(PREFIX).partition('/')[0]!r} is damaged: {key}: {reason}.",
        fix="Restore the file from a backup, or delete the index and build it again.",
        data={"key": key},
    )
