"""Who may come in: checked before anything is read, for every path."""

from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.config import Config
from lakehouse.observe import Caller


class Guard:
    """ASGI middleware that says who calls: `scope["lakehouse.caller"]`."""

    def __init__(self, app: ASGIApp, settings: Config) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["lakehouse.caller"] = Caller(via="http")
        await self._app(scope, receive, send)
