"""The MCP clients we can be added to: where each keeps its list of servers, and how an entry of it is written."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN_VARIABLE = "LAKEHOUSE_TOKEN"  # holds the token of a server that is reached over HTTP


@dataclass(frozen=True)
class Client:
    """One client. A `token` is how its file names a secret that is kept elsewhere, NAME being the server's name;
    without one it takes no HTTP."""

    title: str
    key: str
    file: Callable[[], Path]
    project_file: str = ""
    token: str = ""
    typed: bool = True  # whether entries over pipes say their type
    typed_http: bool = True
    asks: bool = False  # for secrets, when they are declared among its `inputs`
    then: str = ""

    def over_pipes(self, command: list[str], arguments: list[str]) -> dict[str, Any]:
        """The entry that starts a command."""
        kind = {"type": "stdio"} if self.typed else {}
        return {**kind, "command": command[0], "args": [*command[1:], *arguments]}

    def over_http(self, url: str, name: str, with_token: bool) -> dict[str, Any]:
        """The entry that reaches a running server. A token is named, never written."""
        kind = {"type": "http"} if self.typed_http else {}
        headers = (
            {"headers": {"Authorization": "Bearer " + self.token.replace("NAME-", f"{name}-")}} if with_token else {}
        )
        return {**kind, "url": url, **headers}


def _settings_folder() -> Path:
    """Where desktop programs keep what belongs to a user."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _claude_code_file() -> Path:
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home()) / ".claude.json"


CLIENTS = {
    "claude-desktop": Client(
        "Claude Desktop",
        "mcpServers",
        lambda: _settings_folder() / "Claude" / "claude_desktop_config.json",
        typed=False,
        then="Quit Claude Desktop altogether and start it again.",
    ),
    "claude-code": Client(
        "Claude Code",
        "mcpServers",
        _claude_code_file,
        project_file=".mcp.json",
        token=f"${{{TOKEN_VARIABLE}}}",
        then="Start Claude Code anew; /mcp shows its servers.",
    ),
    "cursor": Client(
        "Cursor",
        "mcpServers",
        lambda: Path.home() / ".cursor" / "mcp.json",
        project_file=".cursor/mcp.json",
        token=f"${{env:{TOKEN_VARIABLE}}}",
        typed_http=False,
        then="Restart Cursor; its settings list the servers.",
    ),
    "vscode": Client(
        "VS Code",
        "servers",
        lambda: _settings_folder() / "Code" / "User" / "mcp.json",
        project_file=".vscode/mcp.json",
        token="${input:NAME-token}",
        asks=True,
        then="Run «MCP: List Servers» in VS Code and start it there.",
    ),
}
