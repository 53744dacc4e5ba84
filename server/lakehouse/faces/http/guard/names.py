"""The names a request may call this server by, and the web pages it may come from: no page reaches us by a new name
for our address (DNS rebinding)."""

import re
from collections.abc import Sequence
from functools import lru_cache

from lakehouse.errors import Forbidden

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
LOOPBACK_ORIGIN = r"(?i:https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?)"
_WILDCARDS = ("", "0.0.0.0", "[::]", "*")
_AUTHORITY = re.compile(r"(\[[0-9a-z:.%]+\]|[^\s:@/?#\[\]]+)(?::(\d{1,5})?)?")


class Misdirected(Forbidden):
    """The request calls the server by a name that is not its own."""

    http = 421


class Names:
    """`bind` is where the server listens; the rest are the settings of the same names."""

    def __init__(self, bind: str, allowed_hosts: Sequence[str], allowed_origins: Sequence[str]) -> None:
        self._any = "*" in allowed_hosts
        own = _host(bind.rpartition(":")[0].lower())
        names = {*LOOPBACK, *(name.lower() for name in allowed_hosts), *(() if own in _WILDCARDS else (own,))}
        self._names = frozenset(names)
        self._origins = frozenset(origin.lower() for origin in allowed_origins)
        # The same few come with every request.
        self._known_host = lru_cache(256)(self._allowed_host)
        self._known_origin = lru_cache(256)(self._allowed_origin)

    def check(self, host: bytes | None, origin: bytes | None) -> None:
        """Raises Misdirected for a Host that is not ours, and Forbidden for a page that may not call us."""
        if not self._known_host(host):
            said = "no Host header" if host is None else f"the Host {_shown(host)}, which is not this server's"
            raise Misdirected(
                f"the request has {said}.",
                fix="Call it by localhost or the address it listens at, or add the name to server.allowed_hosts.",
            )
        if origin is not None and not self._known_origin(origin, host):
            raise Forbidden(
                f"web pages of {_shown(origin)} may not call this server.",
                fix="Add the page's origin to server.allowed_origins.",
            )

    def _allowed_host(self, given: bytes | None) -> bool:
        if self._any:
            return True
        found = _AUTHORITY.fullmatch((given or b"").decode("latin-1").lower())
        return found is not None and (found[1] in self._names or f"{found[1]}:{found[2]}" in self._names)

    def _allowed_origin(self, given: bytes, host: bytes | None) -> bool:
        origin = given.decode("latin-1").lower()
        if origin in self._origins or re.fullmatch(LOOPBACK_ORIGIN, origin):
            return True
        own = (host or b"").decode("latin-1").lower()
        return origin in (f"http://{own}", f"https://{own}")  # a page of ours: the Host has been checked


def _host(name: str) -> str:
    """A host as it stands in a Host header: an IPv6 address in brackets."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _shown(header: bytes) -> str:
    return repr(header[:100].decode("latin-1"))
