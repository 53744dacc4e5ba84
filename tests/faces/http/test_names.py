"""The names of a server and the pages that may call it."""

import pytest

from lakehouse import config
from lakehouse.errors import Forbidden, InvalidInput
from lakehouse.faces.http.guard.names import Misdirected, Names


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:3110", True),
        ("[::1]:3110", True),
        ("lake.example.com", True),
        ("lake.example.com:8443", True),
        ("other.example.com:8443", True),
        ("192.0.2.7:3110", True),
        ("other.example.com", False),
        ("other.example.com:1", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil@localhost", False),
        ("localhost:x", False),
        ("localhost:3110:3110", False),
        ("::1", False),
        ("", False),
        (None, False),
    ],
)
def test_names_of_this_server(host: str | None, ours: bool) -> None:
    names = Names("192.0.2.7:3110", ("lake.example.com", "Other.example.com:8443"), ())
    try:
        names.check(None if host is None else host.encode(), None)
        found = True
    except Misdirected as error:
        assert error.http == 421 and "server.allowed_hosts" in error.fix
        found = False
    assert found is ours


def test_any_name_and_the_addresses_bound() -> None:
    Names("127.0.0.1:0", ("*",), ()).check(b"anything.example", None)
    Names("127.0.0.1:0", ("*",), ()).check(None, None)
    Names("2001:db8::7:3110", (), ()).check(b"[2001:db8::7]:3110", None)
    Names("[2001:db8::7]:3110", (), ()).check(b"[2001:db8::7]", None)
    for bind in ("0.0.0.0:3110", ":3110", "[::]:3110"):  # all addresses: none of them is a name
        with pytest.raises(Misdirected):
            Names(bind, (), ()).check(b"0.0.0.0:3110", None)
        with pytest.raises(Misdirected):
            Names(bind, (), ()).check(b"[::]:3110", None)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:9", True),
        ("https://app.example.com", True),
        ("HTTPS://APP.example.com", True),
        ("https://lake.example.com:8443", True),
        ("http://app.example.com", False),
        ("https://app.example.com:444", False),
        ("https://app.example.com.evil.example", False),
        ("https://evil.example/localhost", False),
        ("http://localhost.evil.example", False),
        ("http://localhost@evil.example", False),
        ("https://lake.example.com", False),
        ("null", False),
        ("", False),
        ("chrome-extension://abc", False),
    ],
)
def test_pages_that_may_call(origin: str, allowed: bool) -> None:
    names = Names("127.0.0.1:3110", ("lake.example.com",), ("https://app.example.com",))
    host = b"lake.example.com:8443"
    if allowed:
        names.check(host, origin.encode())
        return
    with pytest.raises(Forbidden, match="may not call") as refusal:
        names.check(host, origin.encode())
    assert refusal.value.http == 403 and "server.allowed_origins" in refusal.value.fix


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("server.allowed_hosts", ["https://lake.example.com"]),
        ("server.allowed_hosts", ["lake.example.com/"]),
        ("server.allowed_origins", ["app.example.com"]),
        ("server.allowed_origins", ["https://app.example.com/"]),
        ("server.allowed_origins", ["*"]),
    ],
)
def test_names_and_pages_that_could_never_match_are_no_settings(setting: str, value: list[str]) -> None:
    with pytest.raises(InvalidInput, match=setting):
        config.read(overrides={setting: value})
