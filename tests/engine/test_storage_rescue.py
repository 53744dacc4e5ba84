"""Several buckets: references, objects rescued while theirs fails and brought home, the journal of failures."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from lakehouse import config
from lakehouse.engine.bucket import KeyNotFound
from lakehouse.engine.redact import Redactor
from lakehouse.engine.storage import Storage
from lakehouse.errors import Conflict, InvalidInput, NotFound, TooLarge, Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture
def storage(home: Path, tmp_path: Path) -> Storage:
    """A primary bucket, one beside it, and one that rescues."""
    return two(home, tmp_path)


def two(home: Path, tmp_path: Path, **more: object) -> Storage:
    others = tuple(config.Bucket(name=name, url=(tmp_path / name).as_uri()) for name in ("archive", "spare"))
    return Storage(home, config.Storage(buckets=others, rescue="spare", **more))


def broken(folder: Path) -> Callable[[], None]:
    """Take a bucket's folder away so that every operation fails, whoever asks; the answer puts it back."""
    away = folder.with_name(f"{folder.name}.away")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        folder.rename(away)
    folder.symlink_to(folder)  # a link to itself

    def mend() -> None:
        folder.unlink()
        if away.exists():
            away.rename(folder)

    return mend


async def written(storage: Storage) -> None:
    await anyio.to_thread.run_sync(storage.failures.close)


async def test_references_and_unknown_buckets(storage: Storage) -> None:
    """S5.9: a bucket is named by an argument or a reference, and an unknown one is not found, with those there are."""
    for key, bucket in (("k", "archive"), ("archive://k", None), ("archive://k", "archive")):
        put = await storage.put(key, b"x", bucket)
        assert (put.key, put.bucket, put.rescued) == ("k", "archive", False)
        assert (await storage.get(key, bucket))[1] == b"x"
    with pytest.raises(KeyNotFound):
        await storage.get("k")
    assert [o.key for o in (await storage.list("archive://")).objects] == ["k"]
    with pytest.raises(NotFound, match="'archives'") as unknown:
        await storage.put("archives://k", b"x")
    assert "archive" in unknown.value.fix
    with pytest.raises(InvalidInput, match="bucket"):
        await storage.put("archive://k", b"x", "spare")
    await storage.delete("archive://k")
    assert not (await storage.list(bucket="archive")).objects


async def test_a_put_is_rescued_read_listed_and_brought_home(storage: Storage, home: Path, tmp_path: Path) -> None:
    """A-S5-8: two buckets hold different bytes under one key; with the primary failing, a put of bytes and one of a
    file are rescued, reads serve them, the journal lists it, and replay restores them, oldest first."""
    await storage.put("k", b"old")
    await storage.put("k", b"other", "archive")
    mend = broken(home / "objects")
    put = await storage.put("k", b"new")
    assert (put.size, put.bucket, put.rescued) == (3, "primary", True)
    upload = tmp_path / "upload"
    await anyio.to_thread.run_sync(upload.write_bytes, b"file")
    assert (await storage.put_file("a/file", upload)).rescued
    found, data = await storage.get("k")
    assert (found.key, found.rescued, data) == ("k", True, b"new")
    assert (await storage.get("k", "archive"))[1] == b"other"
    stored, path, temporary = await storage.file_of("a/file")
    assert (stored.rescued, await anyio.Path(path).read_bytes(), temporary) == (True, b"file", False)
    assert [o.key for o in (await storage.list(bucket="spare")).objects] == [
        "_rescue/primary/a/file",
        "_rescue/primary/k",
    ]
    stopped = await storage.replay()
    assert stopped.left == 2 and isinstance(stopped.problem, Upstream)
    await written(storage)
    errors = await storage.errors(100)
    puts = [one for one in errors if one.op.startswith("put")]
    assert [(one.op, one.bucket, one.key, one.rescued) for one in reversed(puts)][:2] == [
        ("put", "primary", "k", True),
        ("put_file", "primary", "a/file", True),
    ]
    mend()
    assert (await storage.get("k"))[1] == b"new"  # the newest put, until it is home
    replayed = await storage.replay()
    assert replayed.moved == (("primary", "k"), ("primary", "a/file"))
    assert (replayed.left, replayed.problem) == (0, None)
    found, data = await storage.get("k")
    assert (found.rescued, data) == (False, b"new")
    assert not (await storage.list(bucket="spare")).objects
    assert not list(tmp_path.glob("upload*"))


async def test_a_newer_put_or_delete_wins_over_what_was_rescued(storage: Storage, home: Path) -> None:
    mend = broken(home / "objects")
    for key in ("put", "deleted", "elsewhere"):
        await storage.put(key, b"rescued")
    with pytest.raises(Upstream):
        await storage.delete("deleted")
    mend()
    await storage.put("put", b"newer")
    await storage.delete("deleted")
    await storage.bucket.put("elsewhere", b"newer")  # as another process puts it
    os.utime(home / "objects" / "elsewhere", (4e9, 4e9))
    assert (await storage.get("put"))[1] == b"newer"
    replayed = await storage.replay()
    assert (replayed.moved, replayed.superseded) == ((), (("primary", "elsewhere"),))
    assert (await storage.get("elsewhere"))[1] == b"newer"
    with pytest.raises(KeyNotFound):
        await storage.get("deleted")


async def test_another_process_finds_what_was_rescued(storage: Storage, home: Path, tmp_path: Path) -> None:
    broken(home / "objects")
    await storage.put("k", b"x")
    other = two(home, tmp_path)
    assert (await other.get("k"))[0].rescued
    assert (await other.replay()).left == 1


async def test_what_is_refused_is_not_rescued(storage: Storage, home: Path, tmp_path: Path) -> None:
    """S5.10: neither bad keys, caps nor taken names; both buckets failing is said; Lakehouse's own writes fail."""
    small = two(home, tmp_path, max_put_bytes=3)
    with pytest.raises(TooLarge):
        await small.put("k", b"1234")
    with pytest.raises(InvalidInput):
        await small.put("../k", b"1")
    await storage.put("a", b"1")
    with pytest.raises(Conflict):
        await storage.put("a/b", b"1")
    assert not (await storage.list(bucket="spare")).objects
    broken(home / "objects")
    with pytest.raises(Upstream):
        await storage.bucket.put("_catalog/x", b"1")
    broken(tmp_path / "spare")
    with pytest.raises(Upstream, match="spare did not take it either") as failed:
        await storage.put("k", b"1")
    assert failed.value.http == 502
    with pytest.raises(Upstream):
        await storage.put("k", b"1", "spare")


async def test_failures_are_objects_and_rows(storage: Storage, home: Path, tmp_path: Path) -> None:
    """S5.11: a bucket's failure is an object of the primary bucket and a row, without credentials."""
    secret = Storage(home, storage.settings, Redactor({"A_TOKEN": "hush-hush"}))
    broken(tmp_path / "archive")
    with pytest.raises(Upstream):
        await secret.get("archive://hush-hush")
    (shown,) = await secret.errors(10)
    await written(secret)
    (one,) = await Storage(home, storage.settings).errors(10)
    assert one == shown
    assert (one.op, one.bucket, one.key, one.error_class, one.rescued) == (
        "head",
        "archive",
        "[redacted]",
        "Upstream",
        False,
    )
    (stored,) = (await storage.list("_errors/")).objects
    assert stored.key == f"_errors/{one.ts[:10]}/{one.id}.json"
    record = json.loads((await storage.get(stored.key))[1])
    assert record == {name: value for name, value in vars(one).items() if name != "id"}
    assert await secret.errors(10, one.ts) and not await secret.errors(10, "2999-01-01")
    with pytest.raises(InvalidInput, match="since"):
        await secret.errors(10, "yesterday")


async def test_a_journal_that_cannot_be_written_changes_nothing(storage: Storage, home: Path, tmp_path: Path) -> None:
    """A-S5-9: neither the object nor the row can be written; the caller's result is the same, and memory has it."""
    (home / "storage").mkdir(parents=True)
    (home / "storage" / "errors.db").write_bytes(b"no database" * 1000)
    broken(home / "objects")
    broken(tmp_path / "archive")
    assert (await storage.put("k", b"x")).rescued
    with pytest.raises(Upstream, match="archive failed"):
        await storage.get("archive://k")
    await written(storage)
    assert {(one.bucket, one.rescued) for one in await storage.errors(10)} == {("primary", True), ("archive", False)}


async def test_every_bucket_says_whether_it_answers(storage: Storage, tmp_path: Path) -> None:
    broken(tmp_path / "archive")
    states = {state.name: (state.reachable, bool(state.problem)) for state in await storage.states()}
    assert states == {"primary": (True, False), "archive": (False, True), "spare": (True, False)}
