"""Object storage as a caller bound to a profile has it: its own bucket, without what Lakehouse keeps about others."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lakehouse.engine.bucket import Bucket, Listing
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.storage import Failure, Replayed, Storage
from lakehouse.engine.storage.objects import State, state_of
from lakehouse.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from lakehouse.engine.profiles import Profile

# A catalog and its data files are the profile's own; all else of Lakehouse's is about more than one bucket.
_OPEN = ("_catalog",)


class Scope(Storage):
    """A Storage of one bucket. A profile that names its datasets reads no objects: they hold the rows of the others.

    Nothing is rescued here: the bucket that takes others' objects holds those of all.
    """

    def __init__(self, storage: Storage, profile: "Profile") -> None:
        vars(self).update(vars(storage))
        self._profile = profile
        self._raw = storage.buckets[profile.bucket]
        self.bucket = cast(Bucket, _Bucket(self._raw, self))
        self.buckets = {profile.bucket: self.bucket}
        self.rescue = None

    def bucket_of(self, name: str | None) -> Bucket:
        """The profile's bucket. Raises NotFound for any other."""
        if name not in (None, self._profile.bucket):
            raise NotFound(
                f"profile {self._profile.name!r} has no bucket {name!r}.", fix=f"It has {self._profile.bucket}."
            )
        return self.bucket

    def place_of(self, key: str, bucket: str | None = None) -> tuple[Bucket, str]:
        """As Storage.place_of. Raises Forbidden for what is not the profile's to see."""
        found, key = super().place_of(key, bucket)
        self.check(key)
        return found, key

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

    async def states(self) -> Sequence[State]:
        """As Storage.states, of the profile's bucket."""
        return await fan_out([partial(state_of, self._raw)])

    async def errors(self, limit: int, since: str | None = None) -> Sequence[Failure]:
        """Raises Forbidden."""
        raise self._everybodys()

    async def replay(self) -> Replayed:
        """Raises Forbidden."""
        raise self._everybodys()

    def _everybodys(self) -> Forbidden:
        return Forbidden(
            f"profile {self._profile.name!r} does not reach this: it is about everybody's objects.",
            fix="Use a caller that is bound to no profile.",
        )


class _Bucket:
    """The profile's bucket, for parts that read and write objects of it. What it does not have is Forbidden."""

    def __init__(self, bucket: Bucket, scope: Scope) -> None:
        self._bucket = bucket
        self._scope = scope
        self.name, self.kind, self.root, self.remote = bucket.name, bucket.kind, bucket.root, bucket.remote
        self.single_writer = bucket.single_writer

    async def list(self, prefix: str = "", **more: Any) -> Listing:
        """As Bucket.list, without what is hidden."""
        self._scope.check(prefix)
        found = await self._bucket.list(prefix, **more)
        return Listing([one for one in found.objects if not hidden(one.key)], found.truncated, found.next)

    async def put_file(self, key: str, path: Path, **more: Any) -> Any:
        """As Bucket.put_file; a dataset's own file, too, of a profile that reads no objects."""
        if not key.startswith("datasets/"):
            self._scope.check(key)
        return await self._bucket.put_file(key, path, **more)

    def __getattr__(self, name: str) -> Any:
        if name not in ("get", "get_to", "head", "exists", "put", "delete"):
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
