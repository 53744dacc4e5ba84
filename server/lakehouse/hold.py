"""The hold on a data directory: owned by this process, or attached to the one that owns it."""

import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from lakehouse import attach, config
from lakehouse.errors import Busy, Unavailable
from lakehouse.observe import Progress
from lakehouse.parts import Parts

OWNER_WAIT_SECS = 10  # how long a process that holds the data directory may take to say where it answers


class Hold(Parts):
    """Parts that know whether this process may use them: the first process on a data directory owns it."""

    def __init__(self, settings: config.Settings) -> None:
        super().__init__(settings)
        self._starting = anyio.Lock()
        self._group: TaskGroup | None = None
        self._attachment: attach.Attachment | None = None
        self._reception: attach.Reception | None = None
        self._owns = False
        self._started = False
        self._closed = False

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        try:
            await self.aclose()
        finally:
            group.cancel_scope.cancel()
            # The block's own error is not the group's: it leaves as it is, in no exception group.
            await group.__aexit__(None, None, None)

    async def start(self) -> None:
        """Own the data directory, or attach to the process that does, unless that is done already.

        Raises Busy naming the process that holds it when that one does not answer, and Unavailable when the directory
        cannot be used or the lake is closed.
        """
        if self._started:
            return
        async with self._starting:
            if self._closed:
                raise Unavailable("this lake is closed.", fix="Open it again.")
            if not self._started:
                await self._own_or_attach()
                self._started = True

    async def _own_or_attach(self) -> None:
        from lakehouse.engine.owner import Owner

        await anyio.to_thread.run_sync(lambda: self._redactor)  # it may read a file
        owner = Owner(self.home)
        deadline = time.monotonic() + OWNER_WAIT_SECS
        while not self._owns:
            try:
                await owner.acquire(self._redactor.text(" ".join(sys.argv), 200))
            except Busy as held:
                found = await owner.holder()
                if found is not None and found.get("address"):
                    attachment = await attach.connect(found["address"])
                    if attachment is not None:
                        self._attachment = attachment
                        self.attached_to = f"process {found['pid']} ({found['command']})"
                        return
                if time.monotonic() > deadline or (found and not found["here"]):
                    raise held from None
                await anyio.sleep(0.05)  # it is starting, or it has just gone
                continue
            self._closing.push_async_callback(owner.release)
            self._owns, self.attached_to = True, ""
        await self.storage.sweep()
        await self.results.sweep()
        await self.observer.start()
        if self._group is not None and self._reception is None:
            reception = attach.Reception(self._received)
            await owner.tell(await self._group.start(reception.serve, self.home))
            self._reception = reception

    async def aclose(self) -> None:
        """Close the parts, last opened first, and give the data directory up. No call runs afterwards."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            if self._reception is not None:
                await self._reception.aclose(self.config.server.drain_secs)
            if self._attachment is not None:
                await self._attachment.aclose()
            await self._closing.aclose()
        self._started = False

    def _later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        if self._group is None or self._closed:
            return False
        self._group.start_soon(work)
        return True

    async def _let_go(self, attachment: attach.Attachment) -> None:
        """The owner is gone: the next start takes over, or attaches to whoever was faster."""
        if self._attachment is attachment:
            self._attachment, self._started = None, False
            await attachment.aclose()

    @abstractmethod
    async def _received(self, request: attach.Asked, progress: Progress) -> tuple[Any, bytes]:
        """A call of an attached process."""
