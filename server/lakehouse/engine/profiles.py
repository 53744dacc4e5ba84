"""Profiles: what a reader is bound to, so that everything else is as if it were not there."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio

from lakehouse.engine.bucket import KeyNotFound
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.manifests import check_name
from lakehouse.engine.vectors import items
from lakehouse.errors import InvalidInput, NotFound, Upstream, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.storage import Storage

PREFIX = "_profiles/"
MAX_DATASETS = 10_000
MAX_INDEXES = 1000
KNOWN_SECS = 2.0  # for so long a profile is not read again: what another process changes counts after that
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)

Names = list[str]  # inside the class below, `list` is its method


class ProfileDamaged(Upstream):
    """A profile's object is not what was stored."""


@dataclass(frozen=True)
class Defaults:
    """What holds in searches where the reader says nothing."""

    k: int | None = None
    model: str | None = None
    use_playbook: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Those that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Profile:
    """A reader's binding: the datasets of one bucket, or some of them (None: all), and indexes by the reader's names.

    `indexes` are aliases, each with an index or `index@n`, one generation of it; `corpora` are indexes by their own
    names. Others are not there for the reader.
    """

    name: str
    bucket: str
    datasets: frozenset[str] | None = None
    indexes: tuple[tuple[str, str], ...] = ()
    corpora: frozenset[str] = frozenset()
    defaults: Defaults = Defaults()

    @property
    def targets(self) -> dict[str, str]:
        """Every name the reader has for an index, and the index, or the generation of one, it stands for."""
        return {name: name for name in sorted(self.corpora)} | dict(self.indexes)

    def sees(self, dataset: str) -> bool:
        """Whether a dataset of the bucket is one of the reader's."""
        return self.datasets is None or dataset in self.datasets

    @cached_property
    def digest(self) -> str:
        """Hex digits that are another profile's only when it binds to the very same under the same name."""
        return hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()[:32]

    def as_dict(self) -> dict[str, Any]:
        """The profile as plain JSON data."""
        return {
            "name": self.name,
            "bucket": self.bucket,
            "datasets": None if self.datasets is None else sorted(self.datasets),
            # Left out where nothing is bound: the digests of profiles without indexes stay what they were.
            **({"indexes": dict(self.indexes)} if self.indexes else {}),
            **({"corpora": sorted(self.corpora)} if self.corpora else {}),
            **({"defaults": self.defaults.as_dict()} if self.defaults.as_dict() else {}),
        }


class Profiles:
    """The profiles there are, each an object of the primary bucket."""

    def __init__(self, storage: "Storage", record: Record = unrecorded) -> None:
        self._bucket = storage.bucket
        self._buckets = list(storage.buckets)
        self._record = record
        self._known: dict[str, tuple[float, Profile]] = {}
        self._changing = anyio.Lock()

    async def get(self, name: str) -> Profile:
        """A profile by name. Raises NotFound, and Upstream for one that is damaged."""
        known = self._known.get(name)
        if known is not None and anyio.current_time() - known[0] < KNOWN_SECS:
            return known[1]
        asked = anyio.current_time()
        async with self._changing:  # not while it is changed here: the old one must not be kept after that
            self._known.pop(name, None)
            found = await self._read(name)
            self._known[name] = asked, found
        return found

    async def list(self) -> list[Profile]:
        """Every profile, by name. Raises Upstream for one that is damaged."""
        return [await self._read(name) for name in await self.names()]

    async def damaged(self) -> dict[str, str]:
        """The objects of those that cannot be used, and why."""
        found = {}
        for name in await self.names():
            try:
                await self._read(name)
            except NotFound:
                continue  # it has just been removed
            except ProfileDamaged as error:
                found[_key(name)] = error.detail
        return found

    async def names(self) -> Names:
        """The names of all profiles, sorted; those of damaged ones, too."""
        keys = [stored.key for stored in (await self._bucket.list(PREFIX, limit=None)).objects]
        names = [key.removeprefix(PREFIX).removesuffix(".json") for key in keys if key.endswith(".json")]
        return [name for name in sorted(names) if _NAME.fullmatch(name)]

    async def set(
        self,
        name: str,
        bucket: str,
        datasets: Sequence[str] | None = None,
        *,
        indexes: Mapping[str, str] | None = None,
        corpora: Sequence[str] = (),
        defaults: Defaults | None = None,
    ) -> Profile:
        """Make a profile, or bind it to something else. Datasets and indexes need not be there yet.

        Raises InvalidInput, and NotFound for a bucket that is not there.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"name: {name[:80]!r} is none.", fix="Use 1 to 64 of A-Z a-z 0-9 _ . -, no sign first.")
        if bucket not in self._buckets:
            fix = did_you_mean(bucket, self._buckets)
            raise NotFound(f"there is no bucket {bucket!r}.", fix=fix)
        if datasets is not None and not 0 < len(datasets) <= MAX_DATASETS:
            raise InvalidInput(f"datasets: 1 to {MAX_DATASETS} names.", fix="Leave it out for all of the bucket.")
        made = Profile(
            name,
            bucket,
            None if datasets is None else frozenset(map(check_name, datasets)),
            _bound(indexes or {}),
            _corpora(corpora),
            _checked(defaults or Defaults()),
        )
        if twice := sorted(made.corpora & dict(made.indexes).keys()):
            raise InvalidInput(f"indexes: {twice[0]!r} is one of the corpora, too.", fix="Choose another alias.")
        async with self._changing:
            before = await self._standing(name)
            with anyio.CancelScope(shield=True):
                self._known.pop(name, None)
                await self._bucket.put(_key(name), json.dumps(made.as_dict() | {"digest": made.digest}).encode())
                if before != made.as_dict():
                    await self._record("set", "profile", name, before=before, after=made.as_dict())
        return made

    async def delete(self, name: str) -> None:
        """Remove a profile: whoever is bound to it reaches nothing any more. Raises NotFound."""
        async with self._changing:
            before = (await self._read(name)).as_dict()
            with anyio.CancelScope(shield=True):
                self._known.pop(name, None)
                await self._bucket.delete(_key(name))
                await self._record("delete", "profile", name, before=before)

    async def _standing(self, name: str) -> dict[str, Any] | None:
        try:
            return (await self._read(name)).as_dict()
        except NotFound:
            return None
        except Upstream:  # a damaged one is replaced
            return None

    async def _read(self, name: str) -> Profile:
        try:
            data = await self._bucket.get(_key(name)) if _NAME.fullmatch(name) else None
        except KeyNotFound:
            data = None
        if data is None:
            raise NotFound(
                f"there is no profile {name[:80]!r}.", fix="list_profiles has them, for callers bound to none."
            )
        try:
            found = json.loads(data)
            names = found["datasets"]
            if found["name"] != name or not isinstance(found["bucket"], str):
                raise ValueError(name)
            profile = Profile(
                name,
                found["bucket"],
                None if names is None else frozenset(map(check_name, names)),
                _bound(found.get("indexes", {})),
                _corpora(found.get("corpora", ())),
                _checked(Defaults(**found.get("defaults", {}))),
            )
            if found.get("digest", profile.digest) != profile.digest:  # one of an earlier version has none
                raise ValueError(name)
            return profile
        except (ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
            raise ProfileDamaged(
                f"the profile {name!r} is damaged: {_key(name)} cannot be read.", fix="Set it again with set_profile."
            ) from error


def _key(name: str) -> str:
    return f"{PREFIX}{name}.json"


def _bound(indexes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if len(indexes) > MAX_INDEXES:
        raise InvalidInput(f"indexes: {len(indexes)} are over the limit of {MAX_INDEXES}.", fix="Bind fewer.")
    for alias, target in indexes.items():
        items.check_name(alias)
        items.at(target)
    return tuple(sorted(indexes.items()))


def _corpora(names: Sequence[str]) -> frozenset[str]:
    if len(names) > MAX_INDEXES:
        raise InvalidInput(f"corpora: {len(names)} are over the limit of {MAX_INDEXES}.", fix="Bind fewer.")
    return frozenset(map(items.check_name, names))


def _checked(defaults: Defaults) -> Defaults:
    if defaults.k is not None and defaults.k < 1:
        raise InvalidInput(f"defaults.k: it is {defaults.k}.", fix="Give at least 1.")
    return defaults
