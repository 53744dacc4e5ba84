"""One Starlette app for everything that is reached over HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import Server
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from lakehouse.faces.http.drain import Drain
from lakehouse.faces.http.endpoint import Endpoint
from lakehouse.faces.http.guard import Guard
from lakehouse.faces.http.hooks import Hooks
from lakehouse.faces.http.metrics import Counted
from lakehouse.faces.http.rest import Rest
from lakehouse.faces.http.state import State
from lakehouse.faces.mcp import View, mcp_server
from lakehouse.lake import Lakehouse

Show = Callable[[Lakehouse, dict[str, Any], View], Server[Any]]


def http_app(lake: Lakehouse, rendering: dict[str, Any], *, show: Show = mcp_server) -> Starlette:
    """The app for one lake, which its lifespan opens and closes no more than the sessions of: run it once.

    `show` makes the MCP server of a view. `app.state.drain` is how a server that stops says so.
    """

    drain = Drain(lake.stopping.set)
    endpoint = Endpoint(lake, lambda view: show(lake, rendering, view), drain)
    state = State(lake, rendering)
    rest = Rest(lake, rendering, state.metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await rest.start()
        async with endpoint.run(), state.run():
            yield

    app = Starlette(
        routes=[Route("/mcp", endpoint), *state.routes(), *Hooks(lake).routes(), *rest.routes()],
        middleware=[
            Middleware(Counted, metrics=state.metrics),
            Middleware(Guard, settings=lake.config, drain=drain),
        ],
        exception_handlers=rest.exception_handlers(),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.drain, app.state.clean = drain, lake.clean
    return app
