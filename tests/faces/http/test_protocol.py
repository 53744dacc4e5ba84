"""Clients that are slow or broken, by hand: each is told, and the next one is served."""

import contextlib
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.faces.http.serving import serving

pytestmark = pytest.mark.anyio
PATIENT = 30  # seconds a test waits for an answer before it calls the server stuck


def spoken(port: int, *pieces: bytes) -> bytes:
    """What comes back for some bytes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENT) as wire:
        answer = b""
        with contextlib.suppress(ConnectionError):  # the server may have said all it will before it was all sent
            for piece in pieces:
                wire.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while part := wire.recv(65536):
                answer += part
        return answer


async def say(port: int, *pieces: bytes) -> bytes:
    return await anyio.to_thread.run_sync(spoken, port, *pieces)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
        (b"GET /\x80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA B: x\r\n\r\n", 400),
        (b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 400_000, 431),
        (b"GET / HTTP/1.0\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n", 404),
    ],
)
async def test_what_is_not_http_is_answered(home: Path, sent: bytes, status: int) -> None:
    async with serving(home) as served:
        answer = await say(served.port, sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
        assert b"server: uvicorn" not in answer.lower()
        if status in (400, 431):
            assert b"application/problem+json" in answer and b'"fix":' in answer
        assert (await served.client.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"GET /health HTTP/1.1\r\nHost: local",),
        (b"POST /v1/call/sql.query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", b"{"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /health HT"),
    ],
    ids=["says nothing", "headers that stop", "a body that stops", "a second request that stops"],
)
async def test_a_client_that_does_not_go_on_is_let_go(home: Path, pieces: tuple[bytes, ...]) -> None:
    """Slowloris: connections are not held for ever by who sends a byte now and then."""
    limits: dict[str, Any] = {"server__header_timeout_secs": 0.2, "server__body_timeout_secs": 0.2}
    async with serving(home, **limits) as served:
        answer = await say(served.port, *pieces)
        assert b"HTTP/1.1 408 " in answer, answer
        assert (await served.client.get("/health")).status_code == 200
        assert len(served.listener.server_state.connections) <= 2


async def test_the_deadline_for_headers_is_not_put_off_by_single_bytes(home: Path) -> None:
    def drip(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=0.02) as wire:
            wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
            for _ in range(PATIENT * 50):
                try:
                    return wire.recv(65536)
                except TimeoutError:
                    with contextlib.suppress(OSError):  # closed a moment ago; what was said before is read next
                        wire.sendall(b"x")
        return b""

    async with serving(home, server__header_timeout_secs=0.3) as served:
        assert (await anyio.to_thread.run_sync(drip, served.port)).startswith(b"HTTP/1.1 408 ")


async def test_a_slow_body_that_goes_on_is_taken(home: Path) -> None:
    """Each byte comes in time; all together take longer than a pause may, and than the headers might have."""
    body = b'{"sql": "x"}'

    def drip(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=0.15) as wire:
            head = b"POST /v1/call/sql.query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            wire.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
            for byte in body:
                with pytest.raises(TimeoutError):
                    wire.recv(1)
                wire.sendall(bytes([byte]))
            wire.settimeout(PATIENT)
            return wire.recv(65536)

    limits: dict[str, Any] = {"server__header_timeout_secs": 0.5, "server__body_timeout_secs": 1.5}
    async with serving(home, **limits) as served:
        assert (await anyio.to_thread.run_sync(drip, served.port)).startswith(b"HTTP/1.1 400 ")


async def test_a_body_with_two_ends_is_refused(home: Path) -> None:
    """What a proxy may have sent as part of the body is not answered as a request of its own."""
    for path in (b"/v1/sql", b"/health"):
        sent = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 44\r\nTransfer-Encoding: chunked"
        async with serving(home) as served:
            answer = await say(served.port, sent + b"\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1
            assert b"application/problem+json" in answer


@pytest.mark.slow
@pytest.mark.parametrize("closed", [False, True], ids=["that stops reading", "that resets the connection"])
async def test_a_reader_of_a_large_answer(home: Path, closed: bool) -> None:
    """Is let go when it takes nothing for a while; nothing of the connection stays."""
    patience = 60 if closed else 0.2
    async with serving(home, server__body_timeout_secs=patience) as served:
        body = b'{"sql": "SELECT repeat(\'x\', 12000000) AS x"}'
        head = "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        with socket.socket() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.setblocking(False)
            with suppress(BlockingIOError):
                wire.connect(("127.0.0.1", served.port))
            await anyio.wait_writable(wire)
            wire.send(f"{head}{len(body)}\r\n\r\n".encode() + body)
            with anyio.fail_after(PATIENT):
                there: list[Any] = []
                while not there or not there[0].flow.write_paused:
                    there = list(served.listener.server_state.connections)
                    await anyio.sleep(0.01)
                assert there[0].transport.get_write_buffer_size() < 2**20  # the rest waits where it can be dropped
                if closed:
                    wire.close()
                while served.listener.server_state.connections:
                    await anyio.sleep(0.01)
        assert there[0].timeout_keep_alive_task is None
        assert (await served.client.get("/health")).status_code == 200


async def test_an_answer_is_not_held_back(home: Path) -> None:
    """Nagle's algorithm would keep its last piece until the client has acknowledged the first, 40 ms later."""
    async with serving(home) as served:
        assert (await served.client.get("/health")).status_code == 200
        transports = [connection.transport for connection in served.listener.server_state.connections]
        assert transports
        for each in transports:
            assert each.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_connections_beyond_what_there_may_be(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.faces.http.listener._connections", lambda: 2)
    async with serving(home) as served:
        idle = [await anyio.connect_tcp("127.0.0.1", served.port) for _ in range(2)]
        answer = await say(served.port)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after" in answer
        for stream in idle:
            await stream.aclose()
        while len(served.listener.server_state.connections):
            await anyio.sleep(0.01)
        assert (await served.client.get("/health")).status_code == 200
