"""Where requests come from: the peer, or whom a trusted proxy names, held against lists of networks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lakehouse.config import Auth
from lakehouse.errors import Forbidden
from lakehouse.observe import log

Address = IPv4Address | IPv6Address
_MAPPED = IPv6Network("::ffff:0:0/96")
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([\d.]+):\d+")


class Networks:
    """Networks in CIDR notation; a bare address is itself alone. What is no network is logged and left out."""

    def __init__(self, entries: Sequence[str], setting: str) -> None:
        self.given = bool(entries)
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            try:
                self._networks.append(_network(entry))
            except ValueError:
                log.warning("http.network_ignored %s: %.60r is no address and no network", setting, entry)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


@dataclass(frozen=True)
class Source:
    """Where a request comes from. `remote` is anywhere but this machine, or not known to be here."""

    address: Address | None
    remote: bool


class Addresses:
    """Who may connect, as `auth.allowed_ips` says, and whom to believe about it, as `auth.trusted_proxies` says."""

    def __init__(self, settings: Auth) -> None:
        # Entries that are all wrong must not become "no list": `given` stays true and nobody is in it.
        self._allowed = Networks(settings.allowed_ips, "auth.allowed_ips")
        self._proxies = Networks(settings.trusted_proxies, "auth.trusted_proxies")
        self._known = lru_cache(1024)(self._source)

    def source(self, peer: str | None, forwarded: bytes | None) -> Source:
        """Where a request of this peer (None: a socket of this machine) comes from.

        `forwarded` is its X-Forwarded-For. Raises Forbidden for an address that is not on the list.
        """
        source = self._known(peer, forwarded)
        if self._allowed.given and source.address not in self._allowed:
            raise Forbidden(
                f"{source.address or 'an unknown address'} may not connect.",
                fix="Add the address to auth.allowed_ips on the server.",
            )
        return source

    def _source(self, peer: str | None, forwarded: bytes | None) -> Source:
        address = None if peer is None else read_address(peer)
        if peer is None:
            return Source(None, forwarded is not None)
        if forwarded is None:
            return Source(address, address is None or not address.is_loopback)
        if address not in self._proxies:
            # Somebody's proxy, on this machine perhaps: the caller is not, whatever the header says.
            return Source(address, True)
        for hop in reversed(forwarded.decode("latin-1").split(",")):
            address = read_address(hop.strip())
            if address not in self._proxies:
                break
        return Source(address, address is None or not address.is_loopback)


def read_address(text: str) -> Address | None:
    """An address with or without a port; IPv4 inside IPv6 as IPv4. None when it is no address."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found[1] or found[2]) if found else text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(entry: str) -> IPv4Network | IPv6Network:
    network = ip_network(entry.strip(), strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network
