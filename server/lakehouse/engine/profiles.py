"""Profiles: what a reader is bound to, so that everything else is as if it were not there."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from lakehouse.engine.bucket import KeyNotFound
from lakehouse.errors import NotFound

if TYPE_CHECKING:
    from lakehouse.engine.storage import Storage

PREFIX = "_profiles/"


@dataclass(frozen=True)
class Profile:
    """A reader's binding: the datasets of one bucket, or some of them (None: all)."""

    name: str
    bucket: str
    datasets: frozenset[str] | None = None

    def sees(self, dataset: str) -> bool:
        """Whether a dataset of the bucket is one of the reader's."""
        return self.datasets is None or dataset in self.datasets


class Profiles:
    """The profiles there are, each an object of the primary bucket."""

    def __init__(self, storage: "Storage") -> None:
        self._bucket = storage.bucket

    async def get(self, name: str) -> Profile:
        """A profile by name. Raises NotFound."""
        try:
            found = json.loads(await self._bucket.get(f"{PREFIX}{quote(name, safe='')}.json"))
        except KeyNotFound:
            raise NotFound(f"there is no profile {name!r}.", fix="See list_profiles.") from None
        names = found.get("datasets")
        return Profile(found["name"], found["bucket"], None if names is None else frozenset(names))
