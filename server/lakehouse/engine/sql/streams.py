"""In the parent: reads for query processes the parts of files that are too large to be copied here."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from lakehouse.engine.bucket import KeyNotFound, NoRanges
from lakehouse.engine.child import Child
from lakehouse.engine.datasets.failures import lost
from lakehouse.engine.sql.remote import PREFIX
from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest

_AT_ONCE = 8
_MAX_BYTES = 8 * 2**20  # of one range

Ask = Callable[[Mapping[str, Any]], None]


class Streams:
    """Ranges of the files of some views. `ranges` and `bytes` count what was read."""

    def __init__(self, datasets: "Datasets") -> None:
        self.ranges = self.bytes = 0
        self._datasets = datasets

    def names(self, manifest: "Manifest") -> list[str]:
        """What query processes call the files of a version."""
        return [f"{PREFIX}{file.sha256}.parquet" for file in manifest.objects]

    def places(self, manifest: "Manifest") -> dict[str, list[Any]]:
        """The bucket, key and size behind each name; nothing where the files are copied as a whole.

        That is so unless they are larger than all copies together may be, and their service sends parts.
        """
        if not self._datasets.streams(manifest):
            return {}
        files = zip(self.names(manifest), manifest.objects, strict=True)
        return {name: [manifest.bucket, file.key, file.size_bytes] for name, file in files}

    @asynccontextmanager
    async def answering(self, child: Child, views: Sequence[Mapping[str, Any]]) -> AsyncIterator[Ask]:
        """Answer a process' questions for ranges of the files of these views, several at a time, within the block.

        An answer that cannot be given ends the block with its error.
        """
        places = {name: [*place, view["name"]] for view in views for name, place in view.get("streams", {}).items()}
        if not places:
            yield _refused
            return
        failed: list[Exception] = []
        sending, room = anyio.Lock(fast_acquire=True), anyio.Semaphore(_AT_ONCE, fast_acquire=True)

        async def answer(asked: Mapping[str, Any]) -> None:
            try:
                async with room:
                    data = await self._read(places, asked)
                async with sending:
                    await child.send({"range": asked["range"]}, data)
            except Exception as error:  # raised again below, by itself
                failed.append(error)
                group.cancel_scope.cancel()

        def ask(asked: Mapping[str, Any]) -> None:
            group.start_soon(answer, asked)

        async with anyio.create_task_group() as group:
            try:
                yield ask
            except Exception as error:  # of the block: raised again below, in no group
                failed.append(error)
            group.cancel_scope.cancel()
        if failed:
            raise failed[0]

    async def _read(self, places: Mapping[str, Sequence[Any]], asked: Mapping[str, Any]) -> bytes:
        place = places.get(asked["file"])
        start, end = asked["start"], asked["end"]
        if place is None or not 0 <= start < end <= place[2] or end - start > _MAX_BYTES:
            return _refused(asked)
        bucket, key, _, dataset = place
        try:
            data = await self._datasets.read_range(bucket, key, start, end)
        except KeyNotFound as missing:
            raise lost(missing.detail) from missing
        except NoRanges as whole:  # its bucket has noted it: next time the files are copied
            raise NoRanges(whole.detail, fix=whole.fix, data={"damaged": dataset}) from whole
        if len(data) != end - start:
            raise lost(f"the data file {key!r} is shorter than the catalog recorded.")
        self.ranges += 1
        self.bytes += len(data)
        return data


def _refused(asked: Mapping[str, Any]) -> NoReturn:
    raise LakehouseError("a query process asked for what is not its own.", data={"file": str(asked["file"])[:200]})
