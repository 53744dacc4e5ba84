"""The peers of our MCP face: the same two tools on the bare SDK server and on FastMCP, over pipes or over HTTP.

`servers.py bare|fastmcp` speaks over stdin and stdout; `servers.py bare-http|fastmcp-http|starlette` listens at a free
port of this machine and says its URL on stderr. All of them run on uvicorn with h11, as we do.
"""

import socket
import sys
from typing import Any


def bare_server() -> Any:
    """The SDK's low-level server, told the schemas of its tools: it would list them at each call otherwise."""
    import mcp_types as t
    from mcp.server import Server

    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    }
    out = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    tools = [
        t.Tool(name=name, description="Add two whole numbers.", input_schema=schema, output_schema=out)
        for name in ("trial_add", "trial_more")
    ]

    async def list_tools(_: Any, __: Any) -> t.ListToolsResult:
        return t.ListToolsResult(tools=tools)

    async def call_tool(_: Any, params: t.CallToolRequestParams) -> t.CallToolResult:
        arguments = params.arguments or {}
        total = arguments["a"] + arguments["b"]
        content = t.TextContent(type="text", text=f'{{"total":{total}}}')
        return t.CallToolResult(content=[content], structured_content={"total": total})

    return Server[Any](
        "bare",
        version="1",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda name: schema if name.startswith("trial_") else None,
    )


def bare() -> None:
    """The SDK's low-level server on the SDK's own stdio transport."""
    import anyio
    from mcp.server.stdio import stdio_server

    server = bare_server()

    async def serve() -> None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(serve)


def bare_http() -> None:
    """The same server on the SDK's own HTTP app."""
    listen(bare_server().streamable_http_app())


def fastmcp_server() -> Any:
    """FastMCP with its defaults."""
    from fastmcp import FastMCP

    server = FastMCP("fast")

    def trial_add(a: int, b: int) -> dict[str, int]:
        """Add two whole numbers."""
        return {"total": a + b}

    def trial_more(a: int, b: int) -> dict[str, int]:
        """Add two whole numbers."""
        return {"total": a + b}

    server.tool(trial_add)
    server.tool(trial_more)
    return server


def fastmcp() -> None:
    """FastMCP over pipes, banner off."""
    fastmcp_server().run(show_banner=False)


def fastmcp_http() -> None:
    """FastMCP's HTTP app."""
    listen(fastmcp_server().http_app(path="/mcp"))


def starlette() -> None:
    """A route that does what the tool does: what HTTP alone costs."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def add(request: Request) -> JSONResponse:
        given = await request.json()
        return JSONResponse({"total": given["a"] + given["b"]})

    listen(Starlette(routes=[Route("/v1/trial/add", add, methods=["POST"])]))


def listen(app: Any) -> None:
    """Serve an app at a free port."""
    import uvicorn

    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio delays answers
    opened.bind(("127.0.0.1", 0))
    opened.listen(2048)
    sys.stderr.write(f"answers at http://127.0.0.1:{opened.getsockname()[1]} now\n")
    sys.stderr.flush()
    options = uvicorn.Config(app, http="h11", ws="none", log_config=None, log_level="error", access_log=False)
    uvicorn.Server(options).run(sockets=[opened])


if __name__ == "__main__":
    {
        "bare": bare,
        "fastmcp": fastmcp,
        "bare-http": bare_http,
        "fastmcp-http": fastmcp_http,
        "starlette": starlette,
    }[sys.argv[1]]()
