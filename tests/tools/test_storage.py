"""The storage tools through the door."""

import base64
from pathlib import Path

import pytest

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, NotFound, TooLarge

pytestmark = pytest.mark.anyio


async def test_round_trip(lake: Lakehouse) -> None:
    """A-S5-1 without HTTP: put answers key, size, etag and bucket; text and bytes come back; a missing key is 404."""
    put = await lake.call("storage_put", {"key": "notes/é.txt", "text": "héllo"})
    assert set(put) == {"key", "size", "etag", "bucket"}
    assert (put["key"], put["size"], put["bucket"]) == ("notes/é.txt", 6, "primary")
    got = await lake.call("storage_get", {"key": "notes/é.txt"})
    assert (got["text"], got.get("base64"), got["etag"]) == ("héllo", None, put["etag"])
    raw = b"\xff\x00\xfe"
    await lake.call("storage_put", {"key": "bin", "base64": base64.b64encode(raw).decode()})
    assert base64.b64decode((await lake.call("storage_get", {"key": "bin"}))["base64"]) == raw
    listing = await lake.call("storage_list", {})
    assert [entry["key"] for entry in listing["objects"]] == ["bin", "notes/é.txt"] and not listing["truncated"]
    listing = await lake.call("storage_list", {"limit": 1})
    assert (listing["truncated"], listing["next"]) == (True, "bin")
    assert len((await lake.call("storage_list", {"after": "bin", "prefix": "n"}))["objects"]) == 1
    for _ in range(2):
        assert await lake.call("storage_delete", {"key": "bin"}) == {"key": "bin"}
    with pytest.raises(NotFound):
        await lake.call("storage_get", {"key": "bin"})


async def test_an_empty_object_is_an_object(lake: Lakehouse) -> None:
    assert (await lake.call("storage_put", {"key": "e", "text": ""}))["size"] == 0
    assert (await lake.call("storage_get", {"key": "e"}))["text"] == ""


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"key": "k"}, InvalidInput),
        ({"key": "k", "text": "a", "base64": "YQ=="}, InvalidInput),
        ({"key": "k", "base64": "no!"}, InvalidInput),
        ({"key": "k", "base64": "YQ"}, InvalidInput),
        ({"key": "k", "text": "\ud800"}, InvalidInput),
        ({"key": "../k", "text": "a"}, InvalidInput),
        ({"key": "_catalog/x/00000000000000000001.json", "text": "{}"}, Forbidden),
        ({"key": "datasets/x", "text": "a"}, Forbidden),
        ({"key": "notes/today/x", "text": "a"}, Conflict),
    ],
)
async def test_what_cannot_be_put(lake: Lakehouse, arguments: dict[str, str], error: type[Exception]) -> None:
    await lake.call("storage_put", {"key": "notes/today", "text": "kept"})
    with pytest.raises(error):
        await lake.call("storage_put", arguments)
    assert [entry["key"] for entry in (await lake.call("storage_list", {}))["objects"]] == ["notes/today"]


async def test_own_objects_only_are_deleted_all_can_be_read(lake: Lakehouse) -> None:
    await lake.storage.bucket.put("datasets/x/y.parquet", b"PAR1")
    with pytest.raises(Forbidden):
        await lake.call("storage_delete", {"key": "datasets/x/y.parquet"})
    assert (await lake.call("storage_get", {"key": "datasets/x/y.parquet"}))["text"] == "PAR1"
    await lake.storage.bucket.put("big", bytes(16 * 2**20 + 1))
    with pytest.raises(TooLarge):
        await lake.call("storage_get", {"key": "big"})


async def test_buckets_show_no_path(lake: Lakehouse) -> None:
    assert await lake.call("list_buckets", {}) == {"buckets": [{"name": "primary", "kind": "file", "reachable": True}]}


async def test_a_put_is_rescued_and_replayed(home: Path, tmp_path: Path) -> None:
    """A-S5-8 through the door: put, get, the buckets, the errors and the replay all say what happened."""
    spare = {"name": "spare", "url": (tmp_path / "spare").as_uri()}
    overrides = {"embed.provider": "hash", "storage.buckets": [spare], "storage.rescue": "spare"}
    async with lakehouse.open(home, overrides=overrides) as lake:
        (home / "objects").symlink_to(home / "objects")  # a link to itself: every operation fails
        put = await lake.call("storage_put", {"key": "k", "text": "x"})
        assert put == {"key": "k", "size": 1, "bucket": "primary", "rescued": True}
        got = await lake.call("storage_get", {"key": "primary://k"})
        assert (got["text"], got["rescued"]) == ("x", True)
        sent = await lake.call("storage.content", {"key": "k"})
        assert sent.headers == {"x-lakehouse-rescued": "1"}
        listed = await lake.call("list_buckets", {})
        assert (listed["rescue"], listed["waiting"]) == ("spare", 1)
        assert [bucket["reachable"] for bucket in listed["buckets"]] == [False, True]
        first = (await lake.call("storage_errors", {}))["errors"][-1]
        assert (first["op"], first["bucket"], first["key"], first["rescued"]) == ("put", "primary", "k", True)
        stopped = await lake.call("storage_replay", {})
        assert stopped["left"] == 1 and stopped["problem"]
        (home / "objects").unlink()
        assert await lake.call("storage_replay", {}) == {"moved": ["primary://k"], "superseded": [], "left": 0}
        assert "rescued" not in await lake.call("storage_get", {"key": "k"})
        shown = await lake.call("storage.newest_errors", {})
        assert shown["errors"][-1] == first
