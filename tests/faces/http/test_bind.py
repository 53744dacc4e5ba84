"""Where a server may listen."""

import socket

import pytest

from lakehouse import config
from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, Unavailable
from lakehouse.faces.http.listener.bind import address, listening

OPEN = {"LH_ALLOW_NON_LOOPBACK": "1"}


def bound(bind: str, environ: dict[str, str] | None = None, token: str = "") -> str:
    settings = config.Config(server=config.Server(bind=bind), auth=config.Auth(token=token))
    sockets = listening(settings, environ or {})
    try:
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        return address(sockets, bind)
    finally:
        for opened in sockets:
            opened.close()


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", ":0"])
def test_a_place_others_reach_needs_a_token_and_a_yes(bind: str) -> None:
    """A-S39-3: no token refuses, token alone refuses, both are allowed; the text names both risks."""
    for environ, token in (({}, ""), (OPEN, ""), ({}, "secret-token"), ({"LH_ALLOW_NON_LOOPBACK": "true"}, "secret")):
        with pytest.raises(Forbidden) as refusal:
            bound(bind, environ, token)
        assert "R-001" in str(refusal.value) and "R-007" in str(refusal.value)
        assert "LH_ALLOW_NON_LOOPBACK=1" in refusal.value.fix
        assert ("auth.token" in refusal.value.fix) is (not token)
        assert refusal.value.exit == 77
    assert bound(bind, OPEN, "secret-token").startswith("http://")


def test_a_name_that_means_another_place_is_one_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what a name resolves to that counts; one of several is enough."""
    for found in (["192.0.2.7"], ["127.0.0.1", "192.0.2.7"], ["::ffff:192.0.2.7"]):
        infos = [
            (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in found
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, infos=infos, **__: infos)
        with pytest.raises(Forbidden, match="R-001"):
            bound("lake.example.com:0")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_free(host: str) -> None:
    url = bound(f"{host}:0")
    assert url.startswith(f"http://{host}:") and not url.endswith(":0")


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} .* is taken") as refusal:
            bound(f"127.0.0.1:{port}")
    assert refusal.value.exit == 75 and "--port" in refusal.value.fix


@pytest.mark.parametrize(
    ("bind", "kind"),
    [
        ("127.0.0.1:99999", InvalidInput),
        ("no.such.name.invalid:0", InvalidInput),
        (f"{'x' * 70}:0", InvalidInput),
        ("[::1::2]:0", InvalidInput),
    ],
)
def test_what_is_no_place(bind: str, kind: type[LakehouseError]) -> None:
    with pytest.raises(kind, match=r"server\.bind"):
        bound(bind)


def test_an_address_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"server\.bind: 192\.0\.2\.7:0"):
        bound("192.0.2.7:0", OPEN, "secret-token")
