"""MCP over HTTP in both eras: everything that pipes have, and an answer to whatever is wrong with a request."""

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as t
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.faces.http.serving import ACCEPT, LEGACY, META, MODERN, Served, modern, probe, serving

from lakehouse.errors import PROBLEM_KEY

pytestmark = pytest.mark.anyio
WITHIN = 20  # seconds a test waits for what happens at once


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> str:
    """The era: the one with a handshake, and the one without."""
    return str(request.param)


async def until(path: Path) -> None:
    with anyio.fail_after(WITHIN):
        while not path.exists():
            await anyio.sleep(0.01)


def rpc_error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    found = answer.json()
    assert found["jsonrpc"] == "2.0"
    return dict(found["error"])


async def works(served: Served) -> None:
    """The next request is answered as ever."""
    answer = await served.tool("list_datasets")
    assert answer.status_code == 200 and answer.json()["result"]["structuredContent"]["count"] == 0


@contextlib.asynccontextmanager
async def client_of(served: Served, mode: str, query: str = "") -> AsyncIterator[Client]:
    async with Client(f"{served.url}/mcp{query}", mode=mode) as client:
        yield client


@pytest.mark.slow
async def test_lists_calls_errors_resources_prompts_and_completion(home: Path, trial: Path, mode: str) -> None:
    """A-S1-2: the same call gives the same over HTTP, in either era, as in process."""
    async with serving(home, plugins__folders=[str(trial)]) as served, client_of(served, mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"trial_add", "list_datasets", "query_sql"} <= names
        added = await client.call_tool("trial_add", {"a": 1, "b": 2})
        assert added.structured_content == {"total": 3} == await served.lake.call("trial.add", {"a": 1, "b": 2})
        missing = await client.call_tool("trial_missing", {"name": "y"})
        assert missing.is_error and missing.meta is not None
        assert missing.meta[PROBLEM_KEY]["title"] == "not_found"
        read = await client.read_resource("lakehouse://trial/ape%20a")
        assert isinstance(read.contents[0], t.TextResourceContents) and read.contents[0].text == '{"total":5}'
        prompt = await client.get_prompt("ask", {"name": "bee"})
        assert prompt.messages[0].content.text == "What is bee?"  # type: ignore[union-attr]
        reference = t.ResourceTemplateReference(type="ref/resource", uri="lakehouse://trial/{name}")
        completed = await client.complete(reference, {"name": "name", "value": "a"})
        assert completed.completion.values == ["ant", "ape a"]


@pytest.mark.slow
async def test_unknown_tools_prompts_and_resources(home: Path, mode: str) -> None:
    async with serving(home) as served, client_of(served, mode) as client:
        with pytest.raises(MCPError, match="Unknown tool: no_such_tool") as refused:
            await client.call_tool("no_such_tool", {})
        assert refused.value.error.code == t.INVALID_PARAMS
        with pytest.raises(MCPError, match="Unknown prompt"):
            await client.get_prompt("no_such_prompt", {})
        with pytest.raises(MCPError, match="Unknown resource"):
            await client.read_resource("lakehouse://no/such/resource")
        assert (await client.call_tool("list_datasets", {})).structured_content is not None


@pytest.mark.slow
async def test_progress_reaches_who_asked(home: Path, tmp_path: Path, mode: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))
        (tmp_path / "go").touch()  # the call ends only after it was heard

    async with serving(home, plugins__folders=[str(probe(tmp_path / "project"))]) as served:
        async with client_of(served, mode) as client:
            with anyio.fail_after(WITHIN):
                done = await client.call_tool("probe_gate", {"folder": str(tmp_path)}, progress_callback=hear)
    assert done.structured_content == {"done": 2}
    assert told == [(1, 2, "half")]


@pytest.mark.slow
async def test_a_client_that_gives_up_cancels_its_call(home: Path, tmp_path: Path, mode: str) -> None:
    """By closing the stream where that means it, by saying so where there is a session."""
    async with serving(home, plugins__folders=[str(probe(tmp_path / "project"))]) as served:
        async with client_of(served, mode) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "probe_gate", {"folder": str(tmp_path)})
                await until(tmp_path / "began")
                group.cancel_scope.cancel()
            await until(tmp_path / "cancelled")
            assert (await client.call_tool("probe_caller", {})).structured_content is not None


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_connection_that_breaks_cancels_its_call(home: Path, tmp_path: Path, streamed: bool) -> None:
    """Before the answer began, and in the middle of its stream of progress."""
    params: dict[str, Any] = {"name": "probe_gate", "arguments": {"folder": str(tmp_path)}}
    sent = modern("tools/call", params)
    if streamed:
        sent["json"]["params"]["_meta"] = {**META, "progressToken": 1}
    async with serving(home, plugins__folders=[str(probe(tmp_path / "project"))]) as served:
        async with anyio.create_task_group() as group:

            async def call() -> None:
                async with httpx.AsyncClient(base_url=served.url, timeout=WITHIN) as client:
                    await client.post("/mcp", **sent)

            group.start_soon(call)
            await until(tmp_path / "began")
            group.cancel_scope.cancel()
        await until(tmp_path / "cancelled")


@pytest.mark.slow
async def test_a_long_answer_becomes_a_handle(home: Path, trial: Path, mode: str) -> None:
    async with serving(home, plugins__folders=[str(trial)]) as served, client_of(served, mode) as client:
        result = await client.call_tool("trial_long", {"n": 20_000})
        assert isinstance(result.content[0], t.TextContent) and len(result.content[0].text.encode()) <= 50_000
        assert result.structured_content is not None and result.structured_content["truncated"] is True
        read = await client.read_resource(result.structured_content["handle"])
        assert isinstance(read.contents[0], t.TextResourceContents)
        assert "item 0" in read.contents[0].text


@pytest.mark.slow
async def test_toolsets_by_the_address(home: Path, trial: Path, mode: str) -> None:
    """What is not in them is neither listed nor called; settings and address together narrow."""

    async def names(served: Served, query: str) -> set[str]:
        async with client_of(served, mode, query) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    async with serving(home, plugins__folders=[str(trial)]) as served:
        everything = await names(served, "")
        core = await names(served, "?toolsets=core")
        assert "trial_add" in core and "trial_keep" not in core and core < everything
        assert core | await names(served, "?toolsets=admin") == await names(served, "?toolsets=core,admin")
        assert core == await names(served, "?toolsets=core&toolsets=core")
        assert "trial_keep" not in await names(served, "?toolsets=admin&read_only=true")
        async with client_of(served, mode, "?toolsets=core") as client:
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool("trial_keep", {"items": []})
    async with serving(home, plugins__folders=[str(trial)], server__toolsets=["core"]) as served:
        assert await names(served, "") == core
        assert "core" in rpc_error(await served.rpc("tools/list", path="/mcp?toolsets=admin"), 400)["message"]
        found = rpc_error(await served.rpc("tools/list", path="/mcp?toolsets=cor"), 400)
        assert "Did you mean core" in found["message"] and found["data"]["title"] == "invalid_request"


@pytest.mark.parametrize("query", ["toolset=core", "readonly=true", "read_only=ture"])
async def test_a_misspelt_choice_shows_nothing(home: Path, query: str) -> None:
    """What was meant to narrow does not show everything."""
    async with serving(home) as served:
        found = rpc_error(await served.rpc("tools/list", path=f"/mcp?{query}"), 400)
        assert found["data"]["title"] == "invalid_request" and found["data"]["fix"]
        assert (await served.rpc("tools/list", path="/mcp?read_only=false")).status_code == 200


async def test_one_answer_needs_no_stream(home: Path) -> None:
    """A-S1-2: 200 application/json without a handshake, and no session."""
    async with serving(home) as served:
        answer = await served.tool("list_datasets")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in answer.headers
    result = answer.json()["result"]
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"headers": {"mcp-protocol-version": "2099-01-01"}}, 400, -32020),
        ({"headers": {"mcp-method": "tools/list"}}, 400, -32020),
        ({"headers": {"mcp-method": None}}, 400, -32020),
        ({"headers": {"mcp-name": "query_sql"}}, 400, -32020),
        ({"headers": {"mcp-name": None}}, 400, -32020),
        ({"headers": {"content-type": "text/plain"}}, 400, t.INVALID_REQUEST),
        ({"headers": {"content-type": "application/json-seq"}}, 400, t.INVALID_REQUEST),
        ({"headers": {"content-type": None}}, 400, t.INVALID_REQUEST),
        ({"headers": {"accept": "text/html"}}, 406, t.INVALID_REQUEST),
        ({"headers": {"accept": "application/json"}}, 406, t.INVALID_REQUEST),
        ({"content": b"{"}, 400, t.PARSE_ERROR),
        ({"content": b"\xff\xfe"}, 400, t.PARSE_ERROR),
        ({"content": b"[" * 100_000}, 400, t.PARSE_ERROR),
        ({"content": b"[]"}, 400, t.INVALID_REQUEST),
        ({"content": b"7"}, 400, t.INVALID_REQUEST),
        ({"content": b'{"jsonrpc": "1.0", "id": 1, "method": "x"}'}, 400, t.INVALID_REQUEST),
        ({"method": "GET"}, 405, t.INVALID_REQUEST),
        ({"method": "DELETE"}, 405, t.INVALID_REQUEST),
        ({"method": "PUT"}, 405, t.INVALID_REQUEST),
    ],
)
async def test_a_request_that_is_wrong_says_how(home: Path, change: dict[str, Any], status: int, code: int) -> None:
    """As JSON-RPC, which clients show, with what to do next; the next request works."""
    sent = modern("tools/call", {"name": "list_datasets", "arguments": {}})
    body = json.dumps(sent["json"]).encode() if "content" not in change else change["content"]
    headers = {"content-type": "application/json", **sent["headers"], **change.get("headers", {})}
    headers = {name: value for name, value in headers.items() if value is not None}
    async with serving(home) as served:
        answer = await served.client.request(change.get("method", "POST"), "/mcp", content=body, headers=headers)
        found = rpc_error(answer, status)
        assert found["code"] == code and found["message"]
        if status == 405:
            assert answer.headers["allow"] == "POST"
        await works(served)


@pytest.mark.parametrize("version", ["2099-01-01", "nonsense"])
async def test_a_protocol_version_nobody_knows(home: Path, version: str) -> None:
    """It says which there are."""
    sent = modern("tools/call", {"name": "list_datasets", "arguments": {}}, mcp_protocol_version=version)
    sent["json"]["params"]["_meta"] = {**META, "io.modelcontextprotocol/protocolVersion": version}
    async with serving(home) as served:
        found = rpc_error(await served.client.post("/mcp", **sent), 400)
        assert found["code"] == -32022 and MODERN in found["data"]["supported"]
        await works(served)


async def test_headers_that_come_twice_are_refused(home: Path) -> None:
    sent = modern("tools/call", {"name": "list_datasets", "arguments": {}})
    async with serving(home) as served:
        headers = [*sent["headers"].items(), ("mcp-name", "list_datasets")]
        answer = await served.client.post("/mcp", json=sent["json"], headers=headers)
        assert rpc_error(answer, 400)["code"] == -32020
        await works(served)


@pytest.mark.parametrize("version", [LEGACY, MODERN])
async def test_bodies_over_the_limit(home: Path, version: str) -> None:
    """By what it says of its length, and by what comes; the setting is named. Nothing of it is kept."""
    headers = {"accept": ACCEPT, "mcp-protocol-version": version, "content-type": "application/json"}

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    async with serving(home, server__max_request_bytes=10_240) as served:
        for content in (b" " * 10_241, endless()):
            answer = await served.client.post("/mcp", content=content, headers=headers)
            found = rpc_error(answer, 413)
            assert "server.max_request_bytes" in found["message"] and found["data"]["title"] == "too_large"
        await works(served)


async def test_a_body_of_100_mb_is_refused_unread(home: Path) -> None:
    async with serving(home) as served:
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await stream.send(f"{head}Content-Length: 100000000\r\n\r\n".encode())
        with anyio.fail_after(WITHIN):
            assert (await stream.receive()).startswith(b"HTTP/1.1 413 ")
        await stream.aclose()
        await works(served)


async def test_sessions_are_few_and_end(home: Path) -> None:
    """One too many is told when to come back; there is room again when one ends."""
    async with serving(home, server__max_sessions=2) as served:
        first, second = await served.open_session(), await served.open_session(path="/mcp?toolsets=core")
        assert first.status_code == second.status_code == 200
        third = await served.open_session()
        assert "server.max_sessions" in rpc_error(third, 503)["message"] and third.headers["retry-after"]
        await works(served)  # the era without sessions is not concerned
        ended = {"mcp-session-id": first.headers["mcp-session-id"]}
        assert (await served.client.delete("/mcp", headers=ended)).status_code == 200
        assert (await served.client.delete("/mcp", headers=ended)).status_code == 404
        assert (await served.open_session()).status_code == 200


async def test_a_session_ended_while_it_answers_leaves_room(home: Path, tmp_path: Path) -> None:
    """The answer still on its way names the session, which is not open again by that."""
    async with serving(home, server__max_sessions=1, plugins__folders=[str(probe(tmp_path / "project"))]) as served:
        opened = await served.open_session()
        headers = {"mcp-session-id": opened.headers["mcp-session-id"], "accept": ACCEPT}
        call = {"name": "probe_gate", "arguments": {"folder": str(tmp_path)}}
        asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
        async with anyio.create_task_group() as group:
            group.start_soon(partial(served.client.post, "/mcp", json=asked, headers=headers))
            await until(tmp_path / "began")
            assert (await served.client.delete("/mcp", headers=headers)).status_code == 200
        assert (await served.open_session()).status_code == 200


async def test_an_idle_session_is_over(home: Path) -> None:
    async with serving(home, server__max_sessions=1, server__session_idle_secs=0.1) as served:
        opened = await served.open_session()
        headers = {"mcp-session-id": opened.headers["mcp-session-id"], "accept": ACCEPT}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        with anyio.fail_after(WITHIN):
            while (await served.open_session()).status_code != 200:
                await anyio.sleep(0.02)
            assert (await served.client.post("/mcp", json=ping, headers=headers)).status_code == 404


async def test_a_session_is_its_view_s_alone(home: Path) -> None:
    """A session that saw one toolset is not there for another."""
    async with serving(home) as served:
        opened = await served.open_session(path="/mcp?toolsets=core")
        headers = {"mcp-session-id": opened.headers["mcp-session-id"], "accept": ACCEPT}
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert (await served.client.post("/mcp?toolsets=core", json=listing, headers=headers)).status_code == 200
        assert (await served.client.post("/mcp", json=listing, headers=headers)).status_code == 404


async def test_views_that_nobody_uses_make_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.faces.http.endpoint.MAX_VIEWS", 2)
    async with serving(home) as served:
        for toolsets in ("core", "data", "sql", "core", "data"):
            assert (await served.rpc("tools/list", path=f"/mcp?toolsets={toolsets}")).status_code == 200
        for toolsets in ("core", "data"):
            assert (await served.open_session(path=f"/mcp?toolsets={toolsets}")).status_code == 200
        refused = await served.rpc("tools/list", path="/mcp?toolsets=sql")
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert (await served.rpc("tools/list", path="/mcp?toolsets=core")).status_code == 200
