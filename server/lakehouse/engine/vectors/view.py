"""The vector indexes as a caller bound to a profile has them: its own, by the names it has for them.

Items are added, replaced and deleted; an index the profile names is created and built again. What would take an index
or its past away from everybody else who is bound to it is refused.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakehouse.engine.vectors.items import Distance, IndexInfo, IndexNotFound, Swapped, at
from lakehouse.engine.vectors.store import Vectors
from lakehouse.errors import Conflict, Forbidden, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.vectors.format import Manifest
    from lakehouse.engine.vectors.index import Index
    from lakehouse.engine.vectors.rebuild import Rebuild
    from lakehouse.engine.vectors.replacement import Replacement

Names = list[str]


class View(Vectors):
    """The Vectors of a profile. What it does not name is not there: IndexNotFound."""

    bound = True

    def __init__(self, whole: Vectors, profile: "Profile") -> None:
        self._whole = whole
        self._profile = profile
        self._targets = profile.targets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)  # what is kept about open indexes is kept once

    @property
    def problems(self) -> dict[str, str]:
        """Those of the profile's indexes."""
        known = self._whole.problems
        bases = {name: at(target)[0] for name, target in self._targets.items()}
        return {name: known[base] for name, base in bases.items() if base in known}

    async def names(self) -> Names:
        """The profile's names for indexes that are there."""
        there = set(await self._whole.names())
        return sorted(name for name, target in self._targets.items() if at(target)[0] in there)

    async def get(self, name: str) -> IndexInfo:
        """As Vectors.get. A name for one generation says nothing of the others."""
        info = await super().get(name)
        pinned = at(self._targets[at(name)[0]])[1] is not None
        return replace(info, generations=()) if pinned else info

    async def create(self, name: str, dimension: int, distance: Distance = "cosine", **more: Any) -> IndexInfo:
        """As Vectors.create, for a name that the profile has."""
        await self._whole.create(await self._changing(name), dimension, distance, **more)
        return await self.get(name)

    async def replacement(self, name: str, dimension: int, model: str | None = None) -> "Replacement":
        """As Vectors.replacement, for a name that the profile has."""
        return await self._whole.replacement(await self._changing(name), dimension, model)

    async def rebuild(self, name: str) -> "Rebuild":
        """As Vectors.rebuild."""
        return await self._whole.rebuild(await self._changing(name))

    async def delete(self, name: str) -> None:
        """Raises Forbidden."""
        raise self._everybodys()

    async def swap(self, name: str, generation: int, *, force: bool = False) -> Swapped:
        """Raises Forbidden."""
        raise self._everybodys()

    async def rollback(self, name: str) -> Swapped:
        """Raises Forbidden."""
        raise self._everybodys()

    async def snapshot(self, name: str) -> Swapped:
        """Raises Forbidden."""
        raise self._everybodys()

    async def verify(self, name: str) -> Names:
        """Raises Forbidden."""
        raise self._everybodys()

    async def refresh(self) -> None:
        """As Vectors.refresh."""
        await self._whole.refresh()

    async def _index(self, name: str) -> "Index":
        return await self._whole._index(await self._changing(name))

    async def _found(self, name: str) -> "tuple[Index, int | None]":
        base, number = at(name)
        target, pinned = at(await self._target(base))
        if number is not None and pinned not in (None, number):
            raise IndexNotFound(f"{base} is pinned to a generation.", fix=f"Ask for {base}.")
        return await self._whole._index(target), number if pinned is None else pinned

    async def _standing(self, name: str) -> "Manifest | None":
        base, number = at(self._targets[name])
        manifest = await self._whole._standing(base)
        if manifest is None or number in (None, manifest.build):
            return manifest
        build = next((each for each in manifest.retained if each.number == number), None)
        if build is None:
            return None
        return replace(manifest, build=build.number, builder=build.builder, swapped=build.swapped)

    async def _changing(self, name: str) -> str:
        base, number = at(name)
        target = await self._target(base)
        if number is not None or "@" in target:
            raise Conflict(
                f"{name} is a generation that is kept, and never changes.",
                fix="Bind the name to the index itself with set_profile, or change another.",
            )
        return target

    async def _target(self, name: str) -> str:
        found = self._targets.get(name)
        if found is None:
            raise await self._missing(name)
        return found

    async def _missing(self, name: str) -> IndexNotFound:
        names = sorted(set(self._targets) - {name})
        none = None if names else "It names none: bind some with set_profile."
        return IndexNotFound(
            f"profile {self._profile.name!r} has no index {name[:100]!r}.", fix=did_you_mean(name, names, none)
        )

    def _everybodys(self) -> Forbidden:
        return Forbidden(
            f"profile {self._profile.name!r} does not reach this: the index may be others' too.",
            fix="Use a caller that is bound to no profile.",
        )
