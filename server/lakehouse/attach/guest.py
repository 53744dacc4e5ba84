"""The attached side: calls go to the owner of the data directory over its socket."""

import asyncio
import sys
from typing import Any

import anyio
from pydantic_core import from_json

from lakehouse.attach import wire
from lakehouse.attach.line import Ended, Line, Oversized
from lakehouse.observe import Progress
from lakehouse.transfer import Download

MAX_IDLE = 8  # connections kept for the next call
MAX_LINES = 64  # calls under way at once; more wait their turn, so that no guest takes all the owner can open
HELLO_SECS = 10.0  # an owner that takes longer to say hello does not run
QUIET_SECS = 10.0  # after so long without a word the owner is asked whether it is still there


class Gone(Exception):
    """The owner ended. `sent` says whether it may have begun what it was asked."""

    def __init__(self, sent: bool) -> None:
        super().__init__("the owner of the data directory is gone")
        self.sent = sent


class Silent(Exception):
    """Somebody listens and does not say hello."""


class Foreign(Exception):
    """The owner answers in another protocol: it runs another version."""


class Apart(Exception):
    """The owner keeps the objects in another place than the guest would."""

    def __init__(self, owner: str) -> None:
        super().__init__("the owner of the data directory has another bucket")
        self.owner = owner


class Attachment:
    """Connections to the owner, as many as there are calls at once. `place` is where it has to keep the objects."""

    def __init__(self, address: str, place: str | None) -> None:
        self._address, self._place = address, place
        self._idle: list[Line] = []
        self._busy: set[Line] = set()
        self._places = asyncio.Semaphore(MAX_LINES)
        self._retired = False
        self.owner = ""

    async def dial(self) -> None:
        """Open a connection for the next call.

        Raises OSError when nobody is there, Silent when nobody says hello, Foreign when somebody of another version
        does, Apart when the objects are elsewhere.
        """
        self._idle.append(await self._dialled())

    async def call(self, request: wire.Asked, progress: Progress) -> tuple[Any, bytes]:
        """Have the owner run a capability: its result, and that as JSON.

        Raises Gone when the owner ends, and what the capability raises.
        """
        text = wire.packed(request)
        async with self._places:
            try:
                line = self._free() or await self._dialled()
            except _NOT_THERE:
                raise Gone(sent=False) from None
            self._busy.add(line)
            done = False
            try:
                kind, payload = await self._asked(line, text, progress)
                done = True
            except Ended as end:
                raise Gone(sent=not end.unread) from None
            except Oversized:
                raise Gone(sent=True) from None
            finally:
                self._busy.discard(line)
                if done and len(self._idle) < MAX_IDLE and not self._retired:
                    self._idle.append(line)
                else:
                    line.abort()
        if kind == wire.GOING:
            raise Gone(sent=False)
        if kind == wire.PROBLEM:
            raise wire.raised(payload)
        if kind == wire.DOWNLOAD:
            return Download.model_validate_json(payload), b""
        return from_json(payload), payload

    def retire(self) -> None:
        """Take no more calls there; those that run may end."""
        self._retired = True
        idle, self._idle = self._idle, []
        for line in idle:
            line.abort()

    async def aclose(self) -> None:
        """End every connection, and with it the calls that run."""
        lines = [*self._idle, *self._busy]
        self.retire()
        for line in lines:
            line.abort()
            await line.closed()

    def _free(self) -> Line | None:
        while self._idle:
            line = self._idle.pop()
            if not line.over and not line.waiting:
                return line
            line.abort()
        return None

    async def _dialled(self) -> Line:
        loop = asyncio.get_running_loop()
        kind, _, rest = self._address.partition(":")
        port, _, secret = rest.partition(":")
        line = Line()
        try:
            with anyio.fail_after(HELLO_SECS):
                if kind == "tcp":
                    await loop.create_connection(lambda: line, "127.0.0.1", int(port))
                    await line.send(wire.SECRET, secret.encode())
                elif sys.platform != "win32":
                    await loop.create_unix_connection(lambda: line, rest)
                self._greeted(*await line.receive())
        except TimeoutError:
            line.abort()
            raise Silent from None
        except (Ended, Oversized):
            line.abort()
            raise ConnectionError("nobody says hello") from None
        except BaseException:
            line.abort()
            raise
        return line

    def _greeted(self, kind: bytes, payload: bytes) -> None:
        try:
            said = from_json(payload)
            self.owner = f"process {int(said['pid'])} ({str(said['command'])[:200]})"
            same = kind == wire.HELLO and said["protocol"] == wire.PROTOCOL
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise Foreign
        if self._place is not None and said.get("place", self._place) != self._place:
            raise Apart(self.owner)

    async def _asked(self, line: Line, text: bytes, progress: Progress) -> tuple[bytes, bytes]:
        await line.send(wire.ASK, text)
        begun = False
        while True:
            try:
                kind, payload = await self._heard(line)
            except Ended as end:
                raise Ended(end.unread and not begun) from None
            if kind != wire.PROGRESS:
                return kind, payload
            begun = True
            await progress(*from_json(payload))

    async def _heard(self, line: Line) -> tuple[bytes, bytes]:
        """The next frame, however long it takes: the owner's time limits rule, as long as the owner runs."""
        while True:
            with anyio.move_on_after(QUIET_SECS):
                return await line.receive()
            try:
                other = await self._dialled()
            except _NOT_THERE:
                raise Ended(unread=False) from None
            other.abort()


_NOT_THERE = (OSError, Silent, Foreign, Apart)


async def connect(address: str, place: str | None = None) -> Attachment | None:
    """Attach to the owner that answers at an address; None when nobody is there.

    Raises Silent when somebody is and says nothing, Foreign when that one runs another version, Apart when it does not
    keep the objects in `place`.
    """
    attachment = Attachment(address, place)
    try:
        await attachment.dial()
    except OSError:
        return None
    return attachment


async def answers(address: str) -> bool:
    """Whether the owner at an address answers processes like this one."""
    try:
        attachment = await connect(address)
    except (Silent, Foreign):
        return False
    if attachment is None:
        return False
    await attachment.aclose()
    return True
