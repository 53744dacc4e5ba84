"""The builds of an index that are kept beside the live one, as they are read. Load it in a worker thread."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse.engine.vectors import format, snapshot
from lakehouse.engine.vectors.format import Build
from lakehouse.engine.vectors.items import IndexDamaged, IndexNotFound
from lakehouse.engine.vectors.snapshot import State

if TYPE_CHECKING:
    from lakehouse.engine.vectors.index import Index


class Kept:
    """One index's kept builds: opened when they are asked for, and kept open as long as they are kept."""

    def __init__(self, index: "Index") -> None:
        self._index = index
        self._open: dict[int, tuple[Build, State]] = {}

    @property
    def states(self) -> Sequence[State]:
        """Those that are open."""
        return [state for _, state in self._open.values()]

    def clear(self) -> None:
        """Open them anew."""
        self._open.clear()

    async def state(self, number: int) -> State:
        """The build of this number; for the live one's, the newest snapshot.

        Raises IndexNotFound, and IndexDamaged naming the file.
        """
        index = self._index
        state = await index.state()
        if (build := _named(state, number)) is not None:
            try:
                return await self._opened(state, build)
            except IndexDamaged:  # or another process has cleared it away
                await index.refresh()
                state = await index.state()
                if _named(state, number) == build:
                    raise
        elif number != state.manifest.build:
            await index.refresh()  # another process may have made it
            state = await index.state()
        if number == state.manifest.build:
            return state
        if (build := _named(state, number)) is not None:
            return await self._opened(state, build)
        numbers = sorted({state.manifest.build, *(each.number for each in state.manifest.retained)})
        raise IndexNotFound(
            f"index {index.name!r} has no generation {number}.", fix=f"There are: {', '.join(map(str, numbers))}."
        )

    async def _opened(self, state: State, build: Build) -> State:
        found = self._open.get(build.number)
        if found is None or found[0] != build:
            manifest = replace(
                state.manifest,
                dimension=build.dimension,
                distance=build.distance,
                model=build.model,
                builder=build.builder,
                segments=build.segments,
                build=build.number,
                built=build.created,
                swapped=build.swapped,
            )
            sealed = await self._index.sealed(build.segments)
            found = build, await anyio.to_thread.run_sync(snapshot.empty, manifest, sealed)
            self._open[build.number] = found
            for number in [number for number in self._open if _named(state, number) is None]:
                del self._open[number]
        return sound(found[1])


def sound(state: State) -> State:
    """The state, unless a file of it turned out to be damaged: then raises IndexDamaged."""
    for sealed in state.sealed:
        if sealed.problem is not None:
            raise format.damaged(*sealed.problem.split(": ", 1))
    return state


def _named(state: State, number: int) -> Build | None:
    return next((build for build in state.manifest.retained if build.number == number), None)
