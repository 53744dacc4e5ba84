"""Object storage as a caller bound to a profile has it: its own bucket, without what Lakehouse keeps about others."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engine.bucket import PRIMARY, Bucket, Listing
from lakehouse.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.storage import Storage

_VERBS = ("put", "put_file", "put_stream", "get", "delete", "file_of", "head", "list")
# A catalog and its data files are the profile's own; all else of Lakehouse's is about more than one bucket.
_OPEN = ("_catalog",)


class Scope:
    """Stands for a Storage. What it does not have is Forbidden, so that nothing new is open by oversight.

    A profile that names its datasets reads no objects at all: they hold the rows of the others.
    """

    def __init__(self, storage: "Storage", profile: "Profile", home: Path) -> None:
        self._storage = storage
        self._profile = profile
        self.settings = storage.settings
        self.scratch_root = storage.scratch_root
        self.bucket = _Bucket(storage.buckets[profile.bucket], self)
        self.buckets: Mapping[str, _Bucket] = {profile.bucket: self.bucket}
        roots = [bucket.root for bucket in storage.buckets.values() if bucket.root is not None]
        self.shut = (home, *roots)  # folders of this machine where the others' rows lie

    def scratch(self) -> AbstractAsyncContextManager[Path]:
        """As Storage.scratch."""
        return self._storage.scratch()

    async def put_immutable(self, key: str, path: Path, sha256: str, bucket: str | None = None) -> None:
        """As Storage.put_immutable, into the profile's bucket only."""
        self.check_bucket(bucket)
        await self._storage.put_immutable(key, path, sha256, self._profile.bucket)

    def check_bucket(self, name: str | None) -> None:
        """Raises NotFound for any other bucket than the profile's."""
        if name not in (None, self._profile.bucket):
            raise NotFound(
                f"profile {self._profile.name!r} has no bucket {name!r}.", fix=f"It has {self._profile.bucket}."
            )

    def check(self, key: str) -> None:
        """Raises Forbidden for an object, or a beginning of keys, that is not the profile's to see."""
        if self._profile.datasets is not None:
            raise Forbidden(
                f"profile {self._profile.name!r} has some datasets of its bucket, and no objects.",
                fix="Query the datasets.",
            )
        if hidden(key):
            raise Forbidden(
                f"{key[:100]!r}: such keys are not open to profile {self._profile.name!r}.", fix="Use your own keys."
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("check_") or name in ("max_put_bytes_for", "upload_slot"):
            return getattr(self._storage, name)
        if name in _VERBS:
            return self._verb(getattr(self._storage, name))
        raise Forbidden(
            f"storage.{name} is not open to profile {self._profile.name!r}.", fix="Use a caller bound to none."
        )

    def _verb(self, run: Callable[..., Any]) -> Callable[..., Any]:
        named = "bucket" in inspect.signature(run).parameters
        if not named and self._profile.bucket != PRIMARY:
            raise Forbidden(
                f"objects of bucket {self._profile.bucket} cannot be reached so.", fix="Query its datasets."
            )

        async def verb(key: str = "", *args: Any, bucket: str | None = None, **more: Any) -> Any:
            self.check_bucket(bucket)
            self.check(key)
            return await run(key, *args, **more, **({"bucket": self._profile.bucket} if named else {}))

        return verb


class _Bucket:
    """The profile's bucket, for parts that read and write objects of it."""

    def __init__(self, bucket: Bucket, scope: Scope) -> None:
        self._bucket = bucket
        self._scope = scope
        self.name, self.kind, self.root, self.remote = bucket.name, bucket.kind, bucket.root, bucket.remote

    async def list(self, prefix: str = "", **more: Any) -> Listing:
        """As Bucket.list, without what is hidden."""
        self._scope.check(prefix)
        found = await self._bucket.list(prefix, **more)
        return Listing([one for one in found.objects if not hidden(one.key)], *_rest(found))

    def __getattr__(self, name: str) -> Any:
        if name not in ("get", "get_to", "head", "exists", "put", "put_file"):
            raise Forbidden(f"{name} of a bucket is not open to a profile.", fix="Use a caller bound to none.")
        run = getattr(self._bucket, name)

        async def verb(key: str, *args: Any, **more: Any) -> Any:
            self._scope.check(key)
            return await run(key, *args, **more)

        return verb


def hidden(key: str) -> bool:
    """Whether a key is of what Lakehouse keeps that is not of one bucket's datasets."""
    first = key.split("/")[0].casefold()  # some file systems ignore case
    return first.startswith("_") and first not in _OPEN


def _rest(listing: Listing) -> Sequence[Any]:
    return [listing.truncated, listing.next]
