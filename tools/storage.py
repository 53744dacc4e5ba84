"""Your own objects in the lake's bucket: put, get, list, delete."""

import base64 as base64_
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Accepts, Download, InvalidInput, Lakehouse, NotFound, Upload, download, tool


class Stored(BaseModel):
    """A stored object."""

    key: str = Field(description="Its key.")
    size: int = Field(description="Its size in bytes.")
    etag: str | None = Field(None, description="The store's tag for these contents.")
    bucket: str = Field(description="Its bucket.")


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


class Buckets(BaseModel):
    """All buckets."""

    buckets: Sequence[Bucket] = Field(description="The buckets.")


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
    key: Annotated[str, "Where to, for instance notes/today.txt."],
    text: Annotated[str | None, "The contents as text."] = None,
    base64: Annotated[str | None, "The contents in base64, instead of text."] = None,
    upload: Annotated[Upload | None, Accepts(_most, "storage.max_put_bytes")] = None,
) -> Stored:
    """Store text or bytes under a key, replacing what was there. Keys below _catalog/, datasets/, _vectors/ and
    _journal/ are Lakehouse's own. To query a file's rows, use ingest_file or register_dataset."""
    if upload is None:
        stored = await lake.storage.put(key, _contents(text, base64))
    elif text is None and base64 is None:
        stored = await lake.storage.put_file(key, upload.path)
    else:
        raise InvalidInput("text, base64: the contents are the body.", fix="Leave them out.")
    return Stored(**vars(stored), bucket=lake.storage.bucket.name)


@tool(name="storage_get", toolset="data", title="Read an object")
async def get(lake: Lakehouse, key: Annotated[str, "The object's key."]) -> Object:
    """Read one object of up to 16 MiB; UTF-8 comes as text, anything else as base64."""
    stored, data = await lake.storage.get(key)
    answer = Object(**vars(stored), bucket=lake.storage.bucket.name)
    try:
        answer.text = data.decode()
    except UnicodeDecodeError:
        answer.base64 = base64_.b64encode(data).decode()
    return answer


@download("GET /v1/storage/object/{key:path}", title="Download an object")
async def content(lake: Lakehouse, key: Annotated[str, "The object's key."]) -> Download:
    """The contents of one object, of any size, as they are."""
    import mimetypes

    stored, path, temporary = await lake.storage.file_of(key)
    return Download(
        path=path,
        size=stored.size,
        media_type=mimetypes.types_map.get(f".{key.rpartition('.')[2].lower()}", "application/octet-stream"),
        etag=stored.etag,
        temporary=temporary,
    )


@tool(name="storage_list", route="GET /v1/storage/list", toolset="data", title="List objects")
async def list(
    lake: Lakehouse,
    prefix: Annotated[str, "How the keys begin."] = "",
    after: Annotated[str | None, "Go on after this key."] = None,
    limit: Annotated[int, Field(ge=1, le=10_000), "The most to return."] = 10_000,
    bucket: Annotated[str | None, "The bucket's name."] = None,
) -> Listing:
    """List objects by the beginning of their keys."""
    if bucket not in (None, lake.storage.bucket.name):
        raise NotFound(f"there is no bucket {bucket!r}.", fix=f"There is {lake.storage.bucket.name}.")
    found = await lake.storage.bucket.list(prefix, after=after, limit=limit)
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
async def delete(lake: Lakehouse, key: Annotated[str, "The object's key."]) -> Deleted:
    """Delete one of your own objects; deleting what is not there is fine."""
    await lake.storage.delete(key)
    return Deleted(key=key)


@tool(name="list_buckets", route="GET /v1/storage/buckets", toolset="data", title="List buckets")
async def buckets(lake: Lakehouse) -> Buckets:
    """List the buckets that hold the lake's objects."""
    bucket = lake.storage.bucket
    return Buckets(buckets=[Bucket(name=bucket.name, kind=bucket.kind)])


def _contents(text: str | None, base64: str | None) -> bytes:
    if (text is None) == (base64 is None):
        raise InvalidInput("text, base64: exactly one of them is needed.", fix="Send the contents as text or base64.")
    try:
        return text.encode() if text is not None else base64_.b64decode(base64 or "", validate=True)
    except ValueError:  # half a surrogate pair, or bad base64
        which = "text: it is not valid Unicode" if text is not None else "base64: it is not valid base64"
        raise InvalidInput(f"{which}.", fix="Send the contents as text or base64.") from None
