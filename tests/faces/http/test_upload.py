"""Files over HTTP: put and ingested as they are sent, taken back whole or in parts, within their limits."""

import os
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faces.http.answering import app_of, asked, client_of, port_of, problem

import lakehouse
from lakehouse import InvalidInput, Lakehouse, TooLarge
from lakehouse.faces.http.rest import download, upload
from lakehouse.faces.http.rest.form import Form

pytestmark = pytest.mark.anyio
AT = "/v1/storage/object/"
LIMITS = {
    "storage.max_put_bytes": 3_000_000,
    "storage.max_vectors_put_bytes": 6_000_000,
    "ingest.max_bytes": 2_000_000,
    "storage.upload_slots": 4,
    "embed.provider": "hash",
}


@pytest.fixture
async def small(home: Path) -> AsyncIterator[Lakehouse]:
    """A lake with low limits."""
    async with lakehouse.open(home, overrides=LIMITS) as opened:
        yield opened


@pytest.fixture
async def client(small: Lakehouse) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(small) as opened:
        yield opened


def spooled(home: Path) -> list[str]:
    return [path.name for path in (home / upload.FOLDER).glob("*")]


async def test_put_get_list_delete(client: httpx.AsyncClient, home: Path) -> None:
    """A-S5-1."""
    raw = bytes(range(256)) * 10_000
    put = await client.put(AT + "in/é.parquet", content=raw, headers={"content-type": "application/x-made-up"})
    assert put.status_code == 200 and put.headers["content-type"] == "application/json"
    stored = put.json()
    assert set(stored) == {"key", "size", "etag", "bucket"}
    assert (stored["key"], stored["size"], stored["bucket"]) == ("in/é.parquet", len(raw), "primary")
    got = await client.get(AT + "in/é.parquet")
    assert got.content == raw and got.headers["content-length"] == str(len(raw))
    assert got.headers["etag"] == f'"{stored["etag"]}"'
    listed = await client.get("/v1/storage/list", params={"prefix": "in/", "bucket": "primary"})
    assert listed.json()["objects"] == [{k: stored[k] for k in ("key", "size", "etag")}]
    problem(await client.get("/v1/storage/list?bucket=other"), 404)
    assert (await client.get("/v1/storage/buckets")).json()["buckets"][0]["name"] == "primary"
    assert (await client.put(AT + "in/é.parquet", content=b"")).json()["size"] == 0  # it replaces, an empty one too
    assert (await client.get(AT + "in/é.parquet")).content == b""
    for _ in range(2):
        gone = await client.delete(AT + "in/é.parquet")
        assert (gone.status_code, gone.content) == (204, b"")
    problem(await client.get(AT + "in/é.parquet"), 404)
    assert spooled(home) == []


async def test_what_may_not_be_put(client: httpx.AsyncClient, home: Path) -> None:
    for key, status in (("_catalog/x", 403), ("datasets/x", 403), ("a%2F..%2Fb", 400)):
        problem(await client.put(AT + key, content=b"x"), status)
    await client.put(AT + "notes", content=b"x")
    problem(await client.put(AT + "notes/today", content=b"x"), 409)
    assert "text, base64" in problem(await client.put(AT + "k?text=x", content=b"y"), 400)["detail"]
    refused = await client.put(AT + "k", content=b"y", headers={"content-encoding": "gzip"})
    assert "content encoding" in problem(refused, 400)["detail"]
    assert (await client.get("/v1/storage/list")).json()["objects"][0]["key"] == "notes" and spooled(home) == []


@pytest.mark.slow
async def test_a_read_only_server_does_not_even_read_it(home: Path) -> None:
    async with lakehouse.open(home, overrides={"server.read_only": True}) as lake, app_of(lake) as app:
        piece = {"type": "http.request", "body": b"x", "more_body": True}
        status, _, body, taken = await asked(app, "PUT", AT + "k", [piece])
        assert (status, taken) == (403, 0) and b"read-only" in body


async def test_limits_of_puts(small: Lakehouse, home: Path) -> None:
    """A-S5-2, with lower limits: what is declared is refused unread, what is not is cut, and the prefix has its own."""
    piece = {"type": "http.request", "body": bytes(2**20), "more_body": True}
    async with app_of(small) as app:
        status, headers, body, taken = await asked(app, "PUT", AT + "k", [piece] * 9, {"content-length": "3000001"})
        assert (status, taken) == (413, 0) and b"storage.max_put_bytes" in body
        assert headers["content-type"] == "application/problem+json"
        status, _, body, taken = await asked(app, "PUT", AT + "k", [piece] * 9)
        assert (status, taken) == (413, 3) and b"storage.max_put_bytes" in body
        for key in ("x/_vectors/y", "_vectorsfoo"):
            assert (await asked(app, "PUT", AT + key, [piece] * 9))[0] == 413
        last = {"type": "http.request", "body": bytes(2**20)}
        status, _, body, taken = await asked(app, "PUT", AT + "_vectors/x", [piece] * 4 + [last])
        assert (status, taken) == (403, 5)  # not too large there: it is Lakehouse's own place
    assert spooled(home) == [] and (await small.storage.bucket.list()).objects == []


async def test_a_fifth_upload_is_told_to_come_back(small: Lakehouse, home: Path) -> None:
    """A-S5-3."""
    async with port_of(small) as port:
        held = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(4)]
        head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 2\r\n\r\n"
        for number, stream in enumerate(held):
            await stream.send(f"PUT {AT}k{number} {head}a".encode())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            with anyio.fail_after(30):
                while len(await anyio.to_thread.run_sync(spooled, home)) < 4:
                    await anyio.sleep(0.005)
            fifth = await client.put(AT + "k5", content=b"x")
            assert problem(fifth, 503)["title"] == "busy" and fifth.headers["retry-after"] == "5"
            for stream in held:
                await stream.send(b"b")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")
                await stream.aclose()
            assert (await client.put(AT + "k5", content=b"x")).status_code == 200
            assert (await client.get(AT + "k3")).content == b"ab"


async def test_who_hangs_up_in_the_middle_leaves_nothing(small: Lakehouse, home: Path) -> None:
    async with app_of(small) as app:
        piece = {"type": "http.request", "body": bytes(2**20), "more_body": True}
        answered = await asked(app, "PUT", AT + "k", [piece, {"type": "http.disconnect"}])
        assert answered == (0, {}, b"", 2)
    assert spooled(home) == [] and (await small.storage.bucket.list()).objects == []


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_file(home: Path) -> None:
    """S5.7: both ways, and for a bucket that is no folder a copy is sent and removed."""
    size = 48 * 2**20
    for number, url in enumerate(("", "memory://")):
        at_home = home / str(number)
        async with lakehouse.open(at_home, overrides={"storage.url": url}) as lake, port_of(lake) as port:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

                async def pieces() -> AsyncIterator[bytes]:
                    for _ in range(size // 2**16):
                        yield bytes(2**16)

                await client.get("/v1/storage/buckets")  # what is loaded once is loaded by now
                tracemalloc.start()
                put = await client.put(AT + "big", content=pieces())
                if url:  # what is kept in memory comes out of there in one piece
                    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
                    tracemalloc.stop()
                got = 0
                async with client.stream("GET", AT + "big") as answer:
                    async for piece in answer.aiter_raw():
                        got += len(piece)
                assert put.json()["size"] == got == size and tracemalloc.get_traced_memory()[1] < 16 * 2**20
                tracemalloc.stop()
            left = await anyio.to_thread.run_sync(lambda home=at_home: [*(home / "tmp").glob("*")])  # type: ignore[misc]
            assert left == []


async def test_who_hangs_up_is_sent_no_more(small: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of any size is not read to its end for nobody."""
    read: list[int] = []
    closed = anyio.Event()
    close = download.Sending._close

    def told(self: download.Sending, file: Any) -> None:
        read.append(file.tell())
        close(self, file)
        anyio.from_thread.run_sync(closed.set)

    monkeypatch.setattr(download.Sending, "_close", told)
    await small.storage.bucket.put("big", bytes(50_000_000))
    async with port_of(small) as port:
        stream = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(f"GET {AT}big HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        await anyio.aclose_forcefully(stream)
        with anyio.fail_after(30):
            await closed.wait()
    assert read[0] < 50_000_000


async def test_only_what_changed_and_only_a_part(client: httpx.AsyncClient) -> None:
    put = (await client.put(AT + "a.txt", content=b"0123456789")).json()
    tag = f'"{put["etag"]}"'
    for tags in (tag, f'"x", W/{tag}', "*"):
        same = await client.get(AT + "a.txt", headers={"if-none-match": tags})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert (await client.get(AT + "a.txt", headers={"if-none-match": '"x"'})).status_code == 200
    head = await client.head(AT + "a.txt")
    assert (head.headers["content-length"], head.headers["content-type"], head.content) == ("10", "text/plain", b"")
    for asked_for, status, text, told in (
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=" + "9" * 5000 + "-", 200, b"0123456789", None),
    ):
        part = await client.get(AT + "a.txt", headers={"range": asked_for})
        assert (part.status_code, part.content, part.headers.get("content-range")) == (status, text, told), asked_for
    other = await client.get(AT + "a.txt", headers={"range": "bytes=2-4", "if-range": '"x"'})
    assert (other.status_code, other.content) == (200, b"0123456789")


async def test_a_stored_page_is_no_page_of_ours(client: httpx.AsyncClient) -> None:
    await client.put(AT + "x.html", content=b"<script>alert(1)</script>")
    got = await client.get(AT + "x.html")
    assert got.headers["x-content-type-options"] == "nosniff" and "sandbox" in got.headers["content-security-policy"]


async def test_a_file_that_goes_while_it_is_looked_up_is_a_404(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, small: Lakehouse
) -> None:
    await client.put(AT + "a.txt", content=b"x")
    opened = download.Sending._open

    def late(self: download.Sending) -> Any:
        self._download.path.unlink()
        return opened(self)

    monkeypatch.setattr(download.Sending, "_open", late)
    problem(await client.get(AT + "a.txt"), 404)


CSV = b"id,zip\n1,01234\n2,98765\n"


@pytest.mark.slow
async def test_a_form_becomes_a_dataset(client: httpx.AsyncClient, home: Path) -> None:
    made = await client.post("/v1/ingest?name=orders", files={"file": ("C:\\my\\orders.csv", CSV, "text/csv")})
    assert made.status_code == 200 and made.json()["row_count"] == 2
    again = await client.post("/v1/ingest", files={"file": ("orders.csv", CSV)}, data={"name": "orders"})
    assert again.json() == made.json() | {"existing": True}
    rows = await client.post("/v1/sql", json={"sql": "SELECT zip FROM orders ORDER BY id"})
    assert rows.json()["rows"] == [["01234"], ["98765"]]
    manifest = (await client.get("/v1/catalog/manifest/orders")).json()
    assert manifest["provenance"]["file"] == "orders.csv"
    typed = {"name": "typed", "types": '{"id": "VARCHAR"}', "delimiter": ","}
    other = await client.post("/v1/ingest", files={"file": ("x.dat", CSV)}, data={**typed, "source": "csv"})
    assert other.json()["columns"][0] == {"name": "id", "type": "string"}
    assert (await client.post("/v1/ingest?name=json", json={"content": "a\n1\n"})).json()["row_count"] == 1
    assert spooled(home) == []


@pytest.mark.slow
async def test_progress_of_an_upload(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/ingest?name=t", files={"file": ("t.csv", CSV)}, headers={"accept": "text/event-stream"}
    )
    assert "event: progress" in answer.text and '"row_count":2' in answer.text.splitlines()[-2]


def form(*parts: bytes, boundary: bytes = b"B", last: bool = True) -> dict[str, Any]:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    body += b"--" + boundary + b"--\r\n" if last else b""
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=B"}}


FILE = b'Content-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n' + CSV


async def test_forms_that_are_refused(client: httpx.AsyncClient, home: Path) -> None:
    """A-S7-5 over HTTP: each is a 400 that says what is wrong."""
    field = b'Content-Disposition: form-data; name="more"\r\n\r\nx'
    for said, request in {
        "name: it is required": form(FILE),
        "more: there is no such argument": form(FILE, field),
        "file: the form has no file part of that name; it has 'more'": form(field),
        "file: the form has no file part of that name; it has nothing": form(),
        "data: the form has one file": form(FILE.replace(b'"file"', b'"data"')),
        "file: the form has one file": form(FILE, FILE),
        "the body: the form ends before": form(FILE, last=False),
        "the body is not the form": form(FILE, boundary=b"other"),
        "the body: a part of the form has no name": form(b"Content-Disposition: form-data\r\n\r\nx"),
        "more: the field is not UTF-8": form(FILE, field + b"\xff"),
        "the body: its content type names no usable": {"content": b"x", "headers": {"content-type": upload.FORM}},
        "the body: its content type is text/csv": {"content": CSV, "headers": {"content-type": "text/csv"}},
        "the body: its content type is missing": {"content": CSV},
        "path, content, object_key, url: exactly one": {"params": {"name": "t"}},
        "'t.dat' does not end like a format": form(
            FILE.replace(b"t.csv", b"t.dat"), b'Content-Disposition: form-data; name="name"\r\n\r\nt'
        ),
    }.items():
        detail = problem(await client.post("/v1/ingest", **request), 400)["detail"]
        assert said in detail and str(home) not in detail
    bad = await client.post("/v1/ingest?name=t", files={"file": ("t.csv", b"a,b\n1\n")})
    assert "line 2" in problem(bad, 400)["detail"] and str(home) not in bad.text
    assert (await client.get("/v1/catalog/list")).json()["count"] == 0 and spooled(home) == []


async def test_limits_of_forms(small: Lakehouse, home: Path) -> None:
    """A-S7-5, too large: before it is read when the request says so, else when it is."""
    head = {"content-type": "multipart/form-data; boundary=B"}
    begin = {"type": "http.request", "body": b"--B\r\n" + FILE, "more_body": True}
    piece = {"type": "http.request", "body": b"1,2\n" * 2**18, "more_body": True}
    async with app_of(small) as app:
        status, _, body, taken = await asked(app, "POST", "/v1/ingest", [], head | {"content-length": "9000000"})
        assert (status, taken) == (413, 0) and b"ingest.max_bytes" in body
        status, _, body, taken = await asked(app, "POST", "/v1/ingest", [begin, *[piece] * 9], head)
        assert (status, taken) == (413, 3) and b"ingest.max_bytes" in body
        field = b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\n'
        first = {"type": "http.request", "body": field, "more_body": True}
        status, _, body, taken = await asked(app, "POST", "/v1/ingest", [first, *[piece] * 9], head)
        assert (status, taken) == (413, 3) and b"fields" in body
        parts = {"type": "http.request", "body": (field + b"\r\n") * 101, "more_body": True}
        assert (await asked(app, "POST", "/v1/ingest", [parts], head))[0] == 413
    assert spooled(home) == []


async def test_what_killed_processes_left_is_removed_once_it_is_old(home: Path) -> None:
    folder = home / upload.FOLDER
    folder.mkdir(parents=True)
    (folder / "old").touch()
    (folder / "new").touch()
    os.utime(folder / "old", (time.time() - upload.LEFTOVER_SECS - 1,) * 2)
    async with lakehouse.open(home) as lake, client_of(lake) as client:
        assert spooled(home) == ["new"]
        await client.put(AT + "k", content=b"x")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_a_full_disk_is_said(client: httpx.AsyncClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> tuple[int, str]:
        (home / "gone").touch()
        return os.open("/dev/full", os.O_WRONLY), str(home / "gone")

    monkeypatch.setattr("tempfile.mkstemp", full)
    found = problem(await client.put(AT + "k", content=b"x"), 502)
    assert found["detail"].startswith("the data directory's disk failed: No space left") and str(home) not in str(found)


@given(st.data(), st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_form_is_read_the_same_however_it_is_cut(data: st.DataObject, contents: bytes, text: str) -> None:
    boundary = "xYz"
    if f"--{boundary}".encode() in contents + text.encode():
        return
    body = b"".join(
        (
            b'--xYz\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + text.encode() + b"\r\n",
            b'--xYz\r\nContent-Type: a/b\r\nContent-Disposition: form-data; filename="n.csv"; name="file"\r\n\r\n',
            contents + b"\r\n--xYz--\r\n",
        )
    )
    read, file, begin = Form(f"multipart/form-data; boundary={boundary}"), bytearray(), 0
    while begin < len(body):
        end = begin + data.draw(st.integers(1, 80))
        for part in read.feed(body[begin:end]):
            file += part
        begin = end
    read.finish()
    assert (bytes(file), read.fields, read.filename, read.media_type) == (contents, {"f": [text]}, "n.csv", "a/b")


@given(st.binary(max_size=300))
def test_rubbish_is_no_form(body: bytes) -> None:
    read = Form("multipart/form-data; boundary=B")
    with pytest.raises((InvalidInput, TooLarge)):
        read.feed(b"--B\r\n" + body)
        read.finish()
        raise AssertionError("it was taken for a form")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.csv", "a.csv"),
        ("/etc/a.csv", "a.csv"),
        ("..\\a.csv", "a.csv"),
        ("a\x00\n.csv", "a.csv"),
        ("", ""),
        ("..", ".."),
    ],
)
def test_what_a_sender_calls_a_file_is_no_path(sent: str, kept: str) -> None:
    assert upload.plain_name(sent) == kept
