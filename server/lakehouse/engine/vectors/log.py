"""Log entries: one committed batch as an Arrow IPC stream with a checksum behind it. Load it in a worker thread.

Columns op (0 put, 1 delete), id, meta (JSON text; null keeps what is stored), vector (null: none). An entry that
attaches a finished segment instead has no rows and names the segment in its schema metadata. Arrow readers stop before
the trailer: a mark, the length of the stream (u64, little-endian) and its SHA-256.
"""

import hashlib
import json
import secrets
import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lakehouse.engine.vectors.batch import Batch
from lakehouse.engine.vectors.format import FORMAT, SegmentRef, damaged

_TRAILER = struct.Struct("<8sQ32s")
_MARK = b"LHLOG\x00\x00\x01"


@dataclass(frozen=True)
class Entry:
    """What one log entry changes: rows put and deleted, or one segment attached."""

    batch: Batch
    attach: SegmentRef | None = None


def encode(entry: Entry, dimension: int) -> bytes:
    """An entry as the bytes of its object. Two entries never have equal bytes."""
    batch = entry.batch
    ends = np.cumsum(batch.has, dtype=np.int64) * dimension
    vectors = pa.LargeListArray.from_arrays(
        pa.array(np.concatenate([np.zeros(1, np.int64), ends])),
        pa.array(np.ascontiguousarray(batch.vectors).reshape(-1)),
        mask=pa.array(~batch.has),
    )
    facts = {"format": str(FORMAT), "dimension": str(dimension), "token": secrets.token_hex(16)}
    if entry.attach is not None:
        ref = entry.attach
        facts["attach"] = json.dumps({"id": ref.id, "check": ref.check, "rows": ref.rows, "vectors": ref.vectors})
    columns = {
        "op": pa.array(batch.ops),
        "id": pa.array(batch.ids, pa.large_string()),
        "meta": pa.array(batch.metas, pa.large_string()),
        "vector": vectors,
    }
    schema = pa.schema([(name, column.type) for name, column in columns.items()], metadata=facts)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    stream = sink.getvalue()
    return b"".join((stream, _TRAILER.pack(_MARK, stream.size, hashlib.sha256(stream).digest())))


def decode(data: bytes, key: str) -> Entry:
    """An entry from the bytes of its object. Raises IndexDamaged naming the key."""
    size = len(data) - _TRAILER.size
    if size < 0:
        raise damaged(key, "it is cut short")
    mark, length, digest = _TRAILER.unpack_from(data, size)
    stream = memoryview(data)[:size]
    if mark != _MARK or length != size or hashlib.sha256(stream).digest() != digest:
        raise damaged(key, "its checksum differs")
    reader = pa.ipc.open_stream(pa.py_buffer(stream))
    facts = reader.schema.metadata
    if int(facts[b"format"]) > FORMAT:
        raise damaged(key, f"its format {int(facts[b'format'])} is newer than {FORMAT}, which this version reads")
    rows = reader.read_next_batch()
    dimension = int(facts[b"dimension"])
    batch = Batch(
        rows["op"].to_numpy(),
        rows["id"].to_pylist(),
        rows["meta"].to_pylist(),
        rows["vector"].is_valid().to_numpy(zero_copy_only=False),
        rows["vector"].values.to_numpy().reshape(-1, dimension),
    )
    if b"attach" not in facts:
        return Entry(batch)
    ref = json.loads(facts[b"attach"])
    return Entry(batch, SegmentRef(ref["id"], ref["check"], ref["rows"], ref["vectors"]))
