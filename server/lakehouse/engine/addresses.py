"""Which addresses of the network a caller may have the server talk to: public ones, and those its settings allow."""

import ipaddress
import socket
from collections.abc import Sequence

from lakehouse.errors import Forbidden, Upstream

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def checked(host: str, port: int, internal: Sequence[str], what: str) -> list[str]:
    """The addresses of a host, all of which may be talked to; blocking, it asks the resolver.

    `internal` are networks that are allowed beside the public addresses. Whoever connects must connect to one of the
    answer: asked again, the resolver may say another. `what` is the argument that named the host.

    Raises Forbidden when one address is neither public nor allowed, Upstream when the name has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Upstream(f"{what}: the host cannot be resolved.", fix="Check its spelling, and the network.") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    allowed = [ipaddress.ip_network(network) for network in internal]
    for text in addresses:
        meant = _meant(ipaddress.ip_address(text.partition("%")[0]))
        if not all(public(each) or any(each in network for network in allowed) for each in meant):
            raise Forbidden(
                f"{what}: the host is an internal address, and those may not be reached from here.",
                fix="Add its network to ingest.internal_networks, or name a public host.",
            )
    return addresses


def public(address: _Address) -> bool:
    """Whether an address is anybody's on the internet, and not this machine, its networks, or many at once."""
    return address.is_global and not address.is_multicast and not address.is_reserved


def _meant(address: _Address) -> list[_Address]:
    """The addresses that packets sent to this one may end at: of some IPv6 ones, an IPv4 one inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address, *(each for each in (address.sixtofour, *(address.teredo or ())) if each)]
