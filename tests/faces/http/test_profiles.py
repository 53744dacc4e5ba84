"""Profiles over HTTP and MCP: chosen by a header or an address, or bound to a token."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faces.http.answering import client_of
from tests.tables import commit

import lakehouse

pytestmark = pytest.mark.anyio
HEADER = "X-Lakehouse-Profile"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
}


@pytest.fixture
async def client(home: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Buckets eu and us with a dataset of one name; a token of eu, of a profile that sees little, and of all."""
    tokens = [{"name": n, "token": f"{n}-token", "profile": n} for n in ("eu", "few")]
    overrides: dict[str, Any] = {
        "storage.buckets": [{"name": name, "url": (tmp_path / name).as_uri()} for name in ("eu", "us")],
        "auth.tokens": [*tokens, {"name": "ann", "token": "ann-token"}],
    }
    async with lakehouse.open(home, overrides=overrides) as lake:
        for name, datasets in (("eu", None), ("us", None), ("few", ["nothing"])):
            given = {"name": name, "bucket": "us" if name == "us" else "eu", "datasets": datasets}
            await lake.call("set_profile", {key: value for key, value in given.items() if value is not None})
        for name, who in (("eu", ["anna"]), ("us", ["bob", "bill"])):
            async with lake.within(name):
                await commit(lake, "people", {"who": who})
        async with client_of(lake) as opened:
            yield opened


def asks(token: str, profile: str | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}-token"} | ({HEADER: profile} if profile is not None else {})


async def count(client: httpx.AsyncClient, headers: dict[str, str]) -> Any:
    answer = await client.post("/v1/sql", json={"sql": "SELECT count(*) FROM people"}, headers=headers)
    return answer.json()["rows"][0][0] if answer.status_code == 200 else answer.status_code


async def tool(client: httpx.AsyncClient, headers: dict[str, str], query: str = "", name: str = "query_sql") -> Any:
    params = {"name": name, "arguments": {"sql": "SELECT count(*) FROM people"}, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    mcp = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": name,
    }
    answer = await client.post(f"/mcp{query}", json=body, headers={**headers, **mcp})
    found = answer.json()
    if "result" not in found:
        return answer.status_code, found["error"]["message"]
    content = found["result"].get("structuredContent")
    return content["rows"][0][0] if content else found["result"]["content"][0]["text"]


@pytest.mark.slow
async def test_who_sees_what(client: httpx.AsyncClient) -> None:
    """A-S27-1 over REST and MCP: by header, by address, by token; who is bound cannot choose."""
    assert await count(client, asks("ann", "us")) == 2 and await count(client, asks("ann", "eu")) == 1
    assert await count(client, asks("ann")) == 1 and await count(client, asks("eu")) == 1
    assert await count(client, asks("eu", "eu")) == 1 and await count(client, asks("eu", "us")) == 403
    assert await count(client, asks("ann", "none")) == 404 and await count(client, asks("few")) == 400
    assert await count(client, asks("ann", "")) == 400
    assert await tool(client, asks("ann"), "?profile=us") == 2 and await tool(client, asks("eu")) == 1
    assert await tool(client, asks("ann", "us"), "?profile=us") == 2
    for headers, query in ((asks("eu"), "?profile=us"), (asks("ann", "eu"), "?profile=us")):
        status, said = await tool(client, headers, query)
        assert status in (400, 403) and "bound to profile 'eu'" in said
    status, said = await tool(client, asks("ann"), "?profile=us&profile=eu")
    assert "one name is wanted" in said
    answer = await client.post("/v1/sql", json={"sql": "FROM people", "profile": "us"}, headers=asks("eu"))
    assert answer.status_code == 403
    twice = [(HEADER, "eu"), (HEADER, "us"), ("Authorization", "Bearer ann-token")]
    assert (await client.get("/v1/catalog/list", headers=twice)).status_code == 400


async def test_what_is_about_everybody(client: httpx.AsyncClient) -> None:
    """Figures and the state of the parts tell of others; objects come with their bucket."""
    assert (await client.get("/metrics", headers=asks("eu"))).status_code == 403
    assert (await client.get("/metrics", headers=asks("ann"))).status_code == 200
    assert (await client.get("/ready", headers=asks("eu"))).json()["parts"] == []
    assert len((await client.get("/ready", headers=asks("ann"))).json()["parts"]) > 3
    await client.put("/v1/storage/object/x", content=b"eu's", headers=asks("eu"))
    assert (await client.get("/v1/storage/object/x", headers=asks("eu"))).content == b"eu's"
    assert (await client.get("/v1/storage/object/x", headers=asks("ann", "us"))).status_code == 404
    assert (await client.get("/v1/storage/object/x?bucket=eu", headers=asks("ann", "us"))).status_code == 404
    assert (await client.get("/v1/storage/object/eu%3A%2F%2Fx", headers=asks("ann", "us"))).status_code in (400, 404)
    assert (await client.get("/v1/storage/object/x", headers=asks("few"))).status_code == 403
    buckets = (await client.get("/v1/storage/buckets", headers=asks("few"))).json()["buckets"]
    assert [bucket["name"] for bucket in buckets] == ["eu"]


@pytest.mark.slow
async def test_queries_that_others_published_are_not_told_of(client: httpx.AsyncClient) -> None:
    """The list of tools and the description of routes name no data of others; nor does what is meant by a slip."""
    saved = {"name": "secret_people", "question": "How many secret people?", "sql": "SELECT count(*) FROM people"}
    assert (await client.post("/v1/queries", json=saved, headers=asks("ann"))).status_code == 200
    assert "secret" in (await client.get("/v1/queries", headers=asks("ann"))).text
    for path in ("/v1/queries", "/openapi.json", "/v1/observer/workflow/modes"):
        assert "secret_people" not in (await client.get(path, headers=asks("few"))).text
    answer = await client.post("/v1/call/queries.secret_peopl", json={}, headers=asks("few"))
    assert answer.status_code == 404 and "secret_people" not in answer.text
    answer = await client.post("/v1/queries/secret_people/run", json={}, headers=asks("few"))
    assert answer.status_code == 404


@pytest.mark.slow
async def test_the_journal_names_the_token(client: httpx.AsyncClient) -> None:
    """S28.1: the actor is the token's name, whatever a caller says."""
    await client.post("/v1/ingest", json={"name": "later", "content": "a\n1\n"}, headers=asks("eu"))
    given = {"action": "x", "entity_type": "y", "entity_id": "z", "actor": "root"}
    assert (await client.post("/v1/journal", json=given, headers=asks("ann"))).status_code == 400
    del given["actor"]
    made = await client.post("/v1/journal", json=given, headers=asks("ann"))
    assert made.status_code == 201 and made.json()["actor"] == "ann" and made.json()["appended"]
    events = (await client.get("/v1/journal?entity_id=later", headers=asks("ann"))).json()["events"]
    assert [(e["actor"], e["action"]) for e in events] == [("eu", "ingest")]
    assert (await client.get("/v1/journal", headers=asks("eu"))).status_code == 403
