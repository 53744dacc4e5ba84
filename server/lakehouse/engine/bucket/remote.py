"""Buckets of a service: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

Only the library's blocking methods are used: threads of its async ones call back into an interpreter that is ending,
and a process that just ran one of them aborts on exit (20 times of 30).
"""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lakehouse.engine import files
from lakehouse.engine.bucket.client import Client
from lakehouse.engine.bucket.failures import foreign, ignores_conditions, status_of, translated
from lakehouse.engine.bucket.keys import KeyNotFound, Listing, StoredObject, check_key, listed, taken
from lakehouse.engine.bucket.store import Store, stored
from lakehouse.errors import InvalidInput, Upstream

PROBES = "_probe"
PART_BYTES = 8 * 2**20  # of an upload in parts, four at a time in memory; S3 takes 10,000 of them
_TRIES = 4
_LOCKS = 64


class Remote(Store):
    """One bucket, or a prefix of one.

    Whether the service keeps conditions is tried before the first write: a create-only put must fail where an object
    is. With `storage.single_writer` it need not, and this process checks for itself.
    """

    remote = True

    def __init__(self, name: str, client: Client) -> None:
        super().__init__(name)
        self.kind = client.kind
        self._client = client
        self._single = client.settings.single_writer
        self._known = False  # whether the bucket has shown that it is there
        self._conditional: bool | None = None
        self._probing = threading.Lock()
        self._creating = [threading.Lock() for _ in range(_LOCKS)]

    def put(self, key: str, data: bytes | memoryview, create: bool) -> None:
        """Store bytes. Small ones in one request, which a create-only put always is."""
        self.check_writable()
        if not create:
            self._overwrite(key, data)
        elif not self._single:
            self._create(key, data)
        else:
            with self._creating[hash(key) % _LOCKS]:
                self._check_free(key)
                self._overwrite(key, data)

    def put_file(self, key: str, path: Path, create: bool) -> int:
        """Store a file; a large one in parts, so that memory does not grow with it."""
        size = path.stat().st_size
        if size <= PART_BYTES:
            self.put(key, path.read_bytes(), create)
            return size
        self.check_writable()
        if create:
            # A conditional put is one request that holds the whole object in memory. Files are named by their content
            # or by chance, so that whoever else stores one of this name at the same time stores the same.
            self._check_free(key)
        with translated(self.name, key):
            self._client.store(bulk=True).put(key, path, chunk_size=PART_BYTES, max_concurrency=4)
        return size

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        with self._read(key):
            found = self._client.store().get(key)
            self._check_tag(found.meta)
            return bytes(found.bytes())

    def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a local file, in parts."""
        with self._read(key):
            found = self._client.store().get(key)
            self._check_tag(found.meta)
            with path.open("wb") as file:
                for part in found.stream(min_chunk_size=files.COPY_BYTES):
                    file.write(part)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Some of the object's bytes."""
        with self._read(key):
            return bytes(self._client.store().get_range(key, start=start, end=end))

    def head(self, key: str) -> StoredObject:
        """The object's size and tag."""
        with self._read(key):
            meta = self._client.store().head(key)
            self._check_tag(meta)
            return stored(meta)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, many at once."""
        if not keys:
            return
        with suppress(KeyNotFound), self._read(keys[0]):
            self._client.store().delete(list(keys))

    def list(self, prefix: str, after: str | None, limit: int | None) -> Listing:
        """Objects sorted by key, read no further than the limit."""
        folder = prefix.rpartition("/")[0]  # the library lists by whole path parts; the rest is ours
        found: list[StoredObject] = []
        empty = True
        with translated(self.name, ""):
            for page in self._client.store().list(
                prefix=folder or None, offset=_before(prefix, after), chunk_size=1000
            ):
                for meta in page:
                    empty, key = False, meta["path"]
                    if key.startswith(prefix) and (after is None or key > after):
                        found.append(stored(meta))
                    elif key > prefix and self._client.sorted and not key.startswith(prefix):
                        return listed(found, limit)
                if limit is not None and len(found) > limit and self._client.sorted:
                    break
        if empty:
            self._check_sound()
        return listed(found, limit)

    def names(self, folder: str) -> Sequence[str]:
        """The names directly in a folder, without reading what is below them."""
        with translated(self.name, ""):
            found = self._client.store().list_with_delimiter(prefix=folder.rstrip("/") or None)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        if not paths:
            self._check_sound()
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths})

    def check_writable(self) -> None:
        """Raises Unavailable when the service ignores conditions and others may write, Upstream when it fails."""
        if self._single or self._conditional:
            return
        with self._probing:
            if self._conditional is None:
                self._conditional = self._probe()
        if not self._conditional:
            raise ignores_conditions(self.name)

    def _probe(self) -> bool:
        """Whether a create-only put fails where an object is. Every process has a key of its own."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        key = f"{PROBES}/{secrets.token_hex(16)}"
        once = self._client.store(retried=False)
        with translated(self.name, key):
            try:
                once.put(key, b"first", mode="create")
                with suppress(AlreadyExistsError):
                    once.put(key, b"second", mode="create")
                    return False
                return True
            except BaseError as error:
                if status_of(error) == 501:  # it knows conditions well enough to refuse them
                    return False
                raise
            finally:
                with suppress(BaseError, OSError):
                    self._client.store().delete(key)

    def _overwrite(self, key: str, data: bytes | memoryview) -> None:
        with translated(self.name, key):
            store = self._client.store(bulk=len(data) > 2**20)
            store.put(key, data, chunk_size=PART_BYTES, max_concurrency=4)

    def _create(self, key: str, data: bytes | memoryview) -> None:
        """A conditional put.

        Its tries are counted here, not by the library: after one that failed in between, "taken" may mean by us.
        """
        from obstore.exceptions import AlreadyExistsError, GenericError

        store = self._client.store(retried=False, bulk=len(data) > 2**20)
        ends = time.monotonic() + self._client.settings.timeout_secs
        unsure = False
        with translated(self.name, key):
            for left in reversed(range(_TRIES)):
                try:
                    store.put(key, data, mode="create", use_multipart=False)
                    self._known = True
                    return
                except AlreadyExistsError:
                    there = self._content(key)
                    if there is not None and not (unsure and there == data):
                        raise taken(self.name, key) from None
                    if there is not None:
                        return
                    # A conflict over what is not there yet: another conditional put is under way, and may fail.
                    if not left:
                        raise Upstream(
                            f"bucket {self.name} failed at {key!r}: another writer is at it.", fix="Try again."
                        ) from None
                except GenericError:
                    if not left or time.monotonic() > ends:
                        raise
                    unsure = True
                time.sleep(0.1 * (_TRIES - left) * (0.5 + secrets.randbelow(1000) / 1000))

    def _content(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except KeyNotFound:
            return None

    def _check_free(self, key: str) -> None:
        with suppress(KeyNotFound):
            self.head(key)
            raise taken(self.name, key)

    def _check_tag(self, meta: Any) -> None:
        if not meta.get("e_tag"):  # every object store sends one; a web page or a proxy does not
            raise foreign(self.name)
        self._known = True

    def _check_sound(self) -> None:
        """After an empty answer to a listing: any web page reads like one, and would make a full bucket look empty."""
        try:
            with translated(self.name, "", reading=True):
                self._client.store().head(f"{PROBES}/{secrets.token_hex(16)}")
        except KeyNotFound:
            self._known = True
            return
        raise foreign(self.name)

    @contextmanager
    def _read(self, key: str) -> Iterator[None]:
        """The answer "not found" means the object, once the bucket is known to be there."""
        try:
            with translated(self.name, key, reading=True):
                yield
        except KeyNotFound:
            if not self._known:
                self.list("", None, 1)
            raise


def _before(prefix: str, after: str | None) -> str | None:
    """A key that everything wanted comes after, as far as stores take one."""
    known = [key for key in (after, prefix[:-1]) if key and _legal(key)]
    return max(known, default=None)


def _legal(key: str) -> bool:
    try:
        check_key(key)
    except InvalidInput:
        return False
    return True
