"""URLs: which are read, from where, and how much of them."""

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.web import Page, Web
from tests.engine.ingesting import Bench

from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, NotFound, TimedOut, TooLarge, Upstream

pytestmark = pytest.mark.anyio

LOCAL = {
    "url_hosts": ("127.0.0.1", "*.lake.test"),
    "url_http": True,
    "internal_networks": ("127.0.0.0/8",),
    "max_url_bytes": 100_000,
    "remote_timeout_secs": 5,
}
CSV = b"id,zip\n1,007\n"


@pytest.fixture
def web() -> Iterator[Web]:
    pages = {
        "/a.csv": Page(CSV),
        "/data": Page(CSV, headers={"Content-Type": "text/csv; charset=utf-8"}),
        "/named": Page(CSV, headers={"Content-Disposition": 'attachment; filename="x/../people.csv"'}),
        "/what": Page(CSV),
        "/away": Page(status=302, headers={"Location": "/a.csv"}),
        "/loop": Page(status=302, headers={"Location": "/loop"}),
        "/inside": Page(status=302, headers={"Location": "http://169.254.169.254/latest/a.csv"}),
        "/other": Page(status=307, headers={"Location": "http://localhost/a.csv"}),
        "/file": Page(status=302, headers={"Location": "file:///etc/passwd"}),
        "/closed.csv": Page(status=403),
        "/endless.csv": Page(b"x" * 65536, endless=True),
        "/announced.csv": Page(b"x" * 200_000),
        "/odd.csv": Page(CSV, headers={"Content-Encoding": "br"}),
    }
    with Web(pages) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, **LOCAL)


async def refused(bench: Bench, url: str, kind: type[LakehouseError], words: str = "", **options: Any) -> None:
    """Nothing is stored, and nothing is left."""
    with pytest.raises(kind, match=words):
        await bench.ingester.ingest_url(url, "t", **options)
    assert bench.objects() == {} and bench.scratch() == []


@pytest.mark.slow
async def test_a_url_becomes_a_dataset(bench: Bench, web: Web) -> None:
    """By its suffix, its content type, the name the server gives it, or what is asked for; redirects are followed."""
    made = await bench.ingester.ingest_url(f"{web.url}/a.csv?signature=secret#part", "t")
    assert bench.table(made).to_pydict() == {"id": [1], "zip": ["007"]}
    provenance = (await bench.datasets.get("t")).provenance
    assert provenance["url"] == f"{web.url}/a.csv" and provenance["file"] == "a.csv" and "secret" not in str(provenance)
    for path, source in {"/data": None, "/named": None, "/what": "csv", "/away": None}.items():
        assert (await bench.ingester.ingest_url(web.url + path, "t", source=source)).existing
    assert web.asked[0] == (f"127.0.0.1:{web.port}", "/a.csv?signature=secret")
    assert bench.scratch() == []


@pytest.mark.slow
async def test_what_is_refused(bench: Bench, web: Web) -> None:
    """Each hop of a redirect is judged like the first URL."""
    for url, kind, words in (
        ("ftp://127.0.0.1/a.csv", InvalidInput, "https"),
        ("/etc/passwd", InvalidInput, "https"),
        ("http://[::1/a.csv", InvalidInput, "not one"),
        ("http://127.0.0.1:x/a.csv", InvalidInput, "not one"),
        ("http://u:secret@127.0.0.1/a.csv", InvalidInput, "password"),
        ("http://example.com/a.csv", Forbidden, "not a host"),
        (f"{web.url}/inside", Forbidden, "not a host"),
        (f"{web.url}/other", Forbidden, "not a host"),
        (f"{web.url}/file", InvalidInput, "https"),
        (f"{web.url}/loop", Upstream, "redirects"),
        (f"{web.url}/none.csv", NotFound, "404"),
        (f"{web.url}/closed.csv", Upstream, "403"),
        (f"{web.url}/what", InvalidInput, "format"),
        (f"{web.url}/odd.csv", Upstream, "encoding"),
        (f"{web.url}/announced.csv", TooLarge, "100000"),
        (f"{web.url}/endless.csv", TooLarge, "100000"),
        ("http://127.0.0.1:1/a.csv", Upstream, "fetched"),
    ):
        await refused(bench, url, kind, words)


async def test_off_by_default_and_https_only(tmp_path: Path, web: Web) -> None:
    await refused(Bench(tmp_path), f"{web.url}/a.csv", Forbidden, "off")
    await refused(Bench(tmp_path, url_hosts=("*",)), f"{web.url}/a.csv", InvalidInput, "https")
    await refused(Bench(tmp_path, url_hosts=("*",), url_http=True), f"{web.url}/a.csv", Forbidden, "internal")
    assert web.asked == []


async def test_a_name_is_resolved_once(bench: Bench, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the connection goes to the address that was checked, whatever the resolver says later."""
    real, asked = socket.getaddrinfo, list[str]()

    def resolver(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if str(host) != "data.lake.test":
            return real(host, port, *args, **options)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    await bench.ingester.ingest_url(f"http://data.lake.test:{web.port}/a.csv", "t")
    assert asked == ["data.lake.test"] and web.asked == [(f"data.lake.test:{web.port}", "/a.csv")]
    await refused_later(bench, f"http://data.lake.test:{web.port}/a.csv")


async def refused_later(bench: Bench, url: str) -> None:
    with pytest.raises(Forbidden, match="internal"):
        await bench.ingester.ingest_url(url, "t")


async def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        bench = Bench(tmp_path, **{**LOCAL, "remote_timeout_secs": 0.2})
        await refused(bench, f"http://127.0.0.1:{silent.getsockname()[1]}/a.csv", TimedOut, "remote_timeout_secs|0.2")


async def test_certificates_are_for_the_host_that_was_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS is checked against the name, though the connection is made to an address."""
    certificate = self_signed(tmp_path, "data.lake.test")
    real = socket.getaddrinfo

    def resolver(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith(".lake.test") else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with Web({"/a.csv": Page(CSV)}, certificate) as web:
        await refused(bench, f"https://data.lake.test:{web.port}/a.csv", Upstream, "CERTIFICATE")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await refused(bench, f"https://else.lake.test:{web.port}/a.csv", Upstream, "CERTIFICATE")
        assert (await bench.ingester.ingest_url(f"https://data.lake.test:{web.port}/a.csv", "t")).row_count == 1


def self_signed(folder: Path, host: str) -> Path:
    """A certificate with its key, as one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
