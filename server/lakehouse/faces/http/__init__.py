"""The HTTP face: MCP at /mcp, the service API below /v1, and what says how the server is."""

from lakehouse.faces.http.app import http_app

__all__ = ["http_app"]
