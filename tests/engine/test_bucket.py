"""One bucket: keys, durable and create-only puts, listings, a full disk."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.engine import files
from lakehouse.engine.bucket import MAX_KEY_BYTES, MAX_LIST, UNFINISHED, Bucket
from lakehouse.engine.bucket.local import Folder
from lakehouse.engine.storage import (
    KeyExists,
    KeyNotFound,
    check_key,
)
from lakehouse.errors import Conflict, InvalidInput, Upstream

pytestmark = pytest.mark.anyio
CASES = json.loads((Path(__file__).parents[1] / "cases" / "storage_keys.json").read_text(encoding="utf-8"))


@pytest.fixture(params=["file", "memory", "s3", "s3 without conditions"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """A-S11-3: each test of a bucket holds on a local store, a memory store and S3 servers of both kinds."""
    if request.param.startswith("s3"):
        server = request.getfixturevalue("moto" if request.param == "s3" else "rclone")
        settings = server.settings()
        return Bucket(settings.url, settings=settings)
    return Bucket((tmp_path / "a b%20c").as_uri() if request.param == "file" else "memory://")


@pytest.mark.parametrize("key", CASES["bad"])
async def test_a_bad_key_is_refused_by_every_verb(bucket: Bucket, key: str) -> None:
    """A-S5-6: each rule for keys has a case, on all verbs."""
    for work in (bucket.put(key, b"x"), bucket.get(key), bucket.head(key), bucket.delete(key)):
        with pytest.raises(InvalidInput, match="key"):
            await work
    assert (await bucket.list()).objects == []


@pytest.mark.parametrize("key", CASES["good"])
async def test_a_good_key_comes_back_as_it_was(bucket: Bucket, key: str) -> None:
    """A-S5-6: odd but legal keys round-trip through put, get, head, list and delete. A-S5-1 without HTTP."""
    await bucket.put(key, b"contents", create=True)
    assert await bucket.get(key) == b"contents"
    assert (await bucket.head(key)).size == 8
    assert [o.key for o in (await bucket.list(key)).objects] == [key]
    await bucket.delete(key)
    await bucket.delete(key)
    assert not await bucket.exists(key)
    with pytest.raises(KeyNotFound):
        await bucket.get(key)


def test_keys_have_a_length() -> None:
    """A-S5-6: 1024 bytes in all, 255 a part, counted in UTF-8."""
    part = "é" * 127
    assert check_key("/".join([part, part, part, part[:126]]))
    for key in ("/".join([part] * 5), "é" * 128, "x" * 256):
        with pytest.raises(InvalidInput):
            check_key(key)
    assert MAX_KEY_BYTES == 1024
    with pytest.raises(InvalidInput):
        check_key("\ud800")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_legal_key_leaves_the_bucket(key: str) -> None:
    try:
        check_key(key)
    except InvalidInput:
        return
    assert (Path("/bucket") / key).parts[:2] == ("/", "bucket")
    assert os.path.normpath(f"/bucket/{key}") == f"/bucket/{key}"


async def test_create_never_overwrites_and_put_does(bucket: Bucket) -> None:
    await bucket.put("k", b"1", create=True)
    with pytest.raises(KeyExists):
        await bucket.put("k", b"2", create=True)
    assert await bucket.get("k") == b"1"
    await bucket.put("k", b"3")
    assert await bucket.get("k") == b"3"


async def test_of_many_creators_of_one_key_one_wins(bucket: Bucket) -> None:
    won: list[bytes] = []

    async def create(mine: bytes) -> None:
        try:
            await bucket.put("race", mine, create=True)
        except KeyExists:
            return
        won.append(mine)

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(create, b"%d" % n)
    assert len(won) == 1
    assert await bucket.get("race") == won[0]


async def test_a_folder_and_an_object_cannot_share_a_name(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path.as_uri())
    await bucket.put("a", b"1")
    await bucket.put("d/x", b"1")
    for key in ("a/b", "d"):
        with pytest.raises(Conflict, match="cannot be stored") as raised:
            await bucket.put(key, b"2")
        assert not isinstance(raised.value, KeyExists)
        with pytest.raises(KeyNotFound):
            await bucket.get(key)
        with pytest.raises(KeyNotFound):
            await bucket.head(key)
        await bucket.delete(key)
    assert [o.key for o in (await bucket.list()).objects] == ["a", "d/x"]


async def test_a_listing_is_sorted_pages_and_takes_any_prefix(bucket: Bucket) -> None:
    keys = ["b", "a/2", "a/10", "ab", "a/1", "z é"]
    for key in keys:
        await bucket.put(key, b"x")
    assert [o.key for o in (await bucket.list()).objects] == sorted(keys)
    assert [o.key for o in (await bucket.list("a")).objects] == ["a/1", "a/10", "a/2", "ab"]
    assert [o.key for o in (await bucket.list("a/1")).objects] == ["a/1", "a/10"]
    assert (await bucket.list("nothing/here/")).objects == []
    assert (await bucket.list("b/")).objects == []
    first = await bucket.list(limit=4)
    assert first.truncated and first.next == first.objects[-1].key
    rest = await bucket.list(after=first.next, limit=4)
    assert not rest.truncated and rest.next is None
    assert [o.key for o in first.objects + rest.objects] == sorted(keys)
    for prefix in ("../x", "a//b", "a\x00/b"):
        with pytest.raises(InvalidInput):
            await bucket.list(prefix)


@pytest.mark.slow
async def test_a_listing_stops_at_ten_thousand_and_says_so() -> None:
    """A-S5-7: 10,001 objects give 10,000 and the sign that there are more."""
    bucket = Bucket("memory://")
    for n in range(10_001):
        await bucket.put(f"k{n:05d}", b"")
    page = await bucket.list()
    assert (len(page.objects), page.truncated, page.next) == (MAX_LIST, True, "k09999")
    assert [o.key for o in (await bucket.list(after=page.next)).objects] == ["k10000"]


async def test_a_file_moves_into_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "finished"
    for key, data in (("in/a.bin", b"one"), ("in/b.bin", b"two")):
        path.write_bytes(data)
        stored = await bucket.put_file(key, path, create=True)
        assert (stored.size, await bucket.get(key), path.exists()) == (3, data, False)
    path.write_bytes(b"other")
    with pytest.raises(KeyExists):
        await bucket.put_file("in/a.bin", path, create=True)
    assert await bucket.get("in/a.bin") == b"one"
    assert not path.exists()
    if bucket.root is not None:
        assert (bucket.root / "in/a.bin").stat().st_mode & 0o777 == 0o444
        assert list((bucket.root / UNFINISHED).glob("*")) == []
    await bucket.get_to("in/b.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"two"


@pytest.mark.skipif(not os.path.isdir("/dev/shm") or os.name == "nt", reason="needs a second file system")
async def test_a_file_from_another_disk_is_copied(tmp_path: Path) -> None:
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is on the same file system here")
    bucket = Bucket(tmp_path.as_uri())
    source = Path(f"/dev/shm/lakehouse-test-{os.getpid()}")
    source.write_bytes(b"far away")
    try:
        await bucket.put_file("k", source)
    finally:
        source.unlink(missing_ok=True)
    assert await bucket.get("k") == b"far away"
    assert list((tmp_path / UNFINISHED).glob("*")) == []


@pytest.mark.parametrize(
    "url",
    ["objects", "", "file://data/x", "file://", "http://x/y", "s3://", "s3://me:hunter2@x", "s3://x?y", "gs://x/../y"],
)
def test_an_unusable_url_is_refused_by_name(url: str) -> None:
    """A-S3-2 for the bucket's URL."""
    with pytest.raises(InvalidInput, match=r"storage\.url"):
        Bucket(url)


FULL_DISK = """
import resource, signal, sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
import anyio
from lakehouse.engine.bucket import Bucket
from lakehouse.errors import Upstream

async def main():
    bucket = Bucket(Path(sys.argv[1]).as_uri())
    await bucket.put("k", b"old")
    # A file may not grow past this: what a full disk looks like to a writer.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for create, key in ((False, "k"), (True, "new/k")):
        try:
            await bucket.put(key, bytes(100_000), create=create)
        except Upstream as error:
            print(error)
    print(await bucket.get("k"), [o.key for o in (await bucket.list()).objects])

anyio.run(main)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
def test_a_full_disk_fails_the_put_and_leaves_nothing(tmp_path: Path) -> None:
    """S5.4: a write that fails halfway is an upstream error; the old object stays, nothing partial remains."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    first, second, last = done.stdout.splitlines()
    assert first.startswith("upstream:") and second.startswith("upstream:")
    assert last == "b'old' ['k']"
    assert str(tmp_path) not in done.stdout
    assert list((tmp_path / UNFINISHED).glob("*")) == []


async def test_an_error_of_the_store_names_no_path(tmp_path: Path) -> None:
    """S3.5: the data directory's path is nobody's business."""
    (tmp_path / "objects").write_bytes(b"a file where the bucket should be")
    bucket = Bucket((tmp_path / "objects").as_uri())
    for work in (bucket.put("k", b"x"), bucket.get("k"), bucket.list()):
        with pytest.raises((Upstream, Conflict, KeyNotFound)) as raised:
            await work
        assert str(tmp_path) not in str(raised.value)


def test_a_durable_write_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ("n" * 255)
    files.write(path, b"1", create=True, mode=0o600)
    with pytest.raises(FileExistsError):
        files.write(path, b"2", create=True)
    files.write(path, b"3")
    assert path.read_bytes() == b"3"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(TypeError):
        files.write(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"3"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_being_made_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread lists while another makes the bucket: the list is empty, whenever between two looks that happens."""

    root = tmp_path / "objects"
    folder = Folder("b", root)
    was_folder = Path.is_dir

    def making(look: Callable[[Any], bool]) -> Callable[[Any], bool]:
        def looked(path: Any) -> bool:
            found = look(path)
            root.mkdir(exist_ok=True)
            return found

        return looked

    monkeypatch.setattr(os.path, "lexists", making(os.path.lexists))
    monkeypatch.setattr(Path, "is_dir", making(was_folder))
    assert folder.names("_vectors/") == []
