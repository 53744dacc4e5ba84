"""Your own objects in the lake's buckets, and its failures."""

import base64 as base64_
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Accepts, Download, InvalidInput, Lakehouse, Upload, download, resource, tool


class Stored(BaseModel):
    """A stored object."""

    key: str = Field(description="Its key.")
    size: int = Field(description="Its size in bytes.")
    etag: str | None = Field(None, description="The store's tag for these contents.")
    bucket: str = Field(description="Its bucket.")
    rescued: bool | None = Field(None, description="True while another bucket holds it, as its own failed.")


class Object(Stored):
    """A stored object with its contents, in one of two forms."""

    text: str | None = Field(None, description="The contents, when they are UTF-8.")
    base64: str | None = Field(None, description="The contents in base64, when they are not.")


class Entry(BaseModel):
    """One object of a listing."""

    key: str = Field(description="Its key.")
    size: int = Field(description="Its size in bytes.")
    etag: str | None = Field(None, description="The store's tag for these contents.")


class Listing(BaseModel):
    """Objects sorted by key."""

    objects: Sequence[Entry] = Field(description="The objects.")
    truncated: bool = Field(description="Whether there are more.")
    next: str | None = Field(None, description="Give this as `after` for the rest.")


class Deleted(BaseModel):
    """An object that is not there any more."""

    key: str = Field(description="Its key.")


class Bucket(BaseModel):
    """One bucket."""

    name: str = Field(description="Its name.")
    kind: str = Field(description="file, memory, s3, gs or az.")
    reachable: bool = Field(description="Whether it answers.")
    problem: str | None = Field(None, description="What keeps it from that.")


class Buckets(BaseModel):
    """All buckets."""

    buckets: Sequence[Bucket] = Field(description="The buckets, the primary one first.")
    rescue: str | None = Field(None, description="The bucket that takes your objects while theirs fails.")
    waiting: int | None = Field(None, description="How many of them it holds; storage_replay moves them home.")


class Replayed(BaseModel):
    """What came of a replay."""

    moved: Sequence[str] = Field(description="References of the objects that are home.")
    superseded: Sequence[str] = Field(description="Of those that were put again since; the newer one stays.")
    left: int = Field(description="How many are still rescued.")
    problem: str | None = Field(None, description="What stopped it.")


class Failure(BaseModel):
    """One failure of a bucket."""

    ts: str = Field(description="When.")
    op: str = Field(description="The operation: put, get, list, ...")
    bucket: str = Field(description="The bucket.")
    key: str = Field(description="The key, or how the keys begin.")
    error_class: str = Field(description="The kind of error.")
    message: str = Field(description="What happened.")
    rescued: bool = Field(description="Whether the object went to the rescue bucket.")


class Failures(BaseModel):
    """Failures of buckets."""

    errors: Sequence[Failure] = Field(description="Newest first.")


Name = Annotated[str | None, "Default primary."]


def _most(config: Any, arguments: Mapping[str, Any]) -> int:
    from lakehouse.engine.storage import max_put_bytes

    return max_put_bytes(config.storage, str(arguments.get("key", "")))


@tool(
    "writes",
    name="storage_put",
    route="PUT /v1/storage/object/{key:path}",
    toolset="data",
    title="Store an object",
    idempotent=True,
)
async def put(
    lake: Lakehouse,
    key: Annotated[str, "As notes/today.txt."],
    text: Annotated[str | None, "Contents as text."] = None,
    base64: Annotated[str | None, "Or in base64."] = None,
    bucket: Name = None,
    upload: Annotated[Upload | None, Accepts(_most, "storage.max_put_bytes")] = None,
) -> Stored:
    """Store text or bytes under a key (or bucket://key), replacing what was there. To query a file's rows, use
    ingest_file or register_dataset."""
    if upload is None:
        stored = await lake.storage.put(key, _contents(text, base64), bucket)
    elif text is None and base64 is None:
        stored = await lake.storage.put_file(key, upload.path, bucket)
    else:
        raise InvalidInput("text, base64: the contents are the body.", fix="Leave them out.")
    return Stored(**_shown(stored))


@tool(name="storage_get", toolset="data", title="Read an object")
async def get(lake: Lakehouse, key: Annotated[str, "Or bucket://key."], bucket: Name = None) -> Object:
    """Read one object of up to 16 MiB; UTF-8 comes as text, anything else as base64."""
    stored, data = await lake.storage.get(key, bucket)
    answer = Object(**_shown(stored))
    try:
        answer.text = data.decode()
    except UnicodeDecodeError:
        answer.base64 = base64_.b64encode(data).decode()
    return answer


@download("GET /v1/storage/object/{key:path}", title="Download an object")
async def content(lake: Lakehouse, key: Annotated[str, "The object's key."], bucket: Name = None) -> Download:
    """The contents of one object, of any size, as they are. `X-Lakehouse-Rescued: 1` says that its bucket failed."""
    import mimetypes

    stored, path, temporary = await lake.storage.file_of(key, bucket)
    return Download(
        path=path,
        size=stored.size,
        media_type=mimetypes.types_map.get(f".{key.rpartition('.')[2].lower()}", "application/octet-stream"),
        etag=stored.etag,
        temporary=temporary,
        headers={"x-lakehouse-rescued": "1"} if stored.rescued else {},
    )


@tool(name="storage_list", route="GET /v1/storage/list", toolset="data", title="List objects")
async def list(
    lake: Lakehouse,
    prefix: Annotated[str, "How the keys begin."] = "",
    after: Annotated[str | None, "Go on after this key."] = None,
    limit: Annotated[int, Field(ge=1, le=10_000), "At most."] = 10_000,
    bucket: Name = None,
) -> Listing:
    """List objects by the beginning of their keys."""
    found = await lake.storage.list(prefix, after=after, limit=limit, bucket=bucket)
    entries = [Entry(**vars(one)) for one in found.objects]
    return Listing(objects=entries, truncated=found.truncated, next=found.next)


@tool(
    "destroys",
    name="storage_delete",
    route="DELETE /v1/storage/object/{key:path}",
    status=204,
    toolset="data",
    title="Delete an object",
    idempotent=True,
)
async def delete(lake: Lakehouse, key: Annotated[str, "Or bucket://key."], bucket: Name = None) -> Deleted:
    """Delete one of your own objects; deleting what is not there is fine."""
    await lake.storage.delete(key, bucket)
    return Deleted(key=key)


@tool(name="list_buckets", route="GET /v1/storage/buckets", toolset="data", title="List buckets")
async def buckets(lake: Lakehouse) -> Buckets:
    """List the buckets that hold the lake's objects, and whether they answer."""
    storage = lake.storage
    states = [Bucket(**vars(state)) for state in await storage.states()]
    if storage.rescue is None:
        return Buckets(buckets=states)
    return Buckets(buckets=states, rescue=storage.rescue.bucket.name, waiting=await storage.rescue.waiting())


@tool("writes", name="storage_replay", route="/v1/storage/replay", toolset="admin", title="Bring rescued objects home")
async def replay(lake: Lakehouse) -> Replayed:
    """Move objects that were rescued while their bucket failed to it, oldest first; it stops at the first error."""
    found = await lake.storage.replay()
    problem = f"{found.problem.detail} {found.problem.fix}" if found.problem else None
    moved, superseded = ([f"{name}://{key}" for name, key in places] for places in (found.moved, found.superseded))
    return Replayed(moved=moved, superseded=superseded, left=found.left, problem=problem)


@tool(name="storage_errors", route="GET /v1/storage/errors", toolset="admin", title="List buckets' failures")
async def errors(
    lake: Lakehouse,
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 100,
    since: Annotated[str | None, "As 2026-05-01T12:00:00Z."] = None,
) -> Failures:
    """List what buckets failed at, newest first."""
    return Failures(errors=[Failure(**vars(one)) for one in await lake.storage.errors(limit, since)])


@resource("lakehouse://storage/errors", title="Buckets' failures")
async def newest_errors(lake: Lakehouse) -> Failures:
    """The newest 100 failures of buckets."""
    return await errors(lake)


def _shown(stored: Any) -> dict[str, Any]:
    return {**vars(stored), "rescued": stored.rescued or None}


def _contents(text: str | None, base64: str | None) -> bytes:
    if (text is None) == (base64 is None):
        raise InvalidInput("text, base64: exactly one of them is needed.", fix="Send the contents as text or base64.")
    try:
        return text.encode() if text is not None else base64_.b64decode(base64 or "", validate=True)
    except ValueError:  # half a surrogate pair, or bad base64
        which = "text: it is not valid Unicode" if text is not None else "base64: it is not valid base64"
        raise InvalidInput(f"{which}.", fix="Send the contents as text or base64.") from None
