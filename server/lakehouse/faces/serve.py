"""Starts a server for a data directory. The process owns the lake; the face borrows it."""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from lakehouse import config
from lakehouse.faces.logs import keep_logs
from lakehouse.faces.mcp import mcp_server
from lakehouse.faces.stdio import insist_on_ending, serve_stdio
from lakehouse.lake import Lakehouse
from lakehouse.rendered import rendered


def stdio(home: str | Path | None, config_file: str | Path | None, overrides: Mapping[str, Any]) -> None:
    """Serve MCP over stdin and stdout until the client goes.

    The data directory is taken at the first call that needs it, not before: a host that starts us while another
    process owns it still sees the tools, and each call says who holds it until it is free.
    """
    settings = config.read(home, config_file, overrides)
    keep_logs(settings, brief=False)
    rendering = rendered(settings.config.plugins.folders)
    gc.freeze()  # what is loaded by now stays; collections need not walk it again
    anyio.run(_serve, settings, rendering)


async def _serve(settings: config.Settings, rendering: dict[str, Any]) -> None:
    async with Lakehouse(settings) as lake:
        try:
            await serve_stdio(mcp_server(lake, rendering), settings.config.server.max_request_bytes)
        finally:
            insist_on_ending()
