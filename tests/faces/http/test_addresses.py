"""Where requests come from, and who may connect."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.faces.http.guard.addresses import Addresses, read_address


def test_an_invalid_network_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A-S39-1: dropped, not fatal."""
    addresses = Addresses(config.Auth(allowed_ips=("nowhere", "10.0.0.0/8")))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith("http.network_ignored auth.allowed_ips: 'nowhere'")
    assert addresses.source("10.1.2.3", None).remote


@pytest.mark.parametrize(
    ("peer", "read"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:443", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("[::ffff:10.1.2.3]:443", "10.1.2.3"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("testclient", None),
        ("", None),
        ("10.1.2.3:x", None),
    ],
)
def test_shapes_of_a_peer(peer: str, read: str | None) -> None:
    """A-S39-1: with and without a port, IPv4 inside IPv6."""
    assert (str(found) if (found := read_address(peer)) else None) == read


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    read_address(text)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address", "remote"),
    [
        ("127.0.0.1", None, "127.0.0.1", False),
        ("::1", None, "::1", False),
        (None, None, None, False),
        ("8.8.8.8", None, "8.8.8.8", True),
        ("8.8.8.8", b"127.0.0.1", "8.8.8.8", True),
        ("127.0.0.1", b"127.0.0.1", "127.0.0.1", True),
        ("10.0.0.1", b"8.8.8.8", "8.8.8.8", True),
        ("10.0.0.1", b"127.0.0.1", "127.0.0.1", False),
        ("10.0.0.1", b"127.0.0.1, 8.8.8.8, 10.0.0.2", "8.8.8.8", True),
        ("10.0.0.1", b"8.8.8.8:99", "8.8.8.8", True),
        ("10.0.0.1", b"", None, True),
        ("10.0.0.1", b"8.8.8.8, unknown", None, True),
        ("10.0.0.1", None, "10.0.0.1", True),
        ("x", None, None, True),
    ],
)
def test_who_is_remote(peer: str | None, forwarded: bytes | None, address: str | None, remote: bool) -> None:
    """X-Forwarded-For is believed of a trusted proxy; of anybody else it only shows that somebody is behind."""
    source = Addresses(config.Auth(trusted_proxies=("10.0.0.0/24",))).source(peer, forwarded)
    assert (str(source.address) if source.address else None, source.remote) == (address, remote)
