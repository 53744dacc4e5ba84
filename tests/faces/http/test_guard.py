"""Who may come in over HTTP: names, pages, addresses and tokens, on the service API and on MCP alike."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.faces.http.serving import Served, probe, serving

from lakehouse import config
from lakehouse.faces.http.drain import Drain
from lakehouse.faces.http.guard import Guard

pytestmark = pytest.mark.anyio
TOKEN = "t0ken-of-the-one"
RIGHT = f"Bearer {TOKEN}"
Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture(params=["rest", "mcp"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """`await ask(served, **headers)`: who calls, by either surface."""

    async def asked(served: Served, **headers: str) -> httpx.Response:
        if request.param == "rest":
            return await served.rest("probe.caller", None, **headers)
        return await served.tool("probe_caller", None, **headers)

    return asked


def who(answer: httpx.Response) -> dict[str, Any]:
    found = answer.json()
    return dict(found["result"]["structuredContent"] if "result" in found else found)


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = dict(answer.json())
    assert found["status"] == status and found["detail"] and found["fix"]
    return found


async def test_without_settings_everybody_of_this_machine_may_call(home: Path, tmp_path: Path, ask: Ask) -> None:
    """A-S39-1, A-S39-2: pass-through."""
    async with serving(home, plugins__folders=[str(probe(tmp_path))]) as served:
        found = who(await ask(served))
    via = found.pop("via")
    assert via in ("http", "mcp") and found == {"remote": False, "read_only": False, "toolsets": []}


@pytest.mark.slow
async def test_a_token_must_be_carried_whole_and_once(home: Path, tmp_path: Path, ask: Ask) -> None:
    """A-S39-1, A-S39-2: missing, wrong, right and raw; a challenge tells clients what to send."""
    async with serving(home, plugins__folders=[str(probe(tmp_path))], auth__token=TOKEN) as served:
        wrong = [
            {},
            {"authorization": ""},
            {"authorization": TOKEN},
            {"authorization": f"bearer {TOKEN}"},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": f"Bearer  {TOKEN}"},
            {"authorization": "Bearer"},
            {"authorization": f"{RIGHT}x"},
            {"authorization": RIGHT[:-1]},
            {"authorization": f"{RIGHT}, {RIGHT}"},
        ]
        for headers in wrong:
            answer = await ask(served, **headers)
            refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text
        assert (await ask(served, authorization=RIGHT)).status_code == 200


@pytest.mark.slow
async def test_tokens_of_every_wrong_shape_are_refused_and_the_next_request_works(home: Path) -> None:
    """Twice, not ASCII, 100 KB, and with bytes no header should have."""
    async with serving(home, auth__token=TOKEN) as served:
        shapes: list[list[tuple[bytes, bytes]]] = [
            [(b"Authorization", RIGHT.encode()), (b"Authorization", RIGHT.encode())],
            [(b"Authorization", "Bearer tökén".encode())],
            [(b"Authorization", b"Bearer \xff\xfe")],
            [(b"Authorization", b"Bearer " + b"x" * 60_000)],
            [(b"Authorization", b"Bearer " + b"x" * 100_000)],
        ]
        for headers in shapes:
            async with httpx.AsyncClient(base_url=served.url) as client:
                answer = await client.get("/v1/matrix/corpora", headers=headers)
            assert answer.status_code in (401, 431), answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            again = await served.client.post("/v1/call/sql.query", json={"sql": "x"}, headers={"authorization": RIGHT})
            assert again.status_code == 400


async def test_health_is_public(home: Path) -> None:
    """A-S39-1: neither token, nor address, nor name."""
    async with serving(home, auth__token=TOKEN, auth__allowed_ips=["10.0.0.0/8"]) as served:
        assert (await served.client.get("/health", headers={"host": "foreign.example"})).status_code == 200
        for path in ("/health/", "//health", "/Health", "/v1/call/health", "/mcp"):
            assert (await served.client.get(path)).status_code == 403


@pytest.mark.parametrize(
    ("allowed", "status"),
    [
        (["127.0.0.0/8"], 200),
        (["10.0.0.0/8"], 403),
        (["127.0.0.1"], 200),
        (["not an address", "127.0.0.1"], 200),
        (["not an address", "127.0.0.1/99"], 403),
        (["::ffff:127.0.0.1"], 200),
    ],
    ids=["network", "other network", "bare address", "an invalid entry is dropped", "all are invalid", "mapped"],
)
async def test_addresses(home: Path, tmp_path: Path, ask: Ask, allowed: list[str], status: int) -> None:
    """A-S39-1, A-S39-2, A-S39-5: a list of which nothing can be read denies everybody."""
    async with serving(home, plugins__folders=[str(probe(tmp_path))], auth__allowed_ips=allowed) as served:
        answer = await ask(served, x_forwarded_for="10.0.0.1")
        assert answer.status_code == status
        if status == 403:
            assert "auth.allowed_ips" in refused(answer, 403)["fix"]


@pytest.mark.slow
async def test_both_layers_apply(home: Path, tmp_path: Path, ask: Ask) -> None:
    """A-S39-1, A-S39-2: the right token from the wrong place, the wrong token from the right one."""
    folders = [str(probe(tmp_path))]
    async with serving(home, plugins__folders=folders, auth__token=TOKEN, auth__allowed_ips=["10.0.0.1"]) as served:
        refused(await ask(served, authorization=RIGHT), 403)
    async with serving(home, plugins__folders=folders, auth__token=TOKEN, auth__allowed_ips=["127.0.0.1"]) as served:
        refused(await ask(served), 401)
        assert (await ask(served, authorization=RIGHT)).status_code == 200


async def test_a_proxy_that_is_trusted_names_the_caller(home: Path, tmp_path: Path, ask: Ask) -> None:
    settings = {"auth__trusted_proxies": ["127.0.0.1"], "auth__allowed_ips": ["203.0.113.0/24"]}
    async with serving(home, plugins__folders=[str(probe(tmp_path))], **settings) as served:
        assert who(await ask(served, **{"x-forwarded-for": "203.0.113.9"}))["remote"] is True
        refused(await ask(served, **{"x-forwarded-for": "198.51.100.9"}), 403)
        refused(await ask(served), 403)


@pytest.mark.parametrize("header", ["forwarded", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto"])
async def test_whom_a_proxy_does_not_name_is_not_at_this_machine(home: Path, tmp_path: Path, header: str) -> None:
    """Else everybody on the other side of it could name files of this one."""
    async with serving(home, plugins__folders=[str(probe(tmp_path))]) as served:
        for value in ("127.0.0.1", "1.1 proxy"):
            called = await served.client.post("/v1/call/probe.caller", json={}, headers={header: value})
            assert who(called)["remote"] is True


async def test_foreign_names_and_pages_are_refused_everywhere(home: Path, tmp_path: Path, ask: Ask) -> None:
    """A-S39-4: a page that made its name ours (DNS rebinding) gets nothing, be it MCP or the service API."""
    async with serving(home, plugins__folders=[str(probe(tmp_path))]) as served:
        found = refused(await ask(served, host="evil.example"), 421)
        assert "server.allowed_hosts" in found["fix"]
        refused(await ask(served, host=f"evil.example:{served.port}", origin=f"http://evil.example:{served.port}"), 421)
        refused(await ask(served, origin="https://evil.example"), 403)
        refused(await ask(served, origin="null"), 403)
        for host in ("localhost", f"localhost:{served.port}", "127.0.0.1:1", "[::1]"):
            assert (await ask(served, host=host)).status_code == 200
        assert (await served.client.get("/nothing", headers={"host": "evil.example"})).status_code == 421


async def test_a_browser_on_an_allowed_page_can_talk_mcp(home: Path) -> None:
    """Preflights need no token; what a script must read is exposed; a refusal can be read, too."""
    page = "https://app.example.com"
    async with serving(home, auth__token=TOKEN, server__allowed_origins=[page]) as served:
        asked = {
            "origin": page,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,mcp-protocol-version,mcp-param-region",
        }
        preflight = await served.client.options("/mcp", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == page
        allowed = preflight.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
        assert {"authorization", "mcp-protocol-version", "mcp-param-region"} <= set(allowed)
        assert "DELETE" in preflight.headers["access-control-allow-methods"]
        assert (
            await served.client.options("/mcp", headers={**asked, "origin": "https://evil.example"})
        ).status_code == 403
        opened = await served.open_session(authorization=RIGHT, origin=page)
        assert opened.headers["access-control-allow-origin"] == page
        exposed = {name.strip().lower() for name in opened.headers["access-control-expose-headers"].split(",")}
        assert {"mcp-session-id", "retry-after", "etag", "www-authenticate"} <= exposed
        answer = await served.open_session(origin=page)
        assert refused(answer, 401) and answer.headers["access-control-allow-origin"] == page
        assert "access-control-allow-origin" not in (await served.open_session(authorization=RIGHT)).headers


@pytest.mark.slow
async def test_each_token_opens_what_is_its_own(home: Path, tmp_path: Path) -> None:
    """Toolsets and read-only of a token hold over REST and over MCP, where they also shape what is listed."""
    tokens = [
        {"name": "reader", "token": "reading-token", "read_only": True},
        {"name": "asker", "token": "asking-token", "toolsets": ["core"]},
    ]
    reader, asker = "Bearer reading-token", "Bearer asking-token"
    async with serving(home, plugins__folders=[str(probe(tmp_path))], auth__token=TOKEN, auth__tokens=tokens) as served:
        assert who(await served.rest("probe.caller", authorization=reader))["read_only"] is True
        assert who(await served.rest("probe.caller", authorization=asker))["toolsets"] == ["core"]
        for token, status in ((RIGHT, 200), (reader, 403), (asker, 403)):
            assert (await served.rest("probe.change", authorization=token)).status_code == status
            listed = (await served.rpc("tools/list", authorization=token)).json()["result"]
            assert ("probe_change" in {tool["name"] for tool in listed["tools"]}) is (status == 200)
            assert listed["cacheScope"] == "private"  # a shared cache would show one holder the list of another
            called = (await served.tool("probe_change", authorization=token)).json()
            assert ("error" in called or called["result"].get("isError", False)) is (status == 403)
        wider = await served.rpc("tools/list", path="/mcp?toolsets=admin", authorization=asker)
        assert wider.status_code == 400 and "core" in wider.json()["error"]["message"]


async def test_what_stands_beside_tools_is_as_open_as_they_are(home: Path) -> None:
    """A token without the tools of storage and vectors reads neither their downloads nor their resources."""
    tokens = [{"name": "asker", "token": "asking-token", "toolsets": ["sql"]}]
    asker = "Bearer asking-token"
    async with serving(home, auth__token=TOKEN, auth__tokens=tokens) as served:
        kept = "/v1/storage/object/kept.txt"
        assert (await served.client.put(kept, content=b"kept", headers={"authorization": RIGHT})).status_code == 200
        assert (await served.client.get(kept, headers={"authorization": RIGHT})).text == "kept"
        assert "data" in refused(await served.client.get(kept, headers={"authorization": asker}), 403)["fix"]
        for uri, status in (("lakehouse://datasets", 200), ("lakehouse://guide", 200), ("lakehouse://indexes", 400)):
            assert (await served.rpc("resources/read", {"uri": uri}, authorization=RIGHT)).status_code == 200
            assert (await served.rpc("resources/read", {"uri": uri}, authorization=asker)).status_code == status
            listed = (await served.rpc("resources/list", authorization=asker)).json()["result"]["resources"]
            assert (uri in {resource["uri"] for resource in listed}) is (status == 200)


async def test_what_is_no_tool_is_open_with_the_tools_beside_it(home: Path) -> None:
    """A download, a resource and a completion give a token nothing that the tools of their file would not."""
    tokens = [{"name": name, "token": f"{name}-token", "toolsets": [name]} for name in ("data", "retrieval")]
    column = {"ref": {"type": "ref/resource", "uri": "lakehouse://datasets/{name}"}}
    async with serving(home, auth__tokens=tokens) as served:
        file = {"file": ("t.csv", b"n\n1\n")}
        data, retrieval = "Bearer data-token", "Bearer retrieval-token"
        put = await served.client.put("/v1/storage/object/k", content=b"x", headers={"authorization": data})
        made = await served.client.post(
            "/v1/ingest", files=file, data={"name": "numbers"}, headers={"authorization": data}
        )
        assert put.is_success and made.is_success
        for token, status in ((data, 200), (retrieval, 403)):
            got = await served.client.get("/v1/storage/object/k", headers={"authorization": token})
            assert got.status_code == status
            for uri in ("lakehouse://datasets", "lakehouse://datasets/numbers/sample"):
                read = (await served.rpc("resources/read", {"uri": uri}, authorization=token)).json()
                assert ("error" in read) is (status == 403), read
            typed = {**column, "argument": {"name": "name", "value": ""}}
            found = (await served.rpc("completion/complete", typed, authorization=token)).json()
            if status == 200:
                assert found["result"]["completion"]["values"] == ["numbers"]
            else:
                assert found["error"]["code"] == -32602  # it is not shown, so there is nothing of the name
            listed = (await served.rpc("resources/list", authorization=token)).json()["result"]["resources"]
            assert ("lakehouse://datasets/numbers" in {each["uri"] for each in listed}) is (status == 200)
            guide = await served.rpc("resources/read", {"uri": "lakehouse://guide"}, authorization=token)
            assert "result" in guide.json()  # beside no tool: open to everybody


async def test_a_session_is_its_token_s_alone(home: Path, tmp_path: Path) -> None:
    """A session that one token opened is unknown to another, as one that never was."""
    tokens = [{"name": "b", "token": "token-b"}, {"name": "c", "token": "token-c"}]
    async with serving(home, auth__tokens=tokens) as served:
        opened = await served.open_session(authorization="Bearer token-b")
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "accept": "application/json, text/event-stream"}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}

        async def ping_with(token: str) -> httpx.Response:
            return await served.client.post("/mcp", json=ping, headers={**session, "authorization": f"Bearer {token}"})

        assert (await ping_with("token-b")).status_code == 200
        assert (await ping_with("token-c")).status_code == 404
        deleted = await served.client.delete("/mcp", headers={**session, "authorization": "Bearer token-c"})
        assert deleted.status_code == 404
        assert (await ping_with("token-b")).status_code == 200


async def test_a_token_leaves_by_no_way_there_is(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in an answer, not in a log line, not in the record of calls, not in the listing of settings."""
    with caplog.at_level(logging.DEBUG, "lakehouse"):
        tokens = [{"name": "b", "token": "the-second-token"}]
        async with serving(
            home, plugins__folders=[str(probe(tmp_path))], auth__token=TOKEN, auth__tokens=tokens
        ) as served:
            said = [
                await served.rest("probe.quote", {"text": f"{TOKEN} and the-second-token"}, authorization=RIGHT),
                await served.tool("probe_quote", {"text": f"{TOKEN} and the-second-token"}, authorization=RIGHT),
                await served.rest(TOKEN, authorization=RIGHT),
                await served.rest("probe.caller", {TOKEN: 1}, authorization=RIGHT),
                await served.client.get(f"/v1/{TOKEN}", headers={"authorization": f"Bearer {TOKEN}x"}),
            ]
            assert [answer.status_code for answer in said] == [502, 200, 404, 400, 401]
            shown = json.dumps(config.listing(served.lake.settings))
        assert "[redacted]" in said[0].text and "[redacted]" in said[1].text
        everywhere = [*(answer.text for answer in said), *caplog.messages, shown]
        everywhere += [path.read_bytes().decode("latin-1") for path in home.rglob("*") if path.is_file()]
    assert len(everywhere) > 6
    for text in everywhere:
        assert TOKEN not in text and "the-second-token" not in text


async def test_what_nobody_foresaw_is_a_problem_with_an_id(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(home) as served:

        async def fail(*_: Any, **__: Any) -> Any:
            raise RuntimeError("the secret reason")

        monkeypatch.setattr(served.lake, "answer", fail)
        monkeypatch.setattr(served.lake, "call", fail)
        for answer in (
            await served.rest("sql.query", {"sql": "SELECT 1"}),
            await served.client.get("/v1/storage/object/a%0aERROR%20a%20line%20of%20its%20own" + "x" * 5000),
        ):
            found = refused(answer, 500)
            assert "secret" not in json.dumps(found) and found["detail"].split()[-1].rstrip(").") in caplog.text
        assert len(caplog.messages) == 2
        for message in caplog.messages:
            assert message.startswith("http.failed") and "\n" not in message and len(message) < 300


async def test_an_answer_that_the_server_s_end_cuts_off_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A call that has begun to answer cannot say why it ends; the connection's end says that it did."""
    begun, drain = anyio.Event(), Drain()

    async def endless(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await anyio.sleep_forever()

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def drop(_: Any) -> None:
        pass

    guard = Guard(endless, config.Config(), drain)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")], "client": None}
    request = asyncio.create_task(guard(scope, gone, drop))
    await begun.wait()
    drain.begin()
    request.cancel()
    await request
    assert caplog.messages == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/call/sql.query", "/mcp"])
async def test_a_client_that_goes_in_the_middle_of_a_body_is_no_failure(
    home: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async with serving(home) as served:
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nContent-Type: application/json"
        await stream.send(f"{head}\r\nAccept: application/json, text/event-stream\r\n\r\n{{".encode())
        await stream.aclose()
        assert (await served.rest("sql.query", {"sql": "x"})).status_code == 400
    assert caplog.messages == []
