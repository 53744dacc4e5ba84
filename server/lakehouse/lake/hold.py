"""The hold on a data directory: owned by this process, or attached to the one that owns it."""

import asyncio
import copy
import hashlib
import os
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread

from lakehouse import attach, config
from lakehouse.errors import Busy, Conflict, Unavailable
from lakehouse.lake.parts import Parts
from lakehouse.observe import Progress, log

OWNER_WAIT_SECS = 10.0  # how long a process that holds the data directory may take to say where it answers

LOOK_SECS = 1.0  # between looks at whether the data directory is still the one that was taken


class Hold(Parts):
    """Parts that know whether this process may use them: the first process on a data directory owns it."""

    def __init__(self, settings: config.Settings) -> None:
        from lakehouse.engine.owner import Owner

        super().__init__(settings)
        self.grace = settings.config.server.drain_secs  # seconds that others' running calls get when this one closes
        self._starting = anyio.Lock()
        self._owner = Owner(self.home)
        self._attachment: attach.Attachment | None = None
        self._reception: attach.Reception | None = None
        self._refused: tuple[float, Busy] | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._lost = False
        self._owns = False
        self._started = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Attach to the process that owns the data directory, or own it, unless that is done already.

        Raises Busy naming the process that holds it when that one does not answer, Conflict when that one keeps its
        objects elsewhere, and Unavailable when the directory cannot be used or was taken away, or the lake is closed.
        """
        if self._started:
            return
        asked = time.monotonic()
        async with self._starting:
            self._check_open()
            if self._started:
                return
            if self._refused is not None and self._refused[0] > asked:
                raise copy.copy(self._refused[1])  # who came meanwhile has waited as long
            try:
                await self._own_or_attach()
            except Busy as refused:
                self._refused = time.monotonic(), refused
                raise
            self._started = True

    async def _own_or_attach(self) -> None:
        # An owner that is told to stop answers nobody new while it finishes what runs.
        deadline = time.monotonic() + OWNER_WAIT_SECS + self.config.server.drain_secs
        await anyio.to_thread.run_sync(lambda: self.redactor)  # it may read a file
        while not self._owns:
            problem = await self._attached(self._usual_address)
            if self._attachment is not None:
                return
            try:
                await self._owner.acquire(self._command)
            except Busy as held:
                holder = await self._owner.holder()
                if holder is not None and not problem:
                    problem = await self._told(holder)
                    if self._attachment is not None:
                        return
                if problem or time.monotonic() > deadline:
                    raise await self._owner.busy(problem) from held
                await anyio.sleep(0.05)  # it is starting, or ending, or it has just gone
                self._check_open()
                continue
            self._owns, self.attached_to = True, ""
            await self._hold_template()
        await self.everything.storage.sweep()
        await self.everything.results.sweep()
        await Parts.observer.of(self).start()
        self.later(self._resume)
        if self.config.workflows.triggers and not self.brief:
            self.later(self._fire)
        with anyio.CancelScope(shield=True):
            await self._receive()
            self._looking = asyncio.create_task(self._look(), context=Context())

    async def _fire(self) -> None:
        """Start workflows by their triggers, as long as the data directory is ours."""
        await (await self._triggered()).watch(lambda: not (self._lost or self._closed))

    async def _hold_template(self) -> None:
        from lakehouse.engine.template import TEMPLATE

        await anyio.to_thread.run_sync(TEMPLATE.hold)
        self._closing.push_async_callback(anyio.to_thread.run_sync, TEMPLATE.release)

    async def _told(self, holder: dict[str, Any]) -> str:
        """Attach at the address that the owner's note gives; else why that will never do, or nothing."""
        if not holder["here"]:
            return "it runs on another machine"
        if holder["address"] is None:
            return "it answers no other process"
        return await self._attached(holder["address"]) if holder["address"] != self._usual_address else ""

    async def _attached(self, address: str) -> str:
        """Attach to whoever answers there; else why that will not do, or nothing when nobody is there."""
        if not address:
            return ""
        try:
            attachment = await attach.connect(address, self._place)
        except attach.Apart as apart:
            raise Conflict(
                f"{apart.owner} owns the data directory and keeps its objects elsewhere than storage.url says here.",
                fix="Give both the same storage.url and storage.endpoint, best in the data directory's lakehouse.toml; "
                "or give this one another data directory with --home.",
            ) from None
        except attach.Silent:
            return "it does not answer"
        except attach.Foreign:
            return "it is of another version of Lakehouse"
        if attachment is not None:
            self._attachment, self.attached_to = attachment, attachment.owner
        return ""

    @property
    def _usual_address(self) -> str:
        """Where nearly every owner answers: no lock and no note need be looked at first."""
        path = self.home / attach.SOCKET
        return f"unix:{path}" if attach.reachable(path) else ""

    @property
    def _place(self) -> str:
        """Where these settings keep the objects, without saying it."""
        storage = self.config.storage
        place = f"{(storage.url or (self.home / 'objects').as_uri()).rstrip('/')} {storage.endpoint}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    @property
    def _command(self) -> str:
        return self.redactor.text(" ".join(sys.argv), 200)

    async def _receive(self) -> None:
        """Answer other processes. Where no socket can be had, they are told who holds the data directory."""
        if self._reception is not None:
            return
        about = {"pid": os.getpid(), "command": self._command, "place": self._place}
        reception = attach.Reception(self.home, self._received, about, self.redactor.whole)
        address: str | None = None
        try:
            address = await reception.open()
            self._reception = reception
        except OSError as error:
            log.warning("attach.closed no other process can attach to this one: %s", error.strerror)
        await self._owner.tell(address)

    async def _look(self) -> None:
        """Answer nobody any more once the data directory is not ours; answer again where the socket was removed."""
        while True:
            await anyio.sleep(LOOK_SECS)
            if not await self._owner.holds():
                break
            if self._reception is not None:
                try:
                    await self._reception.renew()
                except OSError as error:
                    log.warning("attach.closed no other process can attach to this one: %s", error.strerror)
        log.error("hold.lost %s was removed, moved or replaced; nothing is done there any more", self.home)
        self._lost, self._started = True, False
        if self._reception is not None:
            await self._reception.aclose(0)

    async def aclose(self) -> None:
        """Close the parts, last opened first, and give the data directory up. No call runs afterwards.

        Calls of attached processes get `grace` seconds to end.
        """
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._starting:
                pass  # what is under way would take the data directory when nobody gives it up any more
            if self._looking is not None:
                self._looking.cancel()
                await asyncio.wait([self._looking])
            reception, self._reception = self._reception, None
            attachment, self._attachment = self._attachment, None
            if reception is not None:
                await reception.aclose(self.grace)
            if attachment is not None:
                self._started = False
                await attachment.aclose()
            await self._end_aside()
            try:
                await self._closing.aclose()
            finally:
                await self._owner.release()
        self._started = False

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("this lake is closed.", fix="Open it again.")
        if self._lost:
            raise Unavailable(
                "the data directory was removed, moved or replaced while this process held it.",
                fix="Put it back if it was moved, then start this process again.",
            )

    def _let_go(self, attachment: attach.Attachment) -> None:
        """The owner is gone: the next start takes over, or attaches to whoever was faster."""
        if self._attachment is attachment:
            self._attachment, self._started = None, False
            attachment.retire()

    def later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start work beside the calls, which is cancelled when the lake closes; False when it is closed already."""
        if self._closed:
            return False
        # A task of its own, ended in `aclose`: a task group around the open lake would tie it to the task that opened
        # it, and wrap what its block raises.
        task = asyncio.create_task(work(), context=Context())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
        return True

    async def _end_aside(self) -> None:
        for task in self._aside:
            task.cancel()
        if self._aside:
            await asyncio.wait(list(self._aside))

    @abstractmethod
    async def _received(self, request: attach.Asked, progress: Progress) -> tuple[Any, bytes]:
        """A call of an attached process."""
