"""MCP sessions of the handshake era, as the requests and answers that pass by tell of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio


@dataclass
class _Session:
    running: int
    since: float  # when the last request ended


class Sessions:
    """Those of one server that are open. One with no request for `idle_secs` is over."""

    def __init__(self, idle_secs: float) -> None:
        self._idle_secs = idle_secs
        self._open: dict[bytes, _Session] = {}

    def __len__(self) -> int:
        now = anyio.current_time()
        over = [name for name, one in self._open.items() if not one.running and now - one.since > self._idle_secs]
        for name in over:
            del self._open[name]
        return len(self._open)

    def opened(self, name: bytes) -> None:
        """An answer names a session that may be new."""
        self._open.setdefault(name, _Session(0, anyio.current_time()))

    def ended(self, name: bytes) -> None:
        """The server knows it no more."""
        self._open.pop(name, None)

    @contextmanager
    def request(self, name: bytes | None) -> Iterator[None]:
        """A request of a session runs while the block does."""
        session = self._open.get(name) if name is not None else None
        if session is None:
            yield
            return
        session.running += 1
        try:
            yield
        finally:
            session.running -= 1
            session.since = anyio.current_time()
