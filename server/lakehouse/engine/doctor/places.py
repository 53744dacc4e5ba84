"""Whether the data directory, its bucket and its disk can be used, and by whom they are used now."""

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse.config import GIB, Settings
from lakehouse.engine import credentials, files
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.doctor.check import Check, bad, good
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.owner import Owner
from lakehouse.engine.storage import PRIMARY, Bucket, KeyExists, Storage, buckets_of
from lakehouse.errors import LakehouseError

PROBES = "_probe"
LOW_DISK_BYTES = GIB


def _nearest(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def check_home(home: Path) -> list[Check]:
    """Whether the data directory can be written to, or made."""
    nearest = _nearest(home)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        return bad(
            "data directory",
            f"{nearest} cannot be written to: {error.strerror}.",
            "Make it writable for this user, or name another with --home or LAKEHOUSE_HOME.",
        )
    return good("data directory", f"{home}" if nearest == home else f"{home} (not there yet)")


async def check_owner(home: Path, answers: Callable[[str], Awaitable[bool]] | None = None) -> list[Check]:
    """Who owns the data directory, and whether that process answers this one, which `answers` says of an address."""
    holder = await Owner(home).holder()
    if holder is None:
        return good("owner", "nobody holds the data directory", required=False)
    if (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname()):
        return good("owner", f"this process, {holder['pid']}, holds the data directory", required=False)
    words = (
        f"process {holder['pid']} ({holder['command']}) on {holder['host']} holds the data directory since "
        f"{holder['started']}"
    )
    if answers is not None and holder["here"] and holder["address"] and await answers(holder["address"]):
        return good("owner", f"{words}, and answers: others attach to it", required=False)
    return bad(
        "owner",
        f"{words}, and does not answer.",
        "Stop it, or use another data directory with --home or LAKEHOUSE_HOME.",
        required=False,
    )


def check_disk(home: Path) -> list[Check]:
    """Whether there is room."""
    free = shutil.disk_usage(_nearest(home)).free
    words = f"{free / GIB:.1f} GiB free where the data directory is"
    if free >= LOW_DISK_BYTES:
        return good("disk space", words, required=False)
    return bad("disk space", f"{words}.", "Make room, or name another place with --home.", required=False)


async def check_storage(settings: Settings) -> list[Check]:
    """Whether each bucket reads, writes and refuses to overwrite; a probe object is put twice and removed.

    Where one is remote, too, whether the file of credentials is closed to others.
    """
    try:
        buckets = list(buckets_of(settings.home, settings.config.storage).values())
    except LakehouseError as error:
        return bad("storage", error.detail, error.fix or "Check storage.url.")
    remote = any(bucket.remote for bucket in buckets)
    found = await anyio.to_thread.run_sync(_check_secrets, settings) if remote else []
    read_only = settings.config.server.read_only
    checked = await fan_out([partial(_check_bucket, bucket, read_only) for bucket in buckets])
    return [*(check for checks in checked for check in checks), *found]


async def _check_bucket(bucket: Bucket, read_only: bool) -> list[Check]:
    called = "storage" if bucket.name == PRIMARY else f"storage {bucket.name}"
    try:
        if read_only:
            if bucket.remote:
                await bucket.list(limit=1)
            return good(called, "not written to, because the server is read-only")
        if bucket.root is not None and not await anyio.Path(bucket.root).exists():
            return await anyio.to_thread.run_sync(_home_of_bucket, called, bucket.root)
        return await _create_twice(called, bucket)
    except LakehouseError as error:
        also = " It can be read." if bucket.remote and await _answers(bucket) else ""
        return bad(called, f"{error.detail}{also}", error.fix or "Check storage.url.")


async def check_datasets(settings: Settings) -> list[Check]:
    """Whether the newest manifest of each dataset can be read; a bucket that cannot be is another check's finding."""
    try:
        storage = Storage(settings.home, settings.config.storage)
        roots = [bucket.root for bucket in storage.buckets.values() if bucket.root is not None]
        if roots and not await anyio.Path(roots[0]).exists():
            return []
        datasets = Datasets(settings.home, storage, indexed=False)
        problems, count = await datasets.refresh(), len(await datasets.list())
    except LakehouseError:
        return []
    if problems:
        more = f" And {len(problems) - 1} more." if problems[1:] else ""
        return bad(
            "datasets", f"{problems[0]}{more}", "Run `lakehouse fsck`, which names all that is damaged.", required=False
        )
    words = f"{count}, of which every newest manifest can be read; `lakehouse fsck` verifies all that is stored"
    return good("datasets", words, required=False)


async def _answers(bucket: Bucket) -> bool:
    try:
        await bucket.list(limit=1)
    except LakehouseError:
        return False
    return True


def _check_secrets(settings: Settings) -> list[Check]:
    try:
        found = credentials.read(settings.config.storage.secrets)
    except LakehouseError as error:
        return bad("secrets", error.detail, error.fix)
    if found.readable:
        return bad("secrets", f"{found.path} can be read by others.", f"chmod 600 {found.path}", required=False)
    words = f"{found.path}, which only its owner can read" if found.tables else "no file; the provider's own variables"
    return good("secrets", words, required=False)


def _home_of_bucket(called: str, root: Path) -> list[Check]:
    nearest = _nearest(root)
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return good(called, "the bucket is not there yet; it can be created")
    return bad(called, f"the bucket's folder cannot be created in {nearest}.", "Make it writable, or set storage.url.")


async def _create_twice(called: str, bucket: Bucket) -> list[Check]:
    key = f"{PROBES}/{secrets.token_hex(16)}"
    refused = False
    try:
        await bucket.put(key, b"probe", create=True)
        try:
            await bucket.put(key, b"other", create=True)
        except KeyExists:
            refused = True
        whole = await bucket.get(key) == b"probe"
    finally:
        with anyio.CancelScope(shield=True):
            await bucket.delete(key)
            if bucket.root is not None:
                await anyio.to_thread.run_sync(_remove_if_empty, bucket.root / PROBES)
    if refused and whole:
        kept = "; it is in memory, and gone when the process ends" if bucket.kind == "memory" else ""
        if bucket.single_writer:
            kept = ", as long as only this data directory writes to it (storage.single_writer)"
        return good(called, f"{bucket.kind} bucket {bucket.name} reads, writes and refuses to overwrite{kept}")
    return bad(
        called,
        f"bucket {bucket.name} overwrites what it should only create.",
        "Move the bucket to a store with conditional writes, and set storage.url.",
    )


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # another probe is at work in it
    files.sync_folder(folder.parent)
