"""The peers of our MCP face: the same two tools on the bare SDK server and on FastMCP (`servers.py bare|fastmcp`)."""

import sys
from typing import Any


def bare() -> None:
    """The SDK's low-level server on the SDK's own stdio transport."""
    import anyio
    import mcp_types as t
    from mcp.server import Server
    from mcp.server.stdio import stdio_server

    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    }
    out = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    tools = [
        t.Tool(name=name, description="Add two whole numbers.", input_schema=schema, output_schema=out)
        for name in ("bench_add", "bench_more")
    ]

    async def list_tools(_: Any, __: Any) -> t.ListToolsResult:
        return t.ListToolsResult(tools=tools)

    async def call_tool(_: Any, params: t.CallToolRequestParams) -> t.CallToolResult:
        arguments = params.arguments or {}
        total = arguments["a"] + arguments["b"]
        content = t.TextContent(type="text", text=f'{{"total":{total}}}')
        return t.CallToolResult(content=[content], structured_content={"total": total})

    server = Server[Any]("bare", version="1", on_list_tools=list_tools, on_call_tool=call_tool)

    async def serve() -> None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(serve)


def fastmcp() -> None:
    """FastMCP with its defaults, banner off."""
    from fastmcp import FastMCP

    server = FastMCP("fast")

    def bench_add(a: int, b: int) -> dict[str, int]:
        """Add two whole numbers."""
        return {"total": a + b}

    def bench_more(a: int, b: int) -> dict[str, int]:
        """Add two whole numbers."""
        return {"total": a + b}

    server.tool(bench_add)
    server.tool(bench_more)
    server.run(show_banner=False)


if __name__ == "__main__":
    {"bare": bare, "fastmcp": fastmcp}[sys.argv[1]]()
