"""Our MCP face with what no capability of ours does added by hand: pictures, questions back to the client, log lines.

`python -m tests.conformance.everything` serves it as `lakehouse serve` serves ours, by the same settings.
"""

import base64
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as t
from mcp import MCPDeprecationWarning
from mcp.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

import lakehouse
from lakehouse import Lakehouse
from lakehouse.faces.http import http_app
from lakehouse.faces.http.listener import Listener
from lakehouse.faces.http.listener.bind import address, listening
from lakehouse.faces.mcp import Context, Shown, View
from lakehouse.rendered import rendered

Called = t.CallToolResult | t.InputRequiredResult
Tool = Callable[[Context, t.CallToolRequestParams], Awaitable[Called]]
Got = t.GetPromptResult | t.InputRequiredResult
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
WAV = base64.b64encode(
    b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x02\0\0\0\0\0"
).decode()
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
SCHEMA_2020 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
CHOICES = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {
        "type": "string",
        "oneOf": [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)],
    },
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {
        "type": "array",
        "items": {"anyOf": [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]},
    },
}
DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
TOOLS: dict[str, tuple[t.Tool, Tool]] = {}


def tool(name: str, schema: dict[str, Any] = NOTHING) -> Callable[[Tool], Tool]:
    """List a function as a tool."""

    def add(function: Tool) -> Tool:
        TOOLS[name] = (t.Tool(name=name, description=name.replace("_", " "), input_schema=schema), function)
        return function

    return add


def text(words: str) -> t.TextContent:
    return t.TextContent(type="text", text=words)


def image() -> t.ImageContent:
    return t.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, words: str, mime_type: str = "text/plain") -> t.EmbeddedResource:
    contents = t.TextResourceContents(uri=uri, mime_type=mime_type, text=words)
    return t.EmbeddedResource(type="resource", resource=contents)


def result(*content: t.ContentBlock) -> t.CallToolResult:
    return t.CallToolResult(content=list(content))


@tool("test_image_content")
async def _image(_: Context, __: t.CallToolRequestParams) -> Called:
    return result(image())


@tool("test_audio_content")
async def _audio(_: Context, __: t.CallToolRequestParams) -> Called:
    return result(t.AudioContent(type="audio", data=WAV, mime_type="audio/wav"))


@tool("test_embedded_resource")
async def _embedded(_: Context, __: t.CallToolRequestParams) -> Called:
    return result(embedded("test://embedded-resource", "This is an embedded resource content."))


@tool("test_multiple_content_types")
async def _mixed(_: Context, __: t.CallToolRequestParams) -> Called:
    more = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return result(text("Multiple content types test:"), image(), more)


@tool("json_schema_2020_12_tool", SCHEMA_2020)
async def _schema(_: Context, __: t.CallToolRequestParams) -> Called:
    return result(text("Its schema is what it is for."))


@tool("test_tool_with_logging")
@tool("test_logging_tool")
async def _logging(context: Context, _: t.CallToolRequestParams) -> Called:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.session.send_log_message("info", line, related_request_id=context.request_id)
    return result(text("Three lines were logged."))


@tool("test_sampling", {**NOTHING, "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]})
async def _sampling(context: Context, params: t.CallToolRequestParams) -> Called:
    asked = t.SamplingMessage(role="user", content=text((params.arguments or {})["prompt"]))
    answer = await context.session.create_message([asked], max_tokens=100, related_request_id=context.request_id)
    assert isinstance(answer.content, t.TextContent)
    return result(text(f"LLM response: {answer.content.text}"))


async def _elicit(context: Context, message: str, properties: dict[str, Any], required: list[str]) -> Called:
    schema = {"type": "object", "properties": properties, "required": required}
    answer = await context.session.elicit_form(message, schema, related_request_id=context.request_id)
    return result(text(f"User response: action={answer.action}, content={answer.content}"))


@tool("test_elicitation", {**NOTHING, "properties": {"message": {"type": "string"}}, "required": ["message"]})
async def _elicitation(context: Context, params: t.CallToolRequestParams) -> Called:
    asked = {name: {"type": "string", "description": f"The {name}."} for name in ("username", "email")}
    return await _elicit(context, (params.arguments or {})["message"], asked, list(asked))


@tool("test_elicitation_sep1034_defaults")
async def _defaults(context: Context, _: t.CallToolRequestParams) -> Called:
    return await _elicit(context, "Please check these.", DEFAULTS, [])


@tool("test_elicitation_sep1330_enums")
async def _choices(context: Context, _: t.CallToolRequestParams) -> Called:
    return await _elicit(context, "Please choose.", CHOICES, [])


@tool("test_missing_capability")
async def _missing(context: Context, _: t.CallToolRequestParams) -> Called:
    needed = t.ClientCapabilities(sampling=t.SamplingCapability())
    if not context.session.check_client_capability(needed):
        wants = needed.model_dump(by_alias=True, exclude_none=True)
        data = {"requiredCapabilities": wants}
        raise MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "It takes a client that samples.", data)
    return result(text("The client samples."))


def _form(message: str, name: str, kind: str = "string") -> t.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(words: str) -> t.CreateMessageRequest:
    message = t.SamplingMessage(role="user", content=text(words))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=100))


def asks(name: str, requests: dict[str, t.InputRequest], state: str | None = None) -> None:
    """List a tool that wants all these answers from the client before it has one of its own."""

    @tool(name)
    async def ask(_: Context, params: t.CallToolRequestParams) -> Called:
        if set(requests) <= set(params.input_responses or {}) and params.request_state == state:
            return result(text(f"Thank you; {'state-ok' if state else 'that is all'}."))
        return t.InputRequiredResult(input_requests=requests, request_state=state)


asks("test_input_required_result_elicitation", {"user_name": _form("What is your name?", "name")})
asks("test_input_required_result_sampling", {"capital_question": _sample("What is the capital of France?")})
asks("test_input_required_result_list_roots", {"client_roots": t.ListRootsRequest()})
asks("test_input_required_result_request_state", {"confirm": _form("Please confirm", "ok", "boolean")}, "one")
asks("test_input_required_result_tampered_state", {"confirm": _form("Please confirm", "ok", "boolean")}, "one")
asks("test_streaming_elicitation", {"user_name": _form("What is your name?", "name")})
asks(
    "test_input_required_result_multiple_inputs",
    {
        "user_name": _form("What is your name?", "name"),
        "greeting": _sample("Generate a greeting"),
        "client_roots": t.ListRootsRequest(),
    },
    "three",
)


@tool("test_input_required_result_multi_round")
async def _rounds(_: Context, params: t.CallToolRequestParams) -> Called:
    answers = params.input_responses or {}
    if params.request_state == "two" and "step2" in answers:
        return result(text("Thank you."))
    if params.request_state == "one" and "step1" in answers:
        asked = {"step2": _form("Step 2: What is your favorite color?", "color")}
        return t.InputRequiredResult(input_requests=asked, request_state="two")
    return t.InputRequiredResult(input_requests={"step1": _form("Step 1: Your name?", "name")}, request_state="one")


@tool("test_input_required_result_capabilities")
async def _capabilities(context: Context, _: t.CallToolRequestParams) -> Called:
    able = context.session.client_capabilities or t.ClientCapabilities()
    asked: dict[str, t.InputRequest] = {}
    if able.elicitation is not None:
        asked["user_name"] = _form("What is your name?", "name")
    if able.sampling is not None:
        asked["greeting"] = _sample("Generate a greeting")
    return t.InputRequiredResult(input_requests=asked) if asked else result(text("There is nobody to ask."))


def user(content: t.ContentBlock) -> t.PromptMessage:
    return t.PromptMessage(role="user", content=content)


PROMPTS = {
    "test_prompt_with_embedded_resource": [t.PromptArgument(name="resourceUri", description="Which.", required=True)],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


class Everything(Shown):
    """What is listed, called and got: ours, and the rest by hand."""

    def __init__(self, lake: Lakehouse, rendering: dict[str, Any], view: View) -> None:
        super().__init__(lake, rendering, view)
        self.listed_tools += [listed for listed, _ in TOOLS.values()]

    def server(self) -> Server[Any]:
        server = super().server()
        server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="everything"))
        server.add_request_handler("tools/call", t.CallToolRequestParams, self.call)
        server.add_request_handler("prompts/get", t.GetPromptRequestParams, self.get)
        for method, params in (
            ("resources/subscribe", t.SubscribeRequestParams),
            ("resources/unsubscribe", t.UnsubscribeRequestParams),
            ("logging/setLevel", t.SetLevelRequestParams),
        ):
            server.add_request_handler(method, params, self.accept)
        return server

    async def accept(self, _: Context, __: Any) -> t.EmptyResult:
        return t.EmptyResult()

    async def call(self, context: Context, params: t.CallToolRequestParams) -> Called:
        if params.name in TOOLS:
            return await TOOLS[params.name][1](context, params)
        return await self.call_tool(context, params)

    async def list_prompts(self, context: Context, params: t.PaginatedRequestParams | None) -> t.ListPromptsResult:
        listed = await super().list_prompts(context, params)
        listed.prompts += [
            t.Prompt(name=name, description="A prompt by hand.", arguments=arguments)
            for name, arguments in PROMPTS.items()
        ]
        return listed

    async def get(self, context: Context, params: t.GetPromptRequestParams) -> Got:
        if params.name == "test_prompt_with_image":
            return t.GetPromptResult(messages=[user(image()), user(text("Please analyze the image above."))])
        if params.name == "test_prompt_with_embedded_resource":
            more = embedded((params.arguments or {})["resourceUri"], "Embedded resource content for testing.")
            return t.GetPromptResult(messages=[user(more), user(text("Please process the resource above."))])
        if params.name == "test_input_required_result_prompt":
            if "user_context" in (params.input_responses or {}):
                return t.GetPromptResult(messages=[user(text("Thank you."))])
            return t.InputRequiredResult(input_requests={"user_context": _form("What context?", "context")})
        return await self.get_prompt(context, params)


async def serve() -> None:
    async with lakehouse.open() as lake:
        rendering = await anyio.to_thread.run_sync(rendered, lake.config.plugins.folders)
        app = http_app(lake, rendering, show=lambda *shown: Everything(*shown).server())
        sockets = await anyio.to_thread.run_sync(listening, lake.config)
        url = address(sockets, lake.config.server.bind)

        def ready() -> None:
            sys.stderr.write(f"answers at {url}\n")
            sys.stderr.flush()

        await Listener(app, lake.config.server, ready).serve(sockets)


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # the older era's ways are asked for on purpose
    anyio.run(serve)
