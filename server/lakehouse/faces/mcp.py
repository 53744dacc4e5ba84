"""The catalogue as an MCP server: tools, resources, prompts, completion, in both protocol eras."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import mcp_types as t
from mcp.server import CacheHint, Server, ServerRequestContext
from mcp.shared.exceptions import MCPError

import lakehouse
from lakehouse.errors import PROBLEM_KEY, InvalidInput, LakehouseError
from lakehouse.lake import Lakehouse
from lakehouse.observe import Caller
from lakehouse.preview import compact, scrubbed
from lakehouse.schema import brief

Context = ServerRequestContext[Any]
Item = TypeVar("Item")
PAGE = 1000  # clients that never ask for a second page would miss what is past the first: a hundred tools is few
MAX_COMPLETIONS = 100
MAX_ECHO = 200  # characters of an unknown name that an error repeats
LONG_MS, SHORT_MS = 300_000, 5_000  # how long clients may keep a list
_BY_PIPE = Caller(via="mcp")
PROMISE = "Lakehouse holds versioned datasets and text corpora for you, and answers in rows and records."
ADVICE = """\
A long answer comes as a preview with truncated: true and a handle to read on from. An error says what to do next. \
Unknown arguments are refused by name."""


@dataclass(frozen=True)
class View:
    """What of the catalogue is shown; no toolsets means all of them."""

    toolsets: frozenset[str] = frozenset()
    read_only: bool = False
    bound: bool = False  # to a profile: what tells of data by its name is left out


def mcp_server(lake: Lakehouse, rendering: dict[str, Any], view: View | None = None) -> Server[Any]:
    """The low-level server for one open lake, showing a rendering of its catalogue.

    Without a `view` it is what the settings choose. Raises InvalidInput for a choice of toolsets that leaves no tool.
    """
    return Shown(lake, rendering, view or chosen(lake)).server()


def chosen(lake: Lakehouse) -> View:
    """What the settings choose to show."""
    server = lake.config.server
    return View(frozenset(server.toolsets), server.read_only, bool(server.profile))


class Shown:
    """What one server shows: the rendering less what toolsets and read-only mode hide."""

    def __init__(self, lake: Lakehouse, rendering: dict[str, Any], view: View) -> None:
        self.lake = lake
        self.read_only = view.read_only
        open_ = [s for s in rendering["tools"] if not (view.bound and s["tells"])]
        within = [s for s in open_ if not view.toolsets or view.toolsets.intersection(s["toolsets"])]
        if not within:
            filled = sorted({name for spec in rendering["tools"] for name in spec["toolsets"]})
            raise InvalidInput(
                f"toolsets: no tool is in {', '.join(sorted(view.toolsets))}.", fix=f"Choose of {', '.join(filled)}."
            )
        shown = [spec for spec in within if spec["effect"] == "reads" or not view.read_only]
        self.refused = {spec["mcp_name"]: spec["name"] for spec in within if spec not in shown}
        self.tools = {spec["mcp_name"]: spec for spec in shown}
        self.listed_tools = [_tool(spec) for spec in shown]
        # Schemas that have arguments repeated in headers. The SDK looks for those at each call, 20 us where there are
        # none.
        self.repeating = {
            spec["mcp_name"]: spec["input_schema"] for spec in shown if b"x-mcp-header" in compact(spec["input_schema"])
        }
        # What stands beside tools in a file is shown with them; in a file without tools, always.
        shut = {_file(spec) for spec in rendering["tools"]} - {_file(spec) for spec in within}
        resources = [spec for spec in rendering["resources"] if _file(spec) not in shut]
        self.resources = {s["uri"]: s for s in resources if "{" not in s["uri"]}
        self.templates = [(_pattern(s["uri"]), s) for s in resources if "{" in s["uri"]]
        self.prompts = {s["mcp_name"]: s for s in rendering["prompts"] if _file(s) not in shut}
        groups = dict.fromkeys(spec["command"][0] for spec in shown)
        told = [rendering["instructions"][group] for group in groups if group in rendering["instructions"]]
        self.instructions = "\n".join([PROMISE, *(f"- {line}" for line in told), ADVICE])

    def server(self) -> Server[Any]:
        """The SDK server with our handlers."""
        # What is shown depends on the token where there are any: no cache may pass it from one holder to another.
        lasting = CacheHint(LONG_MS, "private" if self.lake.config.auth.needed else "public")
        server = Server[Any](
            "lakehouse",
            title="Lakehouse",
            version=lakehouse.__version__,
            instructions=self.instructions,
            get_tool_input_schema=self.repeating.get,
            cache_hints={
                "tools/list": lasting,
                "prompts/list": lasting,
                "resources/templates/list": lasting,
                "server/discover": lasting,
                "resources/list": CacheHint(SHORT_MS, "private"),
            },
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
            on_completion=self.complete,
        )
        if find_spec("opentelemetry.sdk") is None:
            server.middleware.clear()  # spans that nobody can collect are 5 % of a call
        return server

    async def list_tools(self, _: Context, params: t.PaginatedRequestParams | None) -> t.ListToolsResult:
        """`tools/list`."""
        tools, cursor = _page(self.listed_tools, params)
        return t.ListToolsResult(tools=tools, next_cursor=cursor)

    async def call_tool(self, context: Context, params: t.CallToolRequestParams) -> t.CallToolResult:
        """`tools/call`: a failure anybody could foresee is a result with isError."""
        name = self.tools[params.name]["name"] if params.name in self.tools else self.refused.get(params.name)
        if name is None:
            raise MCPError(code=t.INVALID_PARAMS, message=f"Unknown tool: {params.name[:MAX_ECHO]}")

        reported = float("-inf")

        async def progress(done: float, total: float | None, message: str) -> None:
            nonlocal reported
            if done > reported:  # the protocol has it that each report is further than the one before
                reported = done
                await context.session.report_progress(done, total, message or None)

        try:
            value, text = await self.lake.answer(
                name,
                params.arguments or {},
                self.lake.config.server.max_text_bytes,
                caller=self._caller(context),
                progress=progress,
            )
        except LakehouseError as error:
            return t.CallToolResult(
                content=[t.TextContent(type="text", text=str(error))],
                is_error=True,
                _meta={PROBLEM_KEY: error.problem()},
            )
        return t.CallToolResult(content=[t.TextContent(type="text", text=text.decode())], structured_content=value)

    async def list_resources(self, context: Context, params: t.PaginatedRequestParams | None) -> t.ListResourcesResult:
        """`resources/list`: the static ones, and those that a template's completion lists."""
        resources = [_resource(spec, spec["uri"], spec["title"]) for spec in self.resources.values()]
        for _, spec in self.templates:
            if spec["listed"]:
                resources += [
                    _resource(spec, _expand(spec["uri"], parameter, value), value)
                    for parameter, capability in spec["complete"].items()
                    for value in await self._values(context, capability, "")
                ]
        found, cursor = _page(resources, params)
        return t.ListResourcesResult(resources=found, next_cursor=cursor)

    async def list_templates(
        self, context: Context, params: t.PaginatedRequestParams | None
    ) -> t.ListResourceTemplatesResult:
        """`resources/templates/list`."""
        templates = [
            t.ResourceTemplate(
                uri_template=s["uri"],
                name=s["name"],
                title=s["title"],
                description=s["description"],
                mime_type=s["mime_type"],
            )
            for _, s in self.templates
        ]
        found, cursor = _page(templates, params)
        return t.ListResourceTemplatesResult(resource_templates=found, next_cursor=cursor)

    async def read_resource(self, context: Context, params: t.ReadResourceRequestParams) -> t.ReadResourceResult:
        """`resources/read`: text, compact JSON, or bytes as a blob."""
        uri = str(params.uri)
        spec, arguments = self._resource_for(uri)
        try:
            value = await self.lake.call(spec["name"], arguments, caller=self._caller(context))
        except LakehouseError as error:
            raise _fault(error, uri=uri[:MAX_ECHO]) from None
        if spec["binary"]:
            blob = t.BlobResourceContents(uri=uri, mime_type=spec["mime_type"], blob=value)
            return t.ReadResourceResult(contents=[blob])
        text = value if isinstance(value, str) else compact(scrubbed(value)).decode()
        return t.ReadResourceResult(contents=[t.TextResourceContents(uri=uri, mime_type=spec["mime_type"], text=text)])

    def _resource_for(self, uri: str) -> tuple[dict[str, Any], dict[str, str]]:
        if uri in self.resources:
            return self.resources[uri], {}
        for pattern, spec in self.templates:
            if match := pattern.fullmatch(uri):
                return spec, {name: unquote(value) for name, value in match.groupdict().items()}
        raise MCPError(
            code=t.INVALID_PARAMS, message=f"Unknown resource: {uri[:MAX_ECHO]}", data={"uri": uri[:MAX_ECHO]}
        )

    async def list_prompts(self, _: Context, params: t.PaginatedRequestParams | None) -> t.ListPromptsResult:
        """`prompts/list`."""
        prompts = [
            t.Prompt(
                name=s["mcp_name"],
                title=s["title"],
                description=s["description"],
                arguments=[t.PromptArgument(**argument) for argument in s["arguments"]],
            )
            for s in self.prompts.values()
        ]
        found, cursor = _page(prompts, params)
        return t.ListPromptsResult(prompts=found, next_cursor=cursor)

    async def get_prompt(self, context: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        """`prompts/get`."""
        spec = self.prompts.get(params.name)
        if spec is None:
            raise MCPError(code=t.INVALID_PARAMS, message=f"Unknown prompt: {params.name[:MAX_ECHO]}")
        try:
            text = await self.lake.call(spec["name"], params.arguments or {}, caller=self._caller(context))
        except LakehouseError as error:
            raise _fault(error) from None
        message = t.PromptMessage(role="user", content=t.TextContent(type="text", text=str(text)))
        return t.GetPromptResult(description=spec["description"], messages=[message])

    async def complete(self, context: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        """`completion/complete`: values for a template's or a prompt's parameter."""
        if isinstance(params.ref, t.PromptReference):
            spec = self.prompts.get(params.ref.name)
        else:
            uri = str(params.ref.uri)
            spec = next((s for _, s in self.templates if s["uri"] == uri), self.resources.get(uri))
        if spec is None:
            raise MCPError(code=t.INVALID_PARAMS, message="Nothing of that name takes completion.")
        capability = spec["complete"].get(params.argument.name)
        values = await self._values(context, capability, params.argument.value) if capability else []
        shown = values[:MAX_COMPLETIONS]
        return t.CompleteResult(
            completion=t.Completion(values=shown, total=len(values), has_more=len(values) > len(shown))
        )

    async def _values(self, context: Context, capability: str, prefix: str) -> list[str]:
        """What a capability lists as `{"values": [...]}` for what has been typed so far."""
        try:
            found = await self.lake.call(capability, {"prefix": prefix}, caller=self._caller(context))
        except LakehouseError:
            return []  # a list of suggestions is no place for an error: the read that follows reports it
        values = found.get("values") if isinstance(found, dict) else None
        return [str(value) for value in values] if isinstance(values, list) else []

    def _caller(self, context: Context) -> Caller:
        """Who asks: over HTTP whom the request proved to be, over a pipe whoever started us."""
        caller: Caller = _BY_PIPE if context.request is None else context.request.scope["lakehouse.caller"]
        return _over_mcp(caller, self.read_only)


@lru_cache(256)
def _over_mcp(caller: Caller, read_only: bool) -> Caller:
    return replace(caller, via="mcp", read_only=caller.read_only or read_only)


def _file(spec: dict[str, Any]) -> str:
    return str(spec["name"]).rpartition(".")[0]


def _fault(error: LakehouseError, **data: str) -> MCPError:
    """An error where a result cannot carry it: the request's fault, or ours."""
    code = t.INVALID_PARAMS if error.http < 500 else t.INTERNAL_ERROR
    return MCPError(code=code, message=str(error), data={**data, "problem": error.problem()})


def _tool(spec: dict[str, Any]) -> t.Tool:
    reads = spec["effect"] == "reads"
    return t.Tool(
        name=spec["mcp_name"],
        title=spec["title"],
        description=spec["description"],
        input_schema=brief(spec["input_schema"]),
        output_schema=spec["output_schema"],
        annotations=t.ToolAnnotations(
            title=spec["title"],
            read_only_hint=reads,
            destructive_hint=None if reads else spec["effect"] == "destroys",
            idempotent_hint=spec["idempotent"],
            open_world_hint=False,
        ),
    )


def _resource(spec: dict[str, Any], uri: str, title: str) -> t.Resource:
    return t.Resource(
        uri=uri, name=spec["name"], title=title, description=spec["description"], mime_type=spec["mime_type"]
    )


def _pattern(template: str) -> re.Pattern[str]:
    """`a/{b}/c` as a pattern; a parameter is one path part, percent-decoded by the caller."""
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(f"(?P<{p}>[^/]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _expand(template: str, parameter: str, value: str) -> str:
    return template.replace(f"{{{parameter}}}", quote(value, safe=""))


def _page(items: Sequence[Item], params: t.PaginatedRequestParams | None) -> tuple[list[Item], str | None]:
    """One page and the cursor of the next. A cursor is opaque to clients and says nothing a server must remember."""
    start = 0
    if params is not None and params.cursor is not None:
        try:
            start = int(base64.urlsafe_b64decode(params.cursor.encode()).decode())
        except (ValueError, binascii.Error):
            start = -1
        if not 0 <= start <= len(items):
            raise MCPError(code=t.INVALID_PARAMS, message="Invalid cursor: take it from the page before.")
    end = start + PAGE
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return list(items[start:end]), following
