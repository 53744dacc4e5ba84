"""The gateway against servers that answer oddly, and the addresses it takes."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import mcp_types as t
import pytest
from mcp.shared.message import SessionMessage

from lakehouse.errors import InvalidInput
from lakehouse.faces.address import bound_address, is_here, mcp_address
from lakehouse.faces.gateway import Gateway

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def head(status: str, kind: str, body: bytes, more: str = "") -> bytes:
    more += "connection: close\r\n"  # one answer a connection: the next request must not wait for another on it
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


ANSWERS = {
    "no token": (
        head("401 Unauthorized", "application/problem+json", b"{}"),
        "unauthorized: ",
        "LAKEHOUSE_AUTH__TOKEN",
    ),
    "a problem": (
        head(
            "403 Forbidden", "application/problem+json", b'{"title":"forbidden","detail":"not from there.","fix":"Go."}'
        ),
        "forbidden: not from there. Go.",
        "",
    ),
    "a page": (head("200 OK", "text/html", b"<html>"), "upstream: ", "not as MCP servers do"),
    "another place": (
        head("307 Moved", "text/html", b"", "location: https://other/mcp\r\n"),
        "upstream: ",
        "https://other/mcp",
    ),
    "half a stream": (
        head("200 OK", "text/event-stream", b": hello\r\n\r\n"),
        "upstream: ",
        "did not finish its answer",
    ),
    "an event that is none": (head("200 OK", "text/event-stream", b"data: {]\n\n"), "upstream: ", "did not finish"),
    "not HTTP": (b"SSH-2.0-x\r\n", "upstream: ", "did not finish"),
    "nothing": (b"", "upstream: ", "did not finish"),
    "too little": (head("200 OK", "application/json", b"{}" * 50)[:-10], "upstream: ", "did not finish"),
}


@contextmanager
def saying(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that says the same to everybody, and what it heard."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                with line:
                    heard.append(line.recv(65536))
                    line.sendall(answer)
                    # What is closed with something unread is reset, and the answer may be lost with it.
                    line.shutdown(socket.SHUT_WR)
                    while line.recv(65536):
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


async def asked(url: str, *methods: str) -> list[dict[str, Any]]:
    """What the gateway answers to requests, one after the other."""
    to_gateway, reading = anyio.create_memory_object_stream[SessionMessage | Exception](4)
    writing, answers = anyio.create_memory_object_stream[SessionMessage](4)
    found = []
    async with httpx.AsyncClient(headers={"authorization": "Bearer s3cret"}, trust_env=False) as client:
        async with answers, anyio.create_task_group() as group:
            group.start_soon(Gateway(client, url).answer, reading, writing)
            async with to_gateway:
                for number, method in enumerate(methods):
                    request = t.JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params={"_meta": MODERN})
                    await to_gateway.send(SessionMessage(request))
                    found.append((await answers.receive()).message.model_dump(by_alias=True, exclude_unset=True))
    return found


@pytest.mark.anyio
@pytest.mark.parametrize(("answer", "start", "words"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_what_is_no_answer_is_told_and_the_next_one_is_tried(answer: bytes, start: str, words: str) -> None:
    """A-S2-2: of a tool call it is a result, of anything else an error of the protocol; the gateway goes on."""
    with saying(answer) as (url, heard):
        found = await asked(url, "tools/list", "tools/call", "tools/list")
    for error in (found[0]["error"], found[2]["error"]):
        assert error["message"].startswith(start) and words in error["message"] and "s3cret" not in error["message"]
    result = found[1]["result"]
    assert result["isError"] and result["resultType"] == "complete" and result["content"][0]["text"].startswith(start)
    assert all(b"authorization: Bearer s3cret" in request for request in heard if request)
    assert all(b"mcp-protocol-version: 2026-07-28" in request for request in heard if request)


@pytest.mark.anyio
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
async def test_a_stream_of_events_is_cut_at_its_own_line_ends(newline: bytes) -> None:
    """A line separator within a text is part of the text."""
    result = {"text": "a\u2028b\u0085c"}
    data = json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}, ensure_ascii=False).encode()
    lines = [b": ping", b"", b"id: 1", b"data:", b"", b"event: message", b"data: " + data, b"", b""]
    with saying(head("200 OK", "text/event-stream", newline.join(lines))) as (url, _):
        assert [answer["result"] for answer in await asked(url, "tools/list")] == [result]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:3110", "http://127.0.0.1:3110/mcp"),
        ("http://127.0.0.1:3110/", "http://127.0.0.1:3110/mcp"),
        ("https://data.example.com/lake/mcp", "https://data.example.com/lake/mcp"),
        ("https://data.example.com/lake?x=1", "https://data.example.com/lake/mcp?x=1"),
        ("http://[::1]:3110", "http://[::1]:3110/mcp"),
    ],
)
def test_where_a_server_is_asked(given: str, meant: str) -> None:
    assert mcp_address(given, "--gateway") == meant
    chosen = mcp_address(given, "--gateway", "sql,core", True)
    assert chosen == f"{meant}{'&' if '?' in meant else '?'}toolsets=sql,core&read_only=true"


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:3110", "http://", "http://[x", "ftp://lake", "http://a b", "http://u:p@lake", "http://h:0"),
        *("", "lake", "http://h:99999", "http://h/#mcp", "http://h\n", "http://bücher.example", "//h"),
    ],
)
def test_an_address_that_is_none_names_the_option(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"invalid_request: --http: "):
        mcp_address(url, "--http")


def test_where_our_own_server_is_reached() -> None:
    assert bound_address("127.0.0.1:3110") == "http://127.0.0.1:3110"
    assert bound_address("0.0.0.0:80") == bound_address("[::]:80") == "http://127.0.0.1:80"
    assert is_here("http://localhost:1/mcp") and is_here("http://[::1]:1") and not is_here("https://lake.example.com")
