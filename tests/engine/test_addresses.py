"""Which addresses may be reached, whatever way they are written."""

import ipaddress
import socket
from typing import Any

import pytest

from lakehouse.engine.addresses import checked, public
from lakehouse.errors import Forbidden, Upstream

INTERNAL = (
    "127.0.0.1 127.8.9.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 255.255.255.255 224.0.0.1 "
    "240.0.0.1 192.0.2.1 198.18.0.1 ::1 :: fe80::1 fe80::1%1 fc00::1 ff02::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 "
    "64:ff9b::a00:1 64:ff9b:1::1 2002:a00:1:: 2002:7f00:1:: ::7f00:1 2001:db8::1 2001:0:a00:1::"
).split()
PUBLIC = "8.8.8.8 1.1.1.1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808".split()


def answering(patch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have the resolver say these."""

    def resolved(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    patch.setattr(socket, "getaddrinfo", resolved)


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As IPv6, mapped, of 6to4, Teredo or NAT64; and when only one of a host's addresses is one."""
    answering(monkeypatch, "8.8.8.8", address)
    with pytest.raises(Forbidden, match=r"internal") as raised:
        checked("host.test", 443, (), "url")
    assert "ingest.internal_networks" in raised.value.fix


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, address, address)
    assert checked("host.test", 443, (), "url") == [address]


def test_networks_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "10.1.2.3", "::ffff:10.1.2.4")
    assert len(checked("host.test", 443, ("10.1.0.0/16",), "url")) == 2
    with pytest.raises(Forbidden):
        checked("host.test", 443, ("10.2.0.0/16", "fc00::/7"), "url")


def test_a_name_that_is_not_there() -> None:
    for host in ("nobody.invalid", "x" * 300, "a..b"):
        with pytest.raises(Upstream, match="url"):
            checked(host, 443, (), "url")


def test_every_address_written_as_a_number_is_the_resolvers(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.1 and 2130706433 are 127.0.0.1 to it: what it answers is checked, never the text."""
    for host in ("127.1", "2130706433", "0x7f.1", "localhost"):
        with pytest.raises((Forbidden, Upstream)):
            checked(host, 80, (), "url")
    assert not public(ipaddress.ip_address("127.0.0.1"))
