"""Starts a server for a data directory. The process owns the lake; the face borrows it."""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from lakehouse import config
from lakehouse.faces.logs import keep_logs
from lakehouse.faces.mcp import mcp_server
from lakehouse.faces.stdio import Wire, insist_on_ending, serve_stdio, take_wire
from lakehouse.lake import Lakehouse
from lakehouse.rendered import rendered


def stdio(home: str | Path | None, config_file: str | Path | None, overrides: Mapping[str, Any]) -> None:
    """Serve MCP over stdin and stdout until the client goes.

    The data directory is taken at the first call that needs it, not before: a host that starts us while another
    process owns it still sees the tools, and each call says who holds it until it is free.
    """
    wire = take_wire()  # before a plugin is loaded, which might write there
    settings = config.read(home, config_file, overrides)
    keep_logs(settings, brief=False)
    rendering = rendered(settings.config.plugins.folders)
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
        where = f"{bound[0] if host is None else host}:{bound[2] if port is None else port}"
        settings = config.read(home, config_file, {**overrides, "server.bind": where})
    keep_logs(settings, brief=False)
    rendering = rendered(settings.config.plugins.folders)
    anyio.run(_listen, settings, rendering)


async def _listen(settings: config.Settings, rendering: dict[str, Any]) -> None:
    import uvicorn

    from lakehouse.faces.http import http_app

    host, _, port = settings.config.server.bind.rpartition(":")
    async with Lakehouse(settings) as lake:
        await lake.start()
        options = uvicorn.Config(
            http_app(lake, rendering),
            host=host.strip("[]"),
            port=int(port),
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.config.server.drain_secs),
        )
        await uvicorn.Server(options).serve()


async def _serve(settings: config.Settings, rendering: dict[str, Any], wire: Wire | None) -> None:
    async with Lakehouse(settings) as lake:
        try:
            await serve_stdio(mcp_server(lake, rendering), settings.config.server.max_request_bytes, wire)
        finally:
            insist_on_ending()
