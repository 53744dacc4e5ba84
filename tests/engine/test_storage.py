"""Object storage: keys, durable and create-only puts, listings, caps, slots, and what a crash leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine import files
from lakehouse.engine.bucket import MAX_KEY_BYTES, MAX_LIST, PRIMARY, UNFINISHED, Bucket
from lakehouse.engine.storage import (
    RESERVED,
    VECTORS_PREFIX,
    KeyExists,
    KeyNotFound,
    Storage,
    check_key,
)
from lakehouse.errors import Busy, Conflict, Forbidden, InvalidInput, TooLarge, Upstream

pytestmark = pytest.mark.anyio
CASES = json.loads((Path(__file__).parents[1] / "cases" / "storage_keys.json").read_text(encoding="utf-8"))


@pytest.fixture(params=["file", "memory"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    return Bucket((tmp_path / "a b%20c").as_uri() if request.param == "file" else "memory://")


@pytest.fixture
def storage(home: Path) -> Storage:
    return Storage(home, config.Storage())


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


@pytest.mark.parametrize("url", ["s3://x", "objects", "", "file://data/x", "file://", "http://x/y"])
def test_an_unusable_url_is_refused_by_name(url: str) -> None:
    """A-S3-2 for the bucket's URL."""
    with pytest.raises(InvalidInput, match=r"storage\.url"):
        Bucket(url)


def test_the_main_bucket_keeps_its_name(storage: Storage) -> None:
    """A-S3-4: secrets are looked up by this name."""
    assert PRIMARY == "primary" == storage.bucket.name


@pytest.mark.parametrize(
    ("key", "large"),
    [
        ("datasets/x/y.parquet", False),
        ("_catalog/x/00000000000000000001.json", False),
        ("_vectors/a", True),
        ("_vectors/a/b", True),
        ("x/_vectors/y", False),
        ("", False),
        ("_vectors", False),
    ],
)
def test_the_cap_depends_on_the_first_part(storage: Storage, key: str, large: bool) -> None:
    """A-S5-4: seven cases of the one place that decides."""
    expected = storage.settings.max_vectors_put_bytes if large else storage.settings.max_put_bytes
    assert storage.max_put_bytes_for(key) == expected
    assert (storage.settings.max_put_bytes, storage.settings.max_vectors_put_bytes) == (256 * 2**20, 4 * 2**30)


def test_the_vector_cap_holds_the_large_workloads(storage: Storage) -> None:
    """A-S5-5, the storage half: 700,000 vectors of 768 floats fit under the cap."""
    assert storage.max_put_bytes_for(VECTORS_PREFIX + "x") > max(700_000, 500_000) * 768 * 4 + 2**20
    assert VECTORS_PREFIX in RESERVED


async def test_callers_may_not_write_where_lakehouse_keeps_its_own(storage: Storage) -> None:
    """S6.3: the public verbs write nothing below the reserved prefixes, nor in place of their folders."""
    for key in (
        "_catalog/x",
        "datasets/a/b",
        "_vectors/a",
        "_journal/x",
        "_catalog",
        "datasets",
        "Datasets/x",
        "_VECTORS",
    ):
        with pytest.raises(Forbidden):
            await storage.put(key, b"x")
        with pytest.raises(Forbidden):
            await storage.delete(key)
    await storage.put("_vectorsfoo", b"x")
    await storage.bucket.put("_catalog/x/y.json", b"{}")
    assert (await storage.get("_catalog/x/y.json"))[1] == b"{}"


async def test_too_much_is_refused_before_it_is_written(home: Path) -> None:
    """A-S5-2 without HTTP, with lowered caps: nothing becomes visible."""
    storage = Storage(home, config.Storage(max_put_bytes=3, max_vectors_put_bytes=5))
    await storage.put("three", b"123")
    with pytest.raises(TooLarge, match="max_put_bytes"):
        await storage.put("four", b"1234")
    assert [o.key for o in (await storage.bucket.list()).objects] == ["three"]


async def test_nothing_over_sixteen_mib_is_read_inline(storage: Storage) -> None:
    await storage.bucket.put("big", bytes(16 * 2**20 + 1))
    with pytest.raises(TooLarge, match="16777217"):
        await storage.get("big")


async def test_the_fifth_upload_is_told_to_come_back(storage: Storage) -> None:
    """A-S5-3: with four held open, one more gets 503 and 5 seconds at once; afterwards there is room again."""
    release = anyio.Event()
    held = 0

    async def hold(task_status: anyio.abc.TaskStatus[None]) -> None:
        nonlocal held
        async with storage.upload_slot():
            held += 1
            task_status.started()
            await release.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            await tasks.start(hold)
        assert held == 4
        with pytest.raises(Busy) as busy:
            await storage.put("k", b"x")
        assert (busy.value.http, busy.value.retry_after) == (503, 5)
        release.set()
    await storage.put("k", b"x")


async def test_a_failing_upload_gives_its_slot_back(home: Path) -> None:
    storage = Storage(home, config.Storage(upload_slots=1))
    await storage.put("a", b"1")
    with pytest.raises(Conflict):
        await storage.put("a/b", b"1")
    await storage.put("c", b"1")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
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


KILLED_WRITER = """
import sys
from pathlib import Path
import anyio
from lakehouse.engine.bucket import Bucket

async def main():
    bucket = Bucket(Path(sys.argv[1]).as_uri())
    for n in range(1_000_000):
        await bucket.put(f"k/{n:06d}", b"%06d" % n * 20_000, create=True)
        print(n, flush=True)

anyio.run(main)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
async def test_what_was_acknowledged_before_kill_9_is_whole(tmp_path: Path) -> None:
    """A killed writer leaves every acknowledged object whole, no partial one, and leftovers that start-up sweeps."""
    command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path / "home/objects")]
    acknowledged = -1
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged = int(line)
            if acknowledged == 30:
                child.kill()
    storage = Storage(tmp_path / "home", config.Storage())
    found = (await storage.bucket.list()).objects
    assert len(found) >= acknowledged + 1
    for n, stored in enumerate(found):
        assert await storage.bucket.get(stored.key) == b"%06d" % n * 20_000


async def test_start_up_sweeps_leftovers_and_only_those(home: Path) -> None:
    """The scratch folder is emptied; of a bucket's unfinished writes those of other processes stay a day."""
    storage = Storage(home, config.Storage())
    await storage.bucket.put("kept", b"x")
    assert storage.bucket.root is not None
    unfinished = storage.bucket.root / UNFINISHED
    old, fresh, scratch = unfinished / "x#1", unfinished / "y#2", home / "tmp" / "z" / "w"
    scratch.parent.mkdir(parents=True)
    for path in (old, fresh, scratch):
        path.write_bytes(b"partial")
    os.utime(old, (0, 0))
    assert [o.key for o in (await storage.bucket.list()).objects] == ["kept"]
    await storage.sweep()
    assert [path.exists() for path in (old, fresh, scratch)] == [False, True, False]
    assert await storage.bucket.get("kept") == b"x"
    await Storage(home / "nothing", config.Storage()).sweep()
    await Storage(home / "nothing", config.Storage(url="memory://")).sweep()


async def test_scratch_is_private_and_goes_away(storage: Storage) -> None:
    async with storage.scratch() as one, storage.scratch() as other:
        assert one != other
        (one / "file").write_bytes(b"x")
        assert one.stat().st_mode & 0o077 == 0
    assert not one.exists() and not other.exists()


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
