"""Calls that end when nobody waits for them any more, and calls that tell how far they are."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Send

from lakehouse.errors import LakehouseError
from lakehouse.observe import Progress
from lakehouse.preview import compact

T = TypeVar("T")
EVENTS = "text/event-stream"
BEAT_SECS = 15  # between signs of life; proxies close what is silent for a minute


async def heeded(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work while the client is there. Raises ClientDisconnect when it goes first; the work is cancelled."""
    results: list[T] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            results.append(await work())
        except Exception as error:  # raised below: out of here it would come as a group of one
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise ClientDisconnect
    return results[0]


def wants_events(headers: Headers) -> bool:
    """Whether a client would rather have server-sent events than one JSON answer."""
    kinds = [part.partition(";")[0].strip().lower() for part in headers.get("accept", "").split(",")]
    return EVENTS in kinds and "application/json" not in kinds[: kinds.index(EVENTS)]


class Events:
    """An answer of server-sent events: any number of `progress`, then one `result` or `problem`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._turn = anyio.Lock()

    async def run(self, receive: Receive, work: Callable[[Progress], Awaitable[bytes]]) -> None:
        """Do the work and send what it reports and what comes of it. Raises ClientDisconnect."""
        headers = [(b"content-type", f"{EVENTS}; charset=utf-8".encode()), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

        async def done() -> bytes:
            async with anyio.create_task_group() as group:
                group.start_soon(self._beat)
                try:
                    event = _event("result", await work(self._progress))
                except LakehouseError as error:
                    event = _event("problem", compact(error.problem()))
                group.cancel_scope.cancel()
            return event

        await self._say(await heeded(receive, done), last=True)

    async def _progress(self, done: float, total: float | None, message: str) -> None:
        said: dict[str, Any] = {"done": done, "total": total, "message": message}
        await self._say(_event("progress", compact({k: v for k, v in said.items() if v is not None})))

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(BEAT_SECS)
            await self._say(b":\n\n")

    async def _say(self, text: bytes, *, last: bool = False) -> None:
        async with self._turn:
            await self._send({"type": "http.response.body", "body": text, "more_body": not last})


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
