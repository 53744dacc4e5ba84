"""The MCP face, through the real protocol in memory, in both eras."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as t
import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError

import lakehouse
from lakehouse.errors import PROBLEM_KEY
from lakehouse.faces.mcp import mcp_server
from lakehouse.rendered import rendered

pytestmark = pytest.mark.anyio

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["legacy", "auto"])
def connect(request: pytest.FixtureRequest, home: Path, trial: Path) -> Connect:
    """A client of a server over the trial tools, of the handshake era and of the era without one."""

    @asynccontextmanager
    async def connected(**settings: Any) -> AsyncIterator[Client]:
        overrides = {"plugins.folders": [str(trial)], "embed.provider": "hash"}
        overrides |= {name.replace("__", "."): value for name, value in settings.items()}
        async with lakehouse.open(home, overrides=overrides) as lake:
            rendering = await anyio.to_thread.run_sync(rendered, lake.config.plugins.folders)
            server = mcp_server(lake, rendering)
            async with Client(server, mode=request.param) as client:
                yield client

    return connected


async def tools_of(client: Client) -> dict[str, t.Tool]:
    return {tool.name: tool for tool in (await client.list_tools()).tools}


def text_of(result: t.CallToolResult) -> str:
    assert isinstance(result.content[0], t.TextContent)
    return result.content[0].text


async def test_a_tool_has_all_a_client_needs(connect: Connect) -> None:
    async with connect() as client:
        tools = await tools_of(client)
        add = tools["trial_add"]
        assert (add.title, add.description) == ("Trial add", "Add two whole numbers.")
        assert add.input_schema["properties"]["b"] == {"type": "integer", "default": 2, "description": "Another."}
        assert add.input_schema["required"] == ["a"] and "additionalProperties" not in add.input_schema  # see `brief`
        assert add.output_schema is not None and add.output_schema["properties"]["total"]["type"] == "integer"
        assert add.annotations is not None and add.annotations.read_only_hint and add.annotations.idempotent_hint
        crash = tools["trial_crash"].annotations
        assert crash is not None and crash.destructive_hint and not crash.read_only_hint


async def test_a_result_is_structured_and_the_same_as_compact_text(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("trial_add", {"a": 1})
        assert result.structured_content == {"total": 3}
        assert text_of(result) == '{"total":3}'
        assert not result.is_error


async def test_stringified_json_is_read_where_no_string_is_meant(connect: Connect) -> None:
    async with connect() as client:
        assert (await client.call_tool("trial_add", {"a": "40"})).structured_content == {"total": 42}
        kept = await client.call_tool("trial_keep", {"items": '["1", "[2]"]', "options": '{"x": 1}'})
        assert kept.structured_content == {"items": ["1", "[2]"], "note": "{'x': 1}"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "a: it is required"),
        ({"a": 1, "bb": 2}, "bb: there is no such argument. Did you mean b?"),
        ({"a": "one"}, "a: "),
        ({"a": None}, "a: "),
        ({"a": [1]}, "a: "),
        ({"a": 1.5}, "a: "),
    ],
)
async def test_bad_arguments_are_named(connect: Connect, arguments: dict[str, Any], says: str) -> None:
    """A-S2-2, A-S2-5: a result with isError, a stable code first, the argument by name."""
    async with connect() as client:
        result = await client.call_tool("trial_add", arguments)
        assert result.is_error
        assert text_of(result).startswith("invalid_request: ") and says in text_of(result).replace(".. ", ". ")
        assert result.meta is not None and result.meta[PROBLEM_KEY]["status"] == 400


async def test_errors_say_what_to_do(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("trial_missing", {"name": "zebra"})
        assert result.is_error and text_of(result) == "not_found: there is no zebra. There is nothing at all."
        assert result.meta is not None
        assert result.meta[PROBLEM_KEY] == {
            "type": "lakehouse:not_found",
            "title": "not_found",
            "status": 404,
            "detail": "there is no zebra.",
            "fix": "There is nothing at all.",
        }


async def test_a_crash_keeps_its_reason_to_itself(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A-S2-6: the caller gets a call id; the log has the rest under it."""
    async with connect() as client:
        result = await client.call_tool("trial_crash", {})
        assert result.is_error and text_of(result).startswith("internal: ")
        assert "secret" not in text_of(result) and "Traceback" not in text_of(result)
        call = text_of(result).split("(call ")[1].split(")")[0]
        assert any(call in record.getMessage() and record.exc_info for record in caplog.records)


async def test_an_unknown_tool_is_a_protocol_error(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool("trial_nothing", {})
        assert raised.value.error.code == t.INVALID_PARAMS


async def test_a_call_past_its_time_ends_with_the_setting_named(connect: Connect, tmp_path: Path) -> None:
    """A-S2-3 (time): the answer is an error result with the code timeout."""
    async with connect(server__tool_timeout_secs=0.05) as client:
        result = await client.call_tool("trial_wait", {"path": str(tmp_path / "ended")})
        assert result.is_error and text_of(result).startswith("timeout: ")
        assert "server.tool_timeout_secs" in text_of(result)


async def test_a_long_answer_is_a_preview_and_a_handle_that_reads_back_whole(connect: Connect) -> None:
    """A-S2-3 (size)."""
    async with connect() as client:
        tools = await tools_of(client)
        result = await client.call_tool("trial_long", {"n": 20_000})
        shown = result.structured_content
        assert shown["truncated"] is True and 0 < len(shown["items"]) < 20_000
        assert len(text_of(result).encode()) <= 50_000
        assert json.loads(text_of(result)) == shown
        schema = tools["trial_long"].output_schema
        assert schema is not None
        Draft202012Validator(schema).validate(shown)
        read = await client.read_resource(shown["handle"])
        assert isinstance(read.contents[0], t.TextResourceContents)
        whole = json.loads(read.contents[0].text)
        assert whole["items"][-1] == "item 19999 ä" and len(whole["items"]) == 20_000


async def test_progress_reaches_the_client_and_cancelling_ends_the_call(connect: Connect, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    heard: list[tuple[float, float | None, str | None]] = []
    async with connect() as client, anyio.create_task_group() as group:

        async def heard_of(progress: float, total: float | None, message: str | None) -> None:
            heard.append((progress, total, message))
            group.cancel_scope.cancel()

        await client.call_tool("trial_wait", {"path": str(ended)}, progress_callback=heard_of)
    assert heard == [(1, 4, "one of four")]
    with anyio.fail_after(5):
        while not await anyio.Path(ended).exists():
            await anyio.sleep(0.01)


async def test_resources_templates_and_completion(connect: Connect) -> None:
    """A-S2-4 (resources): static and listed ones, templates, reading, completing."""
    async with connect() as client:
        listed = {r.uri: r for r in (await client.list_resources()).resources}
        assert "lakehouse://guide" in listed and "lakehouse://trial/ape%20a" in listed
        templates = {r.uri_template for r in (await client.list_resource_templates()).resource_templates}
        assert "lakehouse://trial/{name}" in templates
        read = await client.read_resource("lakehouse://trial/ape%20a")
        assert isinstance(read.contents[0], t.TextResourceContents)
        assert json.loads(read.contents[0].text) == {"total": 5}
        guide = (await client.read_resource("lakehouse://guide")).contents[0]
        assert guide.mime_type == "text/markdown"
        reference = t.ResourceTemplateReference(type="ref/resource", uri="lakehouse://trial/{name}")
        completed = await client.complete(reference, {"name": "name", "value": "a"})
        assert completed.completion.values == ["ant", "ape a"]
        for wrong in ("trial/wasp", "nothing", "datasets/a%2Fb", "results/..%2F..", "datasets/" + "a" * 9000):
            with pytest.raises(MCPError) as raised:
                await client.read_resource(f"lakehouse://{wrong}")
            assert raised.value.error.code == t.INVALID_PARAMS and len(str(raised.value.error)) < 3000


async def test_prompts(connect: Connect) -> None:
    async with connect() as client:
        prompts = {p.name: p for p in (await client.list_prompts()).prompts}
        assert {"ask", "explore_dataset", "ask_staffing"} <= set(prompts)
        arguments = prompts["ask"].arguments
        assert arguments is not None and arguments[0].required and arguments[0].description == "About what."
        got = await client.get_prompt("ask", {"name": "bee"})
        assert isinstance(got.messages[0].content, t.TextContent)
        assert got.messages[0].content.text == "What is bee?"
        completed = await client.complete(
            t.PromptReference(type="ref/prompt", name="ask"), {"name": "name", "value": "b"}
        )
        assert completed.completion.values == ["bee"]
        for name, arguments_ in (("nothing", {}), ("ask", {}), ("ask", {"nam": "bee"})):
            with pytest.raises(MCPError) as raised:
                await client.get_prompt(name, arguments_)
            assert raised.value.error.code == t.INVALID_PARAMS


async def test_toolsets_and_read_only_hide_and_refuse(connect: Connect) -> None:
    async with connect(server__toolsets=("core",)) as client:
        tools = await tools_of(client)
        assert "trial_add" in tools and "trial_keep" not in tools
        with pytest.raises(MCPError):
            await client.call_tool("trial_keep", {"items": []})
    async with connect(server__read_only=True) as client:
        tools = await tools_of(client)
        assert "trial_add" in tools and "trial_keep" not in tools and "trial_crash" not in tools
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())
        refused = await client.call_tool("trial_keep", {"items": []})
        assert refused.is_error and text_of(refused).startswith("forbidden: ")


async def test_pages_follow_each_other_and_a_made_up_cursor_is_refused(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.faces.mcp.PAGE", 3)
    async with connect() as client:
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            assert len(page.tools) <= 3
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert len(names) == len(set(names)) and "trial_add" in names
        for wrong in ("zzz", "LTE=", "OTk5OTk="):
            with pytest.raises(MCPError) as raised:
                await client.list_tools(cursor=wrong)
            assert raised.value.error.code == t.INVALID_PARAMS


async def test_the_server_says_what_it_is_for_in_two_thousand_characters(home: Path) -> None:
    async with lakehouse.open(home) as lake:
        server = mcp_server(lake, await anyio.to_thread.run_sync(rendered))
        assert server.instructions is not None and len(server.instructions) < 2000
        assert server.version == lakehouse.__version__
