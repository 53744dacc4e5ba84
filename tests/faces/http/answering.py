"""The HTTP app over an open lake: in process, or behind a real port."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import uvicorn
from starlette.applications import Starlette

from lakehouse import Lakehouse
from lakehouse.faces.http import http_app
from lakehouse.rendered import render

BASE = "http://127.0.0.1:3110"


async def rendering_of(lake: Lakehouse) -> dict[str, Any]:
    """What its faces show."""
    catalogue = await lake.load()
    return await anyio.to_thread.run_sync(render, catalogue)


@asynccontextmanager
async def app_of(lake: Lakehouse) -> AsyncIterator[Starlette]:
    """The app, its lifespan begun."""
    app = http_app(lake, await rendering_of(lake))
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def client_of(lake: Lakehouse) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app, without a network between."""
    async with app_of(lake) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            yield client


@asynccontextmanager
async def port_of(lake: Lakehouse) -> AsyncIterator[int]:
    """The port of a real server."""
    app = http_app(lake, await rendering_of(lake))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http="h11", ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    ended = anyio.Event()

    async def serve() -> None:
        await server.serve()
        ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        while not server.started:
            await anyio.sleep(0.005)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await ended.wait()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem an answer is."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert body["status"] == status and body["detail"] and body["title"] in body["type"]
    return body


async def asked(
    app: Starlette, method: str, path: str, messages: list[dict[str, Any]], headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes, int]:
    """One request by hand: status, headers and body of the answer, and how many of the messages were taken."""
    taken, sent = 0, list[Any]()

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == len(messages):
            await anyio.sleep_forever()
        taken += 1
        return messages[taken - 1]

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": "127.0.0.1:3110", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 3110),
    }
    await app(scope, receive, send)
    told = {k.decode(): v.decode() for k, v in sent[0]["headers"]} if sent else {}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return (sent[0]["status"] if sent else 0), told, body, taken
