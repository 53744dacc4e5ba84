"""Who may come in: checked before anything is read, for every path but /health.

What is posted to a hook without a token comes in as a stranger's: the hook holds it against its signature.
"""

import anyio
from starlette.authentication import AuthCredentials
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.config import Config
from lakehouse.errors import InvalidInput, LakehouseError, Unavailable
from lakehouse.faces.http.drain import Drain
from lakehouse.faces.http.guard.addresses import Addresses
from lakehouse.faces.http.guard.names import LOOPBACK_ORIGIN, Names
from lakehouse.faces.http.guard.tokens import Holder, Tokens, choosing
from lakehouse.faces.http.problem import problem
from lakehouse.observe import Caller, log, new_id

PUBLIC = "/health"
HOOKS = "/v1/observer/workflow/hook/"
PROFILE_HEADER = b"x-lakehouse-profile"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PIECE = 2**16  # bytes: a large answer leaves as it is read, so that who reads no more is noticed
EXPOSED = ("Mcp-Session-Id", "Retry-After", "ETag", "WWW-Authenticate", "Content-Disposition")
RELAYED = frozenset((b"forwarded", b"via", b"x-real-ip", b"x-forwarded-host", b"x-forwarded-proto"))
_STRANGER = Caller(via="http", remote=True, read_only=True)
_SIGNER = Holder(_STRANGER, _STRANGER)


class Guard:
    """ASGI middleware that says who calls, `scope["lakehouse.caller"]`, or refuses.

    In this order: the Host, the Origin, the address, then the token; a browser's preflight carries none and is
    answered before. Whatever the app fails of leaves as a problem, with what happened in the log.
    """

    def __init__(self, app: ASGIApp, settings: Config, drain: Drain) -> None:
        self._app = app
        self._drain = drain
        server = settings.server
        self._names = Names(server.bind, server.allowed_hosts, server.allowed_origins)
        self._addresses = Addresses(settings.auth)
        self._tokens = Tokens(settings.auth)
        self._cors = CORSMiddleware(
            self._enter,
            allow_origins=tuple(server.allowed_origins),
            allow_origin_regex=LOOPBACK_ORIGIN,
            allow_methods=METHODS,
            allow_headers=("*",),  # MCP has headers named after parameters; what comes in is checked further on
            allow_private_network=True,
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        host = origin = forwarded = length = None
        coded = relayed = False
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value if origin is None else b"null"
            elif name == b"x-forwarded-for":
                forwarded = value if forwarded is None else forwarded + b"," + value
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                coded = True
            elif name in RELAYED:
                relayed = True
        if relayed and forwarded is None:
            forwarded = b""  # a proxy that does not say whom it speaks for
        if coded and length is not None:
            await _ambiguous(scope, receive, send)
            return
        if scope["path"] == PUBLIC:
            scope["lakehouse.caller"] = _STRANGER
            await self._app(scope, receive, send)
            return
        try:
            self._names.check(host, origin)
            peer = scope.get("client")
            scope["lakehouse.source"] = self._addresses.source(peer and peer[0], forwarded)
        except LakehouseError as error:
            await self._refuse(error, scope, receive, send)
            return
        await (self._enter if origin is None else self._cors)(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        signed = not given and scope["path"].startswith(HOOKS)
        try:
            holder = _SIGNER if signed else self._tokens.holder(given)
            caller = holder.far if scope["lakehouse.source"].remote else holder.near
            scope["lakehouse.caller"] = choosing(caller, [v for n, v in scope["headers"] if n == PROFILE_HEADER])
        except LakehouseError as error:
            await self._refuse(error, scope, receive, send)
            return
        if holder.user is not None:
            scope["user"], scope["auth"] = holder.user, AuthCredentials(holder.user.scopes)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await _in_pieces(send, message)

        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            return
        except anyio.get_cancelled_exc_class():
            # The server cancels a request only when it has stopped waiting for it.
            if not self._drain.began:
                raise
            if started:
                return  # the server closes the connection: what was sent is no whole answer
            stopped = Unavailable("the server stopped before the call was done.", fix="Call again.")
            await problem(stopped)(scope, receive, send)
        except Exception:  # the last place where what nobody foresaw can still be answered
            failed = new_id()
            log.exception("http.failed %.20s %.200r (request %s)", scope["method"], scope["path"], failed)
            if started:
                return  # the server closes the connection: what was sent is no whole answer
            failure = LakehouseError(
                f"the request failed (request {failed}).", fix="The server's log has the details under this id."
            )
            await problem(failure)(scope, receive, send)

    async def _refuse(self, error: LakehouseError, scope: Scope, receive: Receive, send: Send) -> None:
        log.info("http.refused %s: %s", scope.get("client"), error.code)
        await problem(error)(scope, receive, send)


async def _ambiguous(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a body with two ends. A proxy in front may have taken the other one: what follows on this connection may
    be somebody else's."""
    said = InvalidInput("the request has both Content-Length and Transfer-Encoding.", fix="Send one of them.")
    answer = problem(said)
    answer.headers["connection"] = "close"
    await answer(scope, receive, send)


async def _in_pieces(send: Send, message: Message) -> None:
    body = message.get("body", b"")
    if len(body) <= PIECE:
        await send(message)
        return
    for begin in range(0, len(body), PIECE):
        end = begin + PIECE
        more = end < len(body) or message.get("more_body", False)
        await send({"type": message["type"], "body": body[begin:end], "more_body": more})
