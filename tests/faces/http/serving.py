"""The HTTP app over an open lake: in process, or behind a real port."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import uvicorn
from starlette.applications import Starlette

from lakehouse import Lakehouse
from lakehouse.faces.http import http_app
from lakehouse.rendered import render

BASE = "http://127.0.0.1:3110"


@asynccontextmanager
async def app_of(lake: Lakehouse) -> AsyncIterator[Starlette]:
    """The app, its lifespan begun."""
    app = http_app(lake, render(await lake.load()))
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
    app = http_app(lake, render(await lake.load()))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http="h11", ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        while not server.started:
            await anyio.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem an answer is."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert body["status"] == status and body["detail"] and body["title"] in body["type"]
    return body
