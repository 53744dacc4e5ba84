"""/openapi.json is valid, describes every route, and what it describes is what is answered."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio.from_thread
import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.faces.http.answering import client_of

import lakehouse
from lakehouse import Lakehouse, config
from lakehouse.catalogue import Catalogue
from lakehouse.faces.http.rest.openapi import document
from lakehouse.rendered import render

pytestmark = pytest.mark.anyio
METHODS = {"get", "put", "post", "delete"}


@pytest.fixture
async def client(lake: Lakehouse) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(lake) as opened:
        yield opened


def operations(said: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, one) for path, item in said["paths"].items() for method, one in item.items()]


@pytest.mark.slow
async def test_it_is_valid_and_whole(client: httpx.AsyncClient, lake: Lakehouse) -> None:
    said = (await client.get("/openapi.json")).json()
    assert list(OpenAPIV31SpecValidator(said).iter_errors()) == []
    assert said["openapi"] == "3.1.0" and said["info"]["version"] == lakehouse.__version__
    described = {(method, path) for method, path, _ in operations(said)}
    for capability in [*lake.catalogue.public(), *lake.catalogue.of("download")]:
        assert (capability.method.lower(), capability.route.replace(":path}", "}")) in described
    assert {("get", "/health"), ("get", "/ready"), ("get", "/metrics"), ("post", "/v1/call/{capability}")} <= described
    for method, path, one in operations(said):
        assert method in METHODS and one["summary"] and one["tags"], path
        placed = {p["name"] for p in one.get("parameters", ()) if p["in"] == "path"}
        assert placed == set(re.findall(r"\{(\w+)\}", path))
    assert "security" not in said


async def test_every_argument_is_described_once(client: httpx.AsyncClient, lake: Lakehouse) -> None:
    said = {one["operationId"]: one for _, _, one in operations((await client.get("/openapi.json")).json())}
    for capability in lake.catalogue.public():
        one = said[capability.mcp_name]
        named = [p["name"] for p in one.get("parameters", ())]
        for content in one.get("requestBody", {}).get("content", {}).values():
            named += content.get("schema", {}).get("properties", {})
        places = {(capability.method, capability.route)}
        beside = [c for c in lake.catalogue.of("download") if (c.method, c.route) in places]
        known = {name for c in (capability, *beside) for name in c.input_schema["properties"]}
        assert set(named) - {"file"} == known, capability.name
        answer = one["responses"][str(capability.facts.status)]
        if capability.facts.status != 204:
            assert answer["content"]["application/json"]["schema"] == capability.output_schema
    file = said["ingest_file"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert file["required"] == ["file"] and said["storage_put"]["requestBody"]["content"].keys() == {
        "application/octet-stream"
    }


@pytest.mark.slow
def test_a_token_is_described() -> None:
    rendering = render(Catalogue())
    settings = config.Config(auth=config.Auth(token="x"))
    said = json.loads(document(rendering["tools"], rendering["groups"], settings))
    assert list(OpenAPIV31SpecValidator(said).iter_errors()) == []
    assert said["security"] == [{"bearer": []}] and said["paths"]["/health"]["get"]["security"] == []


def test_two_methods_of_one_place_may_name_its_parameter_differently() -> None:
    tool = render(Catalogue())["tools"][0]
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    both = [
        {**tool, "name": f"x.{m}", "mcp_name": f"x_{m}", "method": m, "route": f"/v1/x/{{{p}}}", "input_schema": schema}
        for m, p in (("GET", "a"), ("DELETE", "b"))
    ]
    said = json.loads(document(both, {}, config.Config()))
    assert list(OpenAPIV31SpecValidator(said).iter_errors()) == []
    assert {p["name"] for p in said["paths"]["/v1/x/{a}"]["delete"]["parameters"]} == {"a"}


TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.sampled_from(["x", "v", "a.csv"]))
NUMBERS = st.one_of(st.integers(-2, 20), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Now and then what the schema wants, now and then anything."""
    if "enum" in schema:
        return st.one_of(st.sampled_from(schema["enum"]), JSON)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXTS,
        "integer": st.integers(0, 5),
        "number": NUMBERS,
        "boolean": st.booleans(),
    }
    if schema.get("type") == "array":
        return st.one_of(st.lists(values(schema.get("items", {})), max_size=3), JSON)
    if schema.get("type") == "object":
        inner = {name: values(one) for name, one in schema.get("properties", {}).items()}
        return st.one_of(st.fixed_dictionaries({}, optional=inner), JSON)
    return st.one_of(kinds.get(str(schema.get("type")), JSON), JSON)


@pytest.mark.slow
def test_no_arguments_break_a_route(home: Path) -> None:
    """Whatever is sent, a fault is the sender's, or of something behind us: never a crash, always a problem."""
    specs = [s for s in render(Catalogue())["tools"] if s["name"] != "doctor.run"]
    arguments = st.sampled_from(specs).flatmap(
        lambda s: st.tuples(
            st.just(s),
            st.fixed_dictionaries({}, optional={n: values(v) for n, v in s["input_schema"]["properties"].items()}),
            st.booleans(),
        )
    )
    overrides = {"embed.provider": "hash", "ingest.roots": [home / "none"], "corpora.folders": [home / "none"]}

    @asynccontextmanager
    async def opened() -> AsyncIterator[Callable[..., Awaitable[httpx.Response]]]:
        async with lakehouse.open(home, overrides=overrides) as lake, client_of(lake) as client:
            await client.post("/v1/vectors/index", json={"name": "v", "dimension": 2})
            await client.post("/v1/ingest", json={"name": "x", "content": "a\n1\n"})
            yield client.request

    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(opened()) as request,
    ):

        @settings(max_examples=120, suppress_health_check=list(HealthCheck))
        @given(arguments)
        def send(chosen: tuple[dict[str, Any], dict[str, Any], bool]) -> None:
            spec, given_, own = chosen
            path, body, method = f"/v1/call/{spec['name']}", dict(given_), "POST"
            if own:
                method = spec["method"]
                path = re.sub(
                    r"\{(\w+)(:path)?\}", lambda f: quote(str(body.pop(f[1], "v")), safe="") or "v", spec["route"]
                )
            sent: dict[str, Any] = {"json": body}
            if method == "GET":
                sent = {"params": {k: v if isinstance(v, str) else json.dumps(v) for k, v in body.items()}}
            url = httpx.URL("http://127.0.0.1:3110", raw_path=path.encode())
            answer = portal.call(lambda: request(method, url, **sent))
            assert answer.status_code < 500 or answer.status_code in (502, 503), (spec["name"], given_, answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
            elif answer.status_code != 204 and not (own and spec["upload"]):
                jsonschema.validate(answer.json(), spec["output_schema"])

        send()
