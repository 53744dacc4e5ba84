"""Storage: what callers may put and read, caps, slots, scratch, and what a crash leaves behind."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from lakehouse import config
from lakehouse.engine.bucket import PRIMARY, UNFINISHED
from lakehouse.engine.storage import (
    RESERVED,
    VECTORS_PREFIX,
    Storage,
)
from lakehouse.errors import Busy, Conflict, Forbidden, TooLarge, Upstream

pytestmark = pytest.mark.anyio


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
    """The scratch folder is emptied; of unfinished writes in a bucket with other writers those of a day stay."""
    own = Storage(home, config.Storage())
    storage = Storage(home, config.Storage(url=(home / "objects").as_uri()))
    await storage.bucket.put("kept", b"x")
    assert storage.bucket.root is not None
    unfinished = storage.bucket.root / UNFINISHED
    old, fresh, scratch = unfinished / "x#1", unfinished / "y#2", home / "tmp" / "z" / "w"
    scratch.parent.mkdir(parents=True)
    for path in (old, fresh, scratch):
        path.write_bytes(b"partial")
    os.utime(old, (0, 0))
    os.utime(fresh, (time.time() - 3600,) * 2)
    assert [o.key for o in (await storage.bucket.list()).objects] == ["kept"]
    await storage.sweep()
    assert [path.exists() for path in (old, fresh, scratch)] == [False, True, False]
    assert await storage.bucket.get("kept") == b"x"
    fresh.with_name("z#3").write_bytes(b"partial")
    await own.sweep()
    assert [path.name for path in unfinished.iterdir()] == ["z#3"]
    await Storage(home / "nothing", config.Storage()).sweep()
    await Storage(home / "nothing", config.Storage(url="memory://")).sweep()


async def test_a_disk_that_fails_under_scratch_is_said(storage: Storage, home: Path) -> None:
    """A-S9-10: whoever writes there meets a full disk as an error to act on; a time limit stays one."""
    with pytest.raises(Upstream, match="No space left"):
        async with storage.scratch():
            raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(TimeoutError):
        async with storage.scratch():
            raise TimeoutError
    assert [p async for p in anyio.Path(home / "tmp").iterdir()] == []


async def test_scratch_is_private_and_goes_away(storage: Storage) -> None:
    async with storage.scratch() as one, storage.scratch() as other:
        assert one != other
        (one / "file").write_bytes(b"x")
        assert one.stat().st_mode & 0o077 == 0
    assert not one.exists() and not other.exists()
