"""The embedding cache: keys, eviction, threads, and a file that may be damaged, full or gone."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lakehouse import config
from lakehouse.config import MIB
from lakehouse.engine.embed import Embedder
from lakehouse.engine.embed.cache import Cache, Entry, keys
from lakehouse.engine.embed.store import Store

pytestmark = pytest.mark.anyio


def entry(value: float, width: int = 4) -> Entry:
    return Entry(np.full(width, value, np.float32), False)


def store_at(home: Path, max_bytes: int = 64 * MIB) -> Store:
    return Store(home / "cache" / "embeddings.sqlite", max_bytes)


def test_keys_are_stable_and_distinct() -> None:
    """A-S10-1"""
    assert keys("m", ["hello"]) == ["m:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"]
    several = keys("m", ["a", "A", "a ", "á"]) + keys("n", ["a"])
    assert len(set(several)) == 5


def test_the_least_recently_used_leave_memory(home: Path) -> None:
    """A-S10-1: LRU eviction."""
    cache = Cache(2, store_at(home))
    cache.remember({"a": entry(1), "b": entry(2)})
    cache.recall(["a"])
    cache.remember({"c": entry(3)})
    assert set(cache.recall(["a", "b", "c"])) == {"a", "c"}
    assert cache.stats()["size"] == 2


def test_fifty_threads(home: Path) -> None:
    """A-S10-1: 50 threads × 100 calls; entries are never mixed up, and no count is lost."""
    cache = Cache(30, store_at(home))
    wrong: list[str] = []

    def work(seed: int) -> None:
        for call in range(100):
            number = (seed * 31 + call * 17) % 90
            found = cache.recall([str(number)])
            cache.count(len(found), 1 - len(found))
            if not found:
                cache.remember({str(number): entry(number)})
            elif found[str(number)].vector[0] != number:
                wrong.append(str(number))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = cache.stats()
    assert wrong == []
    assert stats["hits"] + stats["misses"] == 5000
    assert stats["hit_rate"] == pytest.approx(stats["hits"] / 5000)
    assert stats["size"] == 30


def rows(count: int, width: int = 384, first: int = 0) -> dict[str, tuple[np.ndarray, bool]]:
    return {f"m:{n}": (np.full(width, n, np.float32), n % 2 == 1) for n in range(first, first + count)}


def test_the_file_gives_back_what_was_put(home: Path) -> None:
    store = store_at(home)
    store.put(rows(1200))
    store.close()
    again = store_at(home)
    found = again.get([f"m:{n}" for n in range(0, 2400, 2)])
    again.close()
    assert len(found) == 600
    assert all(v[0] == int(key[2:]) and len(v) == 384 and not cut for key, (v, cut) in found.items())


DAMAGE = {
    "not a database": b"this is not a database" * 1000,
    "cut off": None,
    "a database with another table": b"",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_begun_anew(home: Path, kind: str) -> None:
    store = store_at(home)
    store.put(rows(500))
    store.close()
    path = home / "cache" / "embeddings.sqlite"
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "not a database":
        path.write_bytes(DAMAGE[kind] or b"")
    else:
        with sqlite3.connect(path) as file:
            file.execute("ALTER TABLE vectors RENAME COLUMN crc TO sum")
        file.close()
    again = store_at(home)
    again.get([f"m:{n}" for n in range(500)])
    again.put(rows(10))
    assert len(again.get([f"m:{n}" for n in range(10)])) == 10
    assert again.problem == ""
    again.close()


def test_a_changed_bit_in_a_vector_is_noticed(home: Path) -> None:
    store = store_at(home)
    store.put(rows(2))
    store.close()
    with sqlite3.connect(home / "cache" / "embeddings.sqlite") as file:
        file.execute("UPDATE vectors SET vector = zeroblob(length(vector))")
    file.close()
    again = store_at(home)
    assert list(again.get(["m:0", "m:1"])) == ["m:0"]  # its vector was all zeros anyway
    again.close()


def test_the_oldest_leave_a_full_file(home: Path) -> None:
    store = store_at(home, max_bytes=MIB)
    for first in range(0, 2000, 100):
        store.put(rows(100, first=first))
    kept = store.get([f"m:{n}" for n in range(2000)])
    size = sum(path.stat().st_size for path in (home / "cache").glob("embeddings.sqlite"))
    store.close()
    assert "m:1999" in kept and "m:0" not in kept
    assert size < 2 * MIB


async def test_a_file_that_cannot_be_used_fails_no_embed(home: Path) -> None:
    (home / "cache" / "embeddings.sqlite").mkdir(parents=True)
    embedder = Embedder(home, config.Embed(provider="hash"))
    assert (await embedder.embed(["a"])).dimension == 256
    assert (await embedder.embed(["a", "b"])).dimension == 256
    assert "unable to open" in embedder.stats()["disk"]
    assert embedder.stats()["hits"] == 1
    await embedder.aclose()


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_kill_9_loses_nothing_that_was_put(home: Path) -> None:
    code = """
import sys, numpy
from pathlib import Path
from lakehouse.engine.embed.store import Store
store = Store(Path(sys.argv[1]), 2**26)
for n in range(1_000_000):
    store.put({f"m:{n}": (numpy.full(384, n, numpy.float32), False)})
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
"""
    path = home / "cache" / "embeddings.sqlite"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    put = [int(child.stdout.readline()) for _ in range(200)]
    child.send_signal(signal.SIGKILL)
    put += [int(line) for line in child.stdout.read().splitlines()]
    child.stdout.close()
    child.wait()
    store = store_at(home)
    found = store.get([f"m:{n}" for n in put])
    store.close()
    assert len(put) >= 200 and len(found) == len(put)
    assert all(vector[383] == int(key[2:]) for key, (vector, _) in found.items())


def test_two_processes_may_share_the_file(home: Path) -> None:
    one, two = store_at(home), store_at(home)
    one.put(rows(5))
    two.put(rows(5, first=5))
    assert len(one.get([f"m:{n}" for n in range(10)])) == 10
    one.close()
    two.close()
