"""The service API: paths, queries and bodies become arguments; results and errors become answers."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from tests.faces.http.answering import app_of, asked, client_of, port_of, problem

import lakehouse
from lakehouse import Lakehouse
from lakehouse.faces.http import rest
from lakehouse.faces.http.rest.paths import Paths, Template, decoded

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}

# What other software calls these parts by.
ROUTES = """
PUT /v1/storage/object/{key}     GET /v1/storage/object/{key}     DELETE /v1/storage/object/{key}
GET /v1/storage/list             GET /v1/storage/buckets
POST /v1/catalog/register        GET /v1/catalog/manifest/{name}  GET /v1/catalog/list
POST /v1/ingest                  POST /v1/sql
POST /v1/vectors/index           GET /v1/vectors/index            GET /v1/vectors/index/{name}
DELETE /v1/vectors/index/{name}  POST /v1/vectors/index/{index}/add
POST /v1/vectors/index/{index}/search                             GET /v1/vectors/index/{index}/item/{id}
DELETE /v1/vectors/index/{index}/item/{id}
POST /v1/embed                   GET /v1/embed/stats              POST /v1/corpora/build
POST /v1/matrix/search           GET /v1/matrix/corpora           GET /v1/observer/stats
GET /v1/observer/recent          GET /v1/results/{id}             GET /v1/doctor
POST /v1/call/{capability}
"""


@pytest.fixture
async def trying(home: Path, trial: Path) -> AsyncIterator[Lakehouse]:
    """A lake with the trial tools."""
    async with lakehouse.open(home, overrides={"plugins.folders": [trial], "embed.provider": "hash"}) as opened:
        yield opened


@pytest.fixture
async def client(trying: Lakehouse) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(trying) as opened:
        yield opened


@pytest.fixture
async def app(trying: Lakehouse) -> AsyncIterator[Starlette]:
    async with app_of(trying) as made:
        yield made


async def test_the_routes_others_know_are_there(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    wanted = set(re.findall(r"[A-Z]+ /\S+", ROUTES))
    assert wanted <= there, wanted - there


@pytest.mark.slow
async def test_every_tool_has_a_route_and_answers_there(client: httpx.AsyncClient, trying: Lakehouse) -> None:
    for capability in trying.catalogue.public():
        path = re.sub(r"\{\w+(:path)?\}", "x", capability.route)
        answer = await client.request(capability.method, path, content=b"{", headers=JSON)
        assert answer.status_code not in (404, 405) or answer.json()["title"] == "not_found", capability.name


@pytest.mark.slow
async def test_file_to_rows(trying: Lakehouse) -> None:
    """A-S4-3: through one port an object is put, made a dataset and queried."""
    async with port_of(trying) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await file_to_rows(client)


async def file_to_rows(client: httpx.AsyncClient) -> None:
    rows = "\n".join(f"{i},Worker {i:06}" for i in range(123, 130))
    put = await client.put("/v1/storage/object/in/workers.csv", content=f"worker_id,name\n{rows}\n")
    assert put.status_code == 200 and put.json()["key"] == "in/workers.csv"
    made = await client.post("/v1/catalog/register", json={"name": "workers", "objects": [{"key": "in/workers.csv"}]})
    assert made.json()["row_count"] == 7 and made.json()["existing"] is False
    found = await client.post("/v1/sql", json={"sql": "SELECT name FROM workers ORDER BY worker_id"})
    assert found.json()["rows"][0] == ["Worker 000123"]
    assert (await client.get("/v1/catalog/manifest/workers?version=1")).json()["row_count"] == 7


async def test_statuses_of_success(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/vectors/index", json={"name": "v", "dimension": 2})
    assert made.status_code == 201 and made.json()["name"] == "v"
    problem(await client.post("/v1/vectors/index", json={"name": "v", "dimension": 2}), 409)
    items = {"items": [{"id": "a/b c'%2F", "vector": [1, 0]}, {"id": "b", "vector": [0, 1]}]}
    assert (await client.post("/v1/vectors/index/v/add", json=items)).json() == {"added": 2, "updated": 0}
    hits = await client.post("/v1/vectors/index/v/search", json={"vector": [1, 0], "k": 1})
    assert [hit["id"] for hit in hits.json()["results"]] == ["a/b c'%2F"]
    item = "/v1/vectors/index/v/item/" + quote("a/b c'%2F")
    assert (await client.get(item)).json()["vector"] == [1.0, 0.0]
    gone = await client.delete(item)
    assert (gone.status_code, gone.content) == (204, b"") and "content-type" not in gone.headers
    problem(await client.get(item), 404)
    assert (await client.delete("/v1/vectors/index/v")).status_code == 204
    problem(await client.delete("/v1/vectors/index/v"), 404)


NAMES: list[Any] = ["plain", "a b", 'o\'brien "x"', "grün", "50%", "a%2Fb", "a+b", "日本", "x?y#z&w=1"]


@pytest.mark.slow
async def test_names_in_paths_are_decoded_once(client: httpx.AsyncClient) -> None:
    """A-S5-6 over HTTP, and the same for datasets."""
    for name in NAMES:
        made = await client.post("/v1/ingest", json={"name": name, "content": "a\n1\n"})
        assert made.status_code == 200, made.text
        found = await client.get(f"/v1/catalog/manifest/{quote(name, safe='')}")
        assert found.json()["name"] == name
        key = f"in {name}/{name}.txt"
        at = "/v1/storage/object/" + "/".join(quote(part, safe="") for part in key.split("/"))
        assert (await client.put(at, content=name.encode())).json()["key"] == key
        assert (await client.get(at)).content.decode() == name
        assert (await client.get(at.replace("/object/in", "/object/%69n"))).content.decode() == name


async def test_a_slash_in_a_name_is_one_however_it_is_written(client: httpx.AsyncClient) -> None:
    assert (await client.put("/v1/storage/object/a%2Fb", content=b"x")).json()["key"] == "a/b"
    assert (await client.get("/v1/storage/object/a/b")).content == b"x"
    assert (await client.put("/v1/storage/object/a%252Fb", content=b"y")).json()["key"] == "a%2Fb"
    listed = await client.get("/v1/storage/list", params={"prefix": "a"})
    assert [entry["key"] for entry in listed.json()["objects"]] == ["a%2Fb", "a/b"]
    problem(await client.get("/v1/catalog/manifest/a%2Fb"), 400)
    assert "not UTF-8" in problem(await client.get("/v1/catalog/manifest/%ff"), 400)["detail"]


KEYS: list[Any] = ["", "%2Fa", "a/%2E%2E/b", "a//b", "%00", "a%0Ab", "a%7Fb", "a%2F..%2Fb", "x" * 1025]


async def test_keys_that_are_none(client: httpx.AsyncClient) -> None:
    """A-S5-6 over HTTP: every verb refuses them."""
    for key in KEYS:
        at = httpx.URL("http://127.0.0.1:3110", raw_path=f"/v1/storage/object/{key}".encode())
        for method in ("PUT", "GET", "DELETE"):
            assert "key" in problem(await client.request(method, at), 400)["detail"]


async def test_queries_are_typed_by_the_schema(client: httpx.AsyncClient) -> None:
    for name in ("5", "true", "null"):
        await client.put(f"/v1/storage/object/{name}", content=b"x")
    one = await client.get("/v1/storage/list", params={"prefix": "5", "limit": "1"})
    assert [entry["key"] for entry in one.json()["objects"]] == ["5"]
    assert [e["key"] for e in (await client.get("/v1/storage/list?after=5&limit=1")).json()["objects"]] == ["null"]
    assert (await client.get("/v1/observer/recent?failed=true")).json()["count"] == 0
    assert (await client.post("/v1/trial/add?a=1&b=40")).json() == {"total": 41}
    texts = await client.post("/v1/trial/keep?items=a&items=b%2Cc&items=5")
    assert texts.json()["items"] == ["a", "b,c", "5"]
    assert (await client.post("/v1/trial/keep", params={"items": '["a","b"]'})).json()["items"] == ["a", "b"]
    assert (await client.post("/v1/trial/keep?items=[a")).json()["items"] == ["[a"]
    objects = await client.post("/v1/trial/keep", params={"items": "a", "options": '{"x":[1]}'})
    assert objects.json()["note"] == "{'x': [1]}"


QUERIES: list[Any] = [
    ("limt=1", "limt: there is no such argument"),
    ("limit=1&limit=2", "limit: it is given 2 times"),
    ("limit=many", "limit: Input should be a valid integer"),
    ("limit=NaN", "limit: Input should be a finite number"),
    ("limit=true", "limit: Value error, a number is wanted"),
    ("limit=0", "limit: Input should be greater than or equal to 1"),
    ("prefix=%ff", "query: it is not UTF-8"),
    ("&".join(f"a{i}=1" for i in range(1001)), "query: it has over 1000 fields"),
]


async def test_queries_that_are_refused(client: httpx.AsyncClient) -> None:
    for query, said in QUERIES:
        found = problem(await client.get(f"/v1/storage/list?{query}"), 400)
        assert found["detail"].startswith(said) and found["fix"]
        if query == "limt=1":
            assert found["fix"] == "Did you mean limit?"


async def test_one_argument_from_two_places(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/trial/add?a=1", json={"a": 1})).json() == {"total": 3}
    assert "a: the path or query" in problem(await client.post("/v1/trial/add?a=1", json={"a": 2}), 400)["detail"]
    assert "name: the path" in problem(await client.get("/v1/catalog/manifest/x?name=y"), 400)["detail"]
    await client.post("/v1/vectors/index", json={"name": "v", "dimension": 1})
    said = {"index": "w", "vector": [1]}
    assert "index: the path" in problem(await client.post("/v1/vectors/index/v/search", json=said), 400)["detail"]
    assert (await client.post("/v1/vectors/index/v/search", json={**said, "index": "v"})).json()["count"] == 0


BODIES: list[Any] = [
    (b'{"sql":"SELECT 1"}', {}, "its content type is missing"),
    (b'{"sql":"SELECT 1"}', {"content-type": "text/plain"}, "its content type is text/plain"),
    (b'{"sql":"SELECT 1"}', {"content-type": "application/jsonx"}, "its content type is application/jsonx"),
    (b'{"sql":"SELECT 1"}', {"content-type": "multipart/form-data; boundary=x"}, "its content type is multipart"),
    (b'{"sql":"SELECT 1"}', {**JSON, "content-encoding": "gzip"}, "its content encoding is gzip"),
    (b"{", JSON, "the body is not JSON"),
    (b'{"sql":"SELECT 1"}{}', JSON, "the body is not JSON"),
    (b'{"params":[NaN]}', JSON, "the body is not JSON"),
    (b'{"params":[-Infinity]}', JSON, "the body is not JSON"),
    (b'{"sql":"\xff"}', JSON, "the body is not JSON"),
    (b'{"sql":"\\ud800"}', JSON, "the body is not JSON"),
    (b'{"params":' + b"[" * 100_000, JSON, "the body is not JSON"),
    (b'{"params":' + b"9" * 5000 + b"}", JSON, "the body is not JSON"),
    (b"[]", JSON, "the body is JSON, but no object"),
    (b"null", JSON, "the body is JSON, but no object"),
    (b'"x"', JSON, "the body is JSON, but no object"),
    (b"", {}, "sql: it is required"),
    (b"", {"content-type": "text/plain"}, "sql: it is required"),
    (b'{"q":"SELECT 1"}', JSON, "sql: it is required; q: there is no such argument"),
    (b'{"sql":1}', JSON, "sql: Input should be a valid string"),
]


@pytest.mark.slow
async def test_bodies_that_are_refused(client: httpx.AsyncClient) -> None:
    """A-S4-5, A-S2-5: a body that is wrong is a 400 that says how, whatever is wrong with it."""
    for body, headers, said in BODIES:
        for route in ("/v1/sql", "/v1/call/query_sql", "/v1/call/sql.query"):
            answer = await client.post(route, content=body, headers=headers)
            assert said in problem(answer, 400)["detail"] and answer.json()["fix"]


KINDS: list[Any] = ["application/json", "application/JSON; charset=utf-8", "application/problem+json"]


async def test_bodies_that_are_json(client: httpx.AsyncClient) -> None:
    for kind in KINDS:
        answer = await client.post("/v1/trial/add", content=b'{"a": 1, "a": 5}', headers={"content-type": kind})
        assert answer.json() == {"total": 7}  # of a name given twice the last value holds


async def test_a_body_over_its_limit_is_not_read(app: Starlette) -> None:
    """The length a request declares is believed before its first byte; without one the limit ends the reading."""
    more = {"type": "http.request", "body": b" " * 2**20, "more_body": True}
    for route, limit in (("/v1/sql", 4), ("/v1/call/sql.query", 4), ("/v1/vectors/index/x/add", 64)):
        declared = JSON | {"content-length": str(limit * 2**20 + 1)}
        status, headers, body, taken = await asked(app, "POST", route, [more] * 100, declared)
        assert (status, taken) == (413, 0) and headers["content-type"] == "application/problem+json"
        assert json.loads(body)["detail"].endswith(f"over the limit of {limit * 2**20} bytes.")
        status, _, _, taken = await asked(app, "POST", route, [more] * 100, JSON)
        assert (status, taken) == (413, limit + 1)
    text = b'{"sql":"' + b" " * 2**17 + b'"}'
    status, _, body, _ = await asked(app, "POST", "/v1/sql", [{"type": "http.request", "body": text}], JSON)
    assert status == 413 and "sql.max_sql_bytes" in json.loads(body)["fix"]


async def test_methods(client: httpx.AsyncClient) -> None:
    refused = await client.put("/v1/sql", json={})
    assert problem(refused, 405)["fix"] == "It takes OPTIONS, POST." and refused.headers["allow"] == "OPTIONS, POST"
    options = await client.options("/v1/storage/object/x")
    assert (options.status_code, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PUT")
    assert (await client.head("/v1/catalog/list")).status_code == 200
    problem(await client.request("BREW", "/v1/sql"), 405)
    problem(await client.post("/openapi.json"), 405)


PATHS: list[Any] = ["/", "/v1", "/v1/", "/v1/sq", "/v1/sql/", "//v1storage", "/v1//sql", "/v1/%73ql", "/%ff"]


async def test_paths_that_lead_nowhere(client: httpx.AsyncClient) -> None:
    for path in PATHS:
        url = httpx.URL("http://127.0.0.1:3110", raw_path=path.encode())
        found = problem(await client.post(url, json={"sql": "SELECT 1"}), 404)
        assert found["title"] == "not_found" and found["fix"]
        if path == "/v1/sq":
            assert "/v1/sql" in found["fix"]


async def test_any_capability_by_name(client: httpx.AsyncClient) -> None:
    for name in ("trial.add", "trial_add"):
        assert (await client.post(f"/v1/call/{name}", json={"a": 1})).json() == {"total": 3}
    unknown = problem(await client.post("/v1/call/trial.ad", json={"a": 1}), 404)
    assert unknown["detail"] == "there is no capability called 'trial.ad'." and "trial.add" in unknown["fix"]
    made = await client.post("/v1/call/create_index", json={"name": "v", "dimension": 2})
    assert made.status_code == 200  # one door, one status
    assert (await client.post("/v1/call/delete_index", json={"name": "v"})).json() == {"removed": "v"}


HIDDEN: list[Any] = ["trial.names", "trial.one", "trial.ask", "storage.content"]


async def test_what_is_no_tool_is_not_there_for_callers(client: httpx.AsyncClient) -> None:
    """Steps of workflows may do what nobody at the other end of a network may."""
    for name in HIDDEN:
        problem(await client.post(f"/v1/call/{name}", json={}), 404)


async def test_errors_say_what_to_do_and_hide_what_they_must(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A-S2-6 over HTTP."""
    missing = problem(await client.post("/v1/trial/missing", json={"name": "moon"}), 404)
    assert (missing["detail"], missing["fix"]) == ("there is no moon.", "There is nothing at all.")
    crashed = problem(await client.post("/v1/trial/crash"), 500)
    assert "secret" not in json.dumps(crashed) and crashed["title"] == "internal"
    (identifier,) = re.findall(r"call ([0-9a-f]{22})", crashed["detail"])
    assert any(identifier in record.getMessage() for record in caplog.records)


async def test_a_fault_of_the_face_itself_is_an_answer_too(
    trying: Lakehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret reason")

    async with client_of(trying) as client:
        monkeypatch.setattr(trying, "answer", broken)
        found = problem(await client.post("/v1/sql", json={"sql": "SELECT 1"}), 500)
        assert "secret" not in json.dumps(found) and "http.failed" in caplog.text and "secret" in caplog.text


async def test_a_long_answer_is_a_preview_with_a_handle(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-S2-3 over HTTP, with a lower limit: the rest is read back in pages."""
    monkeypatch.setattr(rest, "MAX_ANSWER", 10_000)
    cut = await client.post("/v1/trial/long", json={"n": 2000})
    assert len(cut.content) <= 10_000 and cut.json()["truncated"] is True
    text, offset = "", 0
    while offset is not None:
        page = (await client.get(f"/v1/results/{quote(cut.json()['handle'], safe='')}?offset={offset}")).json()
        text, offset = text + page["text"], page.get("next_offset")
    assert json.loads(text)["items"][-1] == "item 1999 ä"


def events(text: str) -> list[tuple[str, Any]]:
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    return [(name, json.loads(data)) for name, data in found]


@pytest.mark.slow
async def test_a_post_can_be_answered_in_events(client: httpx.AsyncClient) -> None:
    wanted = {"accept": "text/event-stream"}
    answer = await client.post("/v1/ingest", json={"name": "t", "content": "a\n1\n"}, headers=wanted)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    said = events(answer.text)
    assert [name for name, _ in said[-2:]] == ["progress", "result"] and said[-1][1]["row_count"] == 1
    assert said[-2][1] == {"done": 100.0, "total": 100.0, "message": "committed"}
    failed = await client.post("/v1/call/trial.missing", json={}, headers=wanted)
    assert events(failed.text) == [("problem", json.loads((await client.post("/v1/call/trial.missing")).content))]
    problem(await client.post("/v1/sql", content=b"{", headers={**wanted, **JSON}), 400)  # nothing has begun
    both = await client.post("/v1/trial/add?a=1", headers={"accept": "application/json, text/event-stream"})
    assert both.json() == {"total": 3}


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_who_hangs_up_cancels_the_call(trying: Lakehouse, tmp_path: Path, accept: str) -> None:
    told = tmp_path / "told"
    async with port_of(trying) as port:
        stream = await anyio.connect_tcp("127.0.0.1", port)
        body = json.dumps({"path": str(told)})
        head = f"POST /v1/trial/wait HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        await stream.send(f"{head}Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        if accept != "*/*":
            answer = b""
            while b"one of four" not in answer:
                answer += await stream.receive()
        else:  # it runs once it is counted as running
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as other:
                while "lakehouse_http_requests_running 2.0" not in (await other.get("/metrics")).text:
                    pass
        await anyio.aclose_forcefully(stream)
        with anyio.fail_after(30):
            while not await anyio.Path(told).exists():
                await anyio.sleep(0.01)


SEGMENT = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(SEGMENT, min_size=1, max_size=4), SEGMENT)
def test_any_name_comes_back_as_it_was_sent(parts: list[str], name: str) -> None:
    paths = Paths([(Template("/v1/x/{name}/{key:path}"), 1), (Template("/v1/x"), 2), (Template("/v1/{any:path}"), 3)])
    sent = f"/v1/x/{quote(name, safe='')}/" + "/".join(quote(part, safe="") for part in parts)
    found = paths.at(sent)
    assert found is not None and found[0] == 1
    assert {k: decoded(k, v) for k, v in found[1].items()} == {"name": name, "key": "/".join(parts)}
    assert paths.at("/v1/x") == (2, {}) and paths.at("/v1/y") == (3, {"any": "y"}) and paths.at("/v2") is None
