"""The service API: a route for each capability, and one door to all of them."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.errors import InvalidInput, LakehouseError, NotFound, did_you_mean
from lakehouse.faces.http.metrics import Metrics
from lakehouse.faces.http.problem import problem
from lakehouse.faces.http.rest import body, query, upload
from lakehouse.faces.http.rest.download import Sending, preferred
from lakehouse.faces.http.rest.openapi import document
from lakehouse.faces.http.rest.paths import Paths, Template, decoded, path_of
from lakehouse.faces.http.rest.running import Events, heeded, wants_events
from lakehouse.lake import Lakehouse
from lakehouse.observe import Progress, no_progress
from lakehouse.preview import compact
from lakehouse.transfer import Upload

JSON = "application/json"
DOCUMENT = "/openapi.json"
OTHERS = ("/mcp", "/health", "/ready", "/metrics", DOCUMENT)  # what else this app answers
MAX_ANSWER = 16 * 2**20  # bytes; the rest of a longer one is behind a handle
Spec = dict[str, Any]


class WrongMethod(InvalidInput):
    """The path takes other methods."""

    http = 405


@dataclass(frozen=True)
class Asked:
    """One request."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Headers
    path: Mapping[str, str]


class Rest:
    """Routes below /v1."""

    def __init__(self, lake: Lakehouse, rendering: dict[str, Any], metrics: Metrics) -> None:
        self._lake = lake
        self._uploads = upload.Uploads(lake.home, lake.config, metrics.uploaded)
        self._tools: dict[str, Spec] = {}
        for spec in rendering["tools"]:
            self._tools[spec["name"]] = self._tools[spec["mcp_name"]] = spec
        call = Template("/v1/call/{capability}")
        places = {call.shape: Place(call, {"POST": self._any})}
        specs = [*rendering["tools"], *rendering["downloads"]]
        for spec in specs:
            template = Template(spec["route"])
            place = places.setdefault(template.shape, Place(template, {}))
            handler, other = self._handler(spec, template), place.methods.get(spec["method"])
            place.methods[spec["method"]] = handler if other is None else _either(spec, handler, other)
        self.paths = Paths((place.template, place) for place in places.values())
        self._document = document(specs, rendering["groups"], lake.config)

    async def start(self) -> None:
        """Remove what uploads of killed processes left."""
        await self._uploads.sweep()

    def routes(self) -> list[BaseRoute]:
        """Every route."""
        return [Route(DOCUMENT, self.openapi), Table(self.paths)]

    def exception_handlers(self) -> Mapping[Any, Callable[..., Any]]:
        """How errors of every path are answered."""

        async def known(_: Request, error: Exception) -> Response:
            assert isinstance(error, LakehouseError)
            return problem(error)

        async def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            return self._refusal(request, error)

        return {LakehouseError: known, HTTPException: refused}

    async def openapi(self, _: Request) -> Response:
        """The description of these routes."""
        return Response(self._document, media_type=JSON)

    def _handler(self, spec: Spec, template: Template) -> Callable[[Asked], Any]:
        async def handle(asked: Asked) -> None:
            # Two methods at one place may call its parameters differently.
            values = dict(zip(template.names, asked.path.values(), strict=True))
            schema = spec["input_schema"]
            path = {name: query.typed(name, [decoded(name, part)], schema) for name, part in values.items()}
            given = merged(("path", path), ("query", query.arguments_of(asked.scope["query_string"], schema)))
            if "output_schema" not in spec:
                if spec["method"] == "POST":
                    sent = await body.json_of(asked.receive, asked.headers, spec["max_body"])
                    given = merged(("path or query", given), ("body", sent))
                wanted = preferred(asked.headers, spec["formats"])
                await self._download(spec, asked, given if wanted is None else {"format": wanted, **given})
            elif spec["upload"]:
                await self._upload(spec, asked, given)
            else:
                sent = await body.json_of(asked.receive, asked.headers, spec["max_body"])
                await self._call(spec, asked, merged(("path or query", given), ("body", sent)))

        return handle

    async def _any(self, asked: Asked) -> None:
        """Any tool by its dotted or MCP name, its arguments as a JSON object."""
        (part,) = asked.path.values()
        name = decoded("capability", part)
        spec = self._tools.get(name)
        if spec is None:
            there = sorted({tool["name"] for tool in self._tools.values()})
            fix = did_you_mean(name, self._tools, f"There are: {', '.join(there)}.")
            raise NotFound(f"there is no capability called {name[:100]!r}.", fix=fix)
        sent = await body.json_of(asked.receive, asked.headers, spec["max_body"])
        extra = query.arguments_of(asked.scope["query_string"], spec["input_schema"])
        await self._call({**spec, "status": 200}, asked, merged(("query", extra), ("body", sent)))

    async def _download(self, spec: Spec, asked: Asked, given: dict[str, Any]) -> None:
        caller = asked.scope["lakehouse.caller"]
        found = await heeded(asked.receive, lambda: self._lake.call(spec["name"], given, caller=caller))
        await heeded(asked.receive, lambda: Sending(found)(asked.scope, asked.receive, asked.send))

    async def _upload(self, spec: Spec, asked: Asked, given: dict[str, Any]) -> None:
        capability = (await self._lake.load()).find(spec["name"])
        self._lake.permit(capability, asked.scope["lakehouse.caller"])  # before a file is read for nothing
        kind = body.media_type(asked.headers)
        async with AsyncExitStack() as stack:
            if spec["method"] == "PUT":
                raw = self._uploads.raw(capability, given, asked.receive, asked.headers)
                await self._call(spec, asked, given, await stack.enter_async_context(raw))
            elif kind == upload.FORM:
                form = self._uploads.form(capability, given, asked.receive, asked.headers)
                file, fields = await stack.enter_async_context(form)
                sent = {name: query.typed(name, values, spec["input_schema"]) for name, values in fields.items()}
                await self._call(spec, asked, merged(("path or query", given), ("form", sent)), file)
            else:
                if kind and not kind.endswith("json"):
                    raise upload.refused(asked.headers)
                sent = await body.json_of(asked.receive, asked.headers, spec["max_body"])
                await self._call(spec, asked, merged(("path or query", given), ("body", sent)))

    async def _call(self, spec: Spec, asked: Asked, given: dict[str, Any], file: Upload | None = None) -> None:
        caller = asked.scope["lakehouse.caller"]

        async def work(progress: Progress) -> bytes:
            found = await self._lake.answer(
                spec["name"], given, MAX_ANSWER, caller=caller, progress=progress, upload=file
            )
            return found[1]

        if asked.scope["method"] == "POST" and wants_events(asked.headers):
            await Events(asked.send).run(asked.receive, work)
            return
        text = await heeded(asked.receive, lambda: work(no_progress))
        answer = Response(status_code=204) if spec["status"] == 204 else Response(text, spec["status"], media_type=JSON)
        await answer(asked.scope, asked.receive, asked.send)

    def _refusal(self, request: Request, error: HTTPException) -> Response:
        """What the framework refuses by itself."""
        if error.status_code == 404:
            paths = [*(template.plain for template, _ in self.paths.entries), *OTHERS]
            fix = did_you_mean(path_of(request.scope)[:200], paths, f"{DOCUMENT} lists every route.")
            return problem(NotFound(f"there is nothing at {request.method[:20]} {request.url.path[:200]}.", fix=fix))
        if error.status_code == 405:
            return wrong_method(request.method, (error.headers or {}).get("Allow", ""))
        said = InvalidInput(f"{error.detail}.", fix=f"{DOCUMENT} describes every route.").problem()
        said |= {"status": error.status_code}
        return Response(compact(said), error.status_code, dict(error.headers or {}), "application/problem+json")


@dataclass(frozen=True)
class Place:
    """One path and what answers there, by method."""

    template: Template
    methods: dict[str, Callable[[Asked], Any]]

    @property
    def allowed(self) -> str:
        """The methods there are, as a header has them."""
        known = {*self.methods, "OPTIONS"} | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(known))

    def app(self, parameters: Mapping[str, str]) -> ASGIApp:
        """What answers a request here."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            method = scope["method"]
            handler = self.methods.get("GET" if method == "HEAD" and "HEAD" not in self.methods else method)
            if handler is None:
                options = method == "OPTIONS"
                said = Response(None, 204, {"Allow": self.allowed}) if options else wrong_method(method, self.allowed)
                await said(scope, receive, send)
                return
            await answered(handler, Asked(scope, receive, send, Headers(scope=scope), parameters))

        return answer


def _either(spec: Spec, download: Callable[[Asked], Any], tool: Callable[[Asked], Any]) -> Callable[[Asked], Any]:
    """A file where the request says in which format, else what the tool at the same place answers."""

    async def handle(asked: Asked) -> None:
        chosen = "format" in query.arguments_of(asked.scope["query_string"], spec["input_schema"])
        await (download if chosen or preferred(asked.headers, spec["formats"]) is not None else tool)(asked)

    return handle


class Table(BaseRoute):
    """All places as one route of the app: a path is looked up, not tried against one pattern after another."""

    def __init__(self, paths: Paths[Place]) -> None:
        self._paths = paths

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether there is a place at the path."""
        found = self._paths.at(path_of(scope)) if scope["type"] == "http" else None
        if found is None:
            return Match.NONE, {}
        place, parameters = found
        return Match.FULL, {"endpoint": place.app(parameters), "path_params": parameters}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer there."""
        await scope["endpoint"](scope, receive, send)


async def answered(handler: Callable[[Asked], Any], asked: Asked) -> None:
    """Have a request answered, its errors as problems; nobody is answered who has gone."""
    begun = False

    async def send(message: Any) -> None:
        nonlocal begun
        begun = True
        await asked.send(message)

    try:
        await handler(Asked(asked.scope, asked.receive, send, asked.headers, asked.path))
    except ClientDisconnect:
        return
    except LakehouseError as error:
        if begun:
            raise  # half an answer is out: the connection's end says that it is one
        asked.scope["app"].state.clean(error)  # it may quote what was sent
        await problem(error)(asked.scope, asked.receive, asked.send)


def wrong_method(method: str, allowed: str) -> Response:
    """The answer to a method that a path does not take."""
    answer = problem(WrongMethod(f"{method[:20]} is not for this path.", fix=f"It takes {allowed}."))
    answer.headers["Allow"] = allowed
    return answer


def merged(first: tuple[str, Mapping[str, Any]], second: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Arguments from two places. Raises InvalidInput for one that they give differently."""
    (here, given), (there, more) = first, second
    for name in given.keys() & more.keys():
        if given[name] != more[name]:
            raise InvalidInput(f"{name}: the {here} says one thing and the {there} another.", fix="Give it once.")
    return {**given, **more}
