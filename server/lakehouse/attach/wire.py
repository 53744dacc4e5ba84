"""What goes over the socket: frames of a length, a kind and JSON. One request at a time on a connection.

A guest asks; the host answers with any number of progress frames and then one result, download or problem. A guest
that closes the connection cancels what it asked for.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anyio import EndOfStream
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic_core import from_json

from lakehouse.errors import LakehouseError, by_code
from lakehouse.observe import Caller
from lakehouse.preview import compact
from lakehouse.transfer import Upload

ASK, PROGRESS, RESULT, DOWNLOAD, PROBLEM = b"A", b"P", b"R", b"D", b"E"
MAX_FRAME = 2**30


@dataclass(frozen=True)
class Asked:
    """One call as a guest sends it. With a `limit` the result is fitted to so many bytes."""

    name: str
    arguments: Mapping[str, Any]
    caller: Caller
    upload: Upload | None = None
    limit: int | None = None


async def send(stream: ByteStream, kind: bytes, payload: bytes) -> None:
    """Write one frame."""
    await stream.send(len(payload).to_bytes(4, "big") + kind + payload)


async def receive(reading: BufferedByteReceiveStream) -> tuple[bytes, bytes] | None:
    """Read one frame; None at the end of the stream."""
    try:
        head = await reading.receive_exactly(5)
    except EndOfStream:
        return None
    return head[4:], await reading.receive_exactly(int.from_bytes(head[:4], "big"))


def packed(request: Asked) -> bytes:
    """A request as JSON."""
    caller = asdict(request.caller) | {"toolsets": sorted(request.caller.toolsets)}
    upload = None if request.upload is None else request.upload.model_dump(mode="json")
    return compact({**vars(request), "caller": caller, "upload": upload})


def unpacked(payload: bytes) -> Asked:
    """A request of JSON."""
    found = from_json(payload)
    caller = Caller(**(found["caller"] | {"toolsets": frozenset(found["caller"]["toolsets"])}))
    upload = None if found["upload"] is None else Upload.model_validate(found["upload"])
    return Asked(found["name"], found["arguments"], caller, upload, found["limit"])


def problem(error: LakehouseError) -> bytes:
    """An error as JSON."""
    retry_after = getattr(error, "retry_after", None)
    return compact(
        {"code": error.code, "detail": error.detail, "fix": error.fix, "data": error.data, "retry_after": retry_after}
    )


def raised(payload: bytes) -> LakehouseError:
    """An error of JSON."""
    found = from_json(payload)
    error = by_code(found["code"], found["detail"], fix=found["fix"], data=found["data"])
    if found["retry_after"] is not None:
        error.retry_after = found["retry_after"]  # type: ignore[attr-defined]
    return error
