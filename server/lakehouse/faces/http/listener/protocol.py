"""HTTP/1.1 on one connection: clients that are slow, broken or too many are told so and let go."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from lakehouse.errors import Busy, InvalidInput, LakehouseError
from lakehouse.faces.http.listener.together import Together
from lakehouse.faces.http.problem import problem

MAX_HEADER_BYTES = 64 * 1024
LINGER = 2.0  # seconds in which what a refused client still sends is taken, so that it reads why


class _TooSlow(InvalidInput):
    """The request did not arrive in time."""

    http = 408


class _HeadersTooLarge(InvalidInput):
    """Headers beyond any use."""

    http = 431


@dataclass(frozen=True)
class Patience:
    """Seconds a client may take over headers, and pause within a body or an answer; how many connections there may
    be."""

    header_secs: float
    body_secs: float
    connections: int


class Protocol(H11Protocol):
    """uvicorn's, with deadlines for what a client sends, and refusals that are problems."""

    def __init__(self, *, patience: Patience, **given: Any) -> None:
        super().__init__(**given)
        self._patience = patience
        self._due = ""  # what the deadline is for: headers, body, or nothing
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._unread: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new client."""
        self._together = Together(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._together))
        if len(self.connections) > self._patience.connections:
            self._refuse(Busy("too many connections are open.", fix="Close some, or come back."))
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went, or we did."""
        self._rest()
        self._taken()
        self._unset_keepalive_if_required()  # else an error leaves it running, and with it this whole connection
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._refused:
            return
        self._heard = self.loop.time()
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._patience.body_secs, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        self._taken()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """An answer is sent; the next request may have begun to come in meanwhile."""
        self._together.flush()
        super().on_response_complete()
        if not self.transport.is_closing():
            self._watch()

    def shutdown(self) -> None:
        """The server stops."""
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        if len(self.conn.trailing_data[0]) > MAX_HEADER_BYTES:
            limit = f"the headers are larger than {MAX_HEADER_BYTES:,} bytes."
            self._refuse(_HeadersTooLarge(limit, fix="Send less in them."))
        else:
            self._refuse(InvalidInput("the request is not HTTP/1.1.", fix="Use an HTTP client."))

    def _watch(self) -> None:
        """Keep a deadline while a request is on its way in, and none otherwise."""
        state, due = self.conn.their_state, ""
        if state is h11.SEND_BODY:
            due = "body"
        elif state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0]):
            due = "headers"
        if due == self._due:
            return
        self._rest()
        self._due = due
        if due == "body":
            self._timer = self.loop.call_later(self._patience.body_secs, self._look)
        elif due == "headers":
            self._timer = self.loop.call_later(self._patience.header_secs, self._late, "headers")

    def _rest(self) -> None:
        self._due = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _taken(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look(self) -> None:
        """Whether the body still comes; while we do not read, it is not the client who is late."""
        waited = 0.0 if self.flow.read_paused else self.loop.time() - self._heard
        if waited >= self._patience.body_secs:
            self._late("body")
        else:
            self._timer = self.loop.call_later(self._patience.body_secs - waited, self._look)

    def _late(self, part: str) -> None:
        self._refuse(_TooSlow(f"the {part} of the request did not arrive in time.", fix="Send it again."))

    def _refuse(self, error: LakehouseError) -> None:
        self._rest()
        self._unset_keepalive_if_required()
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = problem(error)
            headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER, self.transport.close)
