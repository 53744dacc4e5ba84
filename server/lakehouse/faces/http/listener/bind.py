"""Where a server listens: nobody else's machine reaches it by accident."""

import errno
import os
import socket
from collections.abc import Mapping
from ipaddress import ip_address

from lakehouse.config import Config
from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, Unavailable

ALLOW = "LH_ALLOW_NON_LOOPBACK"
BACKLOG = 2048
Place = tuple[socket.AddressFamily, tuple[str, int]]


def listening(config: Config, environ: Mapping[str, str] | None = None) -> list[socket.socket]:
    """Sockets that listen at every address of `server.bind`; port 0 is any free one, the same at each.

    Raises Forbidden for a place other machines reach unless a token is set and LH_ALLOW_NON_LOOPBACK=1 says that it
    is meant, InvalidInput for no place of this machine, and Unavailable when the port is taken.
    """
    bind = config.server.bind
    host, _, port = bind.rpartition(":")
    if int(port) > 65535:
        raise InvalidInput(f"server.bind: {port} is no port.", fix="Ports go up to 65535.")
    places = _places(host.strip("[]"), int(port), bind)
    if not all(_loopback(place[0]) for _, place in places):
        _check_open(bind, config.auth.needed, (os.environ if environ is None else environ).get(ALLOW) == "1")
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, place in places:
            known = sockets[0].getsockname()[1] if sockets else place[1]
            try:
                sockets.append(_bound(family, (place[0], known, *place[2:])))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise _explained(error, bind) from None
                absent = error  # localhost may name an address of a family that this machine has not
        if absent is not None and not sockets:
            raise _explained(absent, bind)
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def address(sockets: list[socket.socket], bind: str) -> str:
    """The URL that reaches them."""
    host = bind.rpartition(":")[0].strip("[]") or "0.0.0.0"
    return f"http://{f'[{host}]' if ':' in host else host}:{sockets[0].getsockname()[1]}"


def _places(host: str, port: int, bind: str) -> list[Place]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise InvalidInput(
            f"server.bind: {bind} is no place to listen at: {error}.", fix="Write host:port, as 127.0.0.1:3110."
        ) from None
    places: list[Place] = [(info[0], info[4]) for info in found]  # type: ignore[misc]
    return list(dict.fromkeys(places))


def _loopback(host: str) -> bool:
    read = ip_address(host.partition("%")[0])
    return (getattr(read, "ipv4_mapped", None) or read).is_loopback


def _check_open(bind: str, guarded: bool, meant: bool) -> None:
    risks = "risks R-001 (anybody may use it) and R-007 (an open address)"
    if not guarded:
        raise Forbidden(
            f"{bind} is open to other machines and no token is set: {risks}.",
            fix=f"Listen at 127.0.0.1, or set auth.token (LAKEHOUSE_AUTH__TOKEN) and {ALLOW}=1.",
        )
    if not meant:
        raise Forbidden(
            f"{bind} is open to other machines: {risks} are on you.",
            fix=f"Listen at 127.0.0.1, or set {ALLOW}=1 when that is meant.",
        )


def _bound(family: socket.AddressFamily, place: tuple[str | int, ...]) -> socket.socket:
    # Only of a socket that says it is TCP does asyncio turn Nagle's algorithm off; with it each answer takes 44 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it lets two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _explained(error: OSError, bind: str) -> LakehouseError:
    host, _, port = bind.rpartition(":")
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"port {port} of {host or 'this machine'} is taken.",
            fix="Stop what listens there, or choose another with --port.",
        )
    if error.errno == errno.EACCES:
        return Forbidden(f"port {port} needs more rights than this user has.", fix="Choose one from 1024 on.")
    return InvalidInput(f"server.bind: {bind}: {error.strerror}.", fix="Listen at an address of this machine.")
