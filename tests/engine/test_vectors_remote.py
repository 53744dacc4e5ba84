"""Vector indexes in a remote bucket: how many requests a change takes, copies that are not fetched again, damage."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from tests.doubles.s3 import S3

from lakehouse import config
from lakehouse.engine.bucket.remote import Remote
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import IndexDamaged, Item, Vectors, objects

pytestmark = pytest.mark.anyio


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """How often each kind of request was made."""
    counts: Counter[str] = Counter()
    guard = threading.Lock()
    for verb in ("put", "put_file", "get", "get_to", "head", "list", "names", "delete"):
        real = getattr(Remote, verb)

        def counted(self: Remote, *args: Any, real: Any = real, verb: str = verb) -> Any:
            with guard:
                counts[verb] += 1
            return real(self, *args)

        monkeypatch.setattr(Remote, verb, counted)
    return counts


def opened(home: Path, settings: config.Storage, seal_rows: int = 1000) -> Vectors:
    return Vectors(home, Storage(home, settings), config.Vectors(seal_rows=seal_rows))


@pytest.mark.parametrize(("server", "more"), [("moto", {"names": 1}), ("rclone", {"head": 1})])
async def test_a_durable_add_is_one_put(
    server: str, more: dict[str, int], home: Path, request: pytest.FixtureRequest, asked: "Counter[str]"
) -> None:
    """Where others may write, a look whether somebody published meanwhile comes after it; a single writer checks before
    whether the key is free."""
    vectors = opened(home, request.getfixturevalue(server).settings())
    await vectors.create("it", 2)
    await vectors.add("it", [Item("first", [1, 0])])
    asked.clear()
    await vectors.add("it", [Item("a", [1, 0]), Item("b", [0, 1])])
    assert asked == {"put": 1} | more
    asked.clear()
    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(vectors.add, "it", [Item(f"v{n}", [1, n])])
    assert 1 <= asked["put"] <= 2  # whoever waits meanwhile goes together
    asked.clear()
    assert len(await vectors.search("it", [1, 0], 5)) == 5
    assert asked == {}


async def test_a_segment_is_fetched_once_and_not_by_its_writer(moto: S3, home: Path, asked: "Counter[str]") -> None:
    settings = moto.settings()
    vectors = opened(home, settings, 100)
    await vectors.create("it", 8)
    rows = np.random.default_rng(1).standard_normal((500, 8)).astype(np.float32)
    asked.clear()
    await vectors.add_matrix("it", [f"v{n}" for n in range(500)], rows, [{"n": n} for n in range(500)])
    assert asked["get_to"] == 0
    best = await vectors.search("it", rows[7], 1)
    again = opened(home, settings)
    assert await again.search("it", rows[7], 1) == best and best[0].id == "v7"
    assert asked["get_to"] == 0
    elsewhere = opened(home.with_name("elsewhere"), settings)
    assert await elsewhere.search("it", rows[7], 1) == best
    assert asked["get_to"] == 8
    assert await opened(home.with_name("elsewhere"), settings).search("it", rows[7], 1) == best
    assert asked["get_to"] == 8


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_copy_that_is_spoiled_is_fetched_again(
    moto: S3, home: Path, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large ones are checked in the background, and the next opening has a good one."""
    settings = moto.settings()
    vectors = opened(home, settings, 10)
    await vectors.create("it", 2)
    await vectors.add("it", [Item(f"v{n}", [1, n]) for n in range(20)])
    best = await vectors.search("it", [1, 3], 1)
    await vectors.aclose()
    bucket = Storage(home, settings).bucket
    (codes,) = [o.key for o in (await bucket.list("_vectors/it/seg/")).objects if o.key.endswith("vec.i8")]
    good = await bucket.get(codes)
    (copy,) = [path for path in (home / "cache" / "objects").glob("*/*") if path.read_bytes() == good]
    copy.chmod(0o600)
    copy.write_bytes(b"X" + good[1:])
    if not at_once:
        monkeypatch.setattr(objects, "CHECK_AT_ONCE", 0)
        hasty = opened(home, settings)
        with pytest.raises(IndexDamaged):
            while True:
                await hasty.search("it", [1, 3], 1)
        await hasty.aclose()
    again = opened(home, settings)
    assert await again.search("it", [1, 3], 1) == best
    await again.aclose()


async def test_damage_in_the_bucket_is_named(moto: S3, home: Path) -> None:
    settings = moto.settings()
    vectors = opened(home, settings, 10)
    await vectors.create("it", 2)
    await vectors.add("it", [Item(f"v{n}", [1, n]) for n in range(20)])
    bucket = Storage(home, settings).bucket
    (codes,) = [o.key for o in (await bucket.list("_vectors/it/seg/")).objects if o.key.endswith("vec.i8")]
    good = await bucket.get(codes)
    for bad in (b"\x00" + good[1:], None):
        await bucket.delete(codes)
        if bad is not None:
            await bucket.put(codes, bad)
        with pytest.raises(IndexDamaged, match=r"vec\.i8"):
            await opened(home.with_name(f"other-{bad is None}"), settings).get("it")
    await bucket.put(codes, good)
    assert (await opened(home.with_name("third"), settings).get("it")).count == 20
    await vectors.delete("it")
    assert (await bucket.list("_vectors/")).objects == []
    assert await opened(home.with_name("third"), settings).list() == []
