"""Starts a server for a data directory. The process owns the lake; the face borrows it."""

import gc
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from lakehouse import config
from lakehouse.faces.ending import MAX_GRACE, insist_on_ending
from lakehouse.faces.logs import keep_logs
from lakehouse.faces.mcp import mcp_server
from lakehouse.faces.stdio import Wire, serve_stdio, take_wire
from lakehouse.lake import Lakehouse
from lakehouse.rendered import rendered


def stdio(home: str | Path | None, config_file: str | Path | None, overrides: Mapping[str, Any]) -> None:
    """Serve MCP over stdin and stdout until the client goes.

    The data directory is taken at the first call, not before. Where another process owns it, calls go there.
    """
    wire = take_wire()  # before a plugin is loaded, which might write there
    settings = config.read(home, config_file, overrides)
    keep_logs(settings, brief=False)
    rendering = rendered(settings.config.plugins.folders, settings.home)
    gc.freeze()  # what is loaded by now stays; collections need not walk it again
    anyio.run(_serve, settings, rendering, wire)


def http(
    home: str | Path | None,
    config_file: str | Path | None,
    overrides: Mapping[str, Any],
    host: str | None = None,
    port: int | None = None,
) -> None:
    """Serve MCP and the service API over HTTP until SIGINT or SIGTERM; `host` and `port` go over `server.bind`."""
    settings = config.read(home, config_file, overrides)
    if host is not None or port is not None:
        bound = settings.config.server.bind.rpartition(":")
        host = bound[0] if host is None else f"[{host}]" if ":" in host.strip("[]") == host else host
        where = f"{host}:{bound[2] if port is None else port}"
        settings = config.read(home, config_file, {**overrides, "server.bind": where})
    keep_logs(settings, brief=False)

    from lakehouse.faces.http.listener.bind import listening

    sockets = listening(settings.config)
    rendering = rendered(settings.config.plugins.folders, settings.home)
    anyio.run(_listen, settings, rendering, sockets)


async def _listen(settings: config.Settings, rendering: dict[str, Any], sockets: list[socket.socket]) -> None:
    from lakehouse.faces.http import http_app
    from lakehouse.faces.http.listener import Listener
    from lakehouse.faces.http.listener.bind import address

    url = address(sockets, settings.config.server.bind)

    def ready() -> None:
        gc.freeze()  # as above; 7 % of a call
        sys.stderr.write(f"Lakehouse answers at {url} (MCP at /mcp); data in {settings.home}\n")
        sys.stderr.flush()

    async with Lakehouse(settings) as lake:
        await lake.start()
        await Listener(http_app(lake, rendering), settings.config.server, ready).serve(sockets)
    insist_on_ending()


async def _serve(settings: config.Settings, rendering: dict[str, Any], wire: Wire | None) -> None:
    async with Lakehouse(settings) as lake:
        lake.grace = min(lake.grace, MAX_GRACE / 2)  # others' calls are made again by the next owner
        try:
            await serve_stdio(mcp_server(lake, rendering), settings.config.server.max_request_bytes, wire)
        finally:
            insist_on_ending()
