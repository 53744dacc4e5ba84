"""The same call gives the same result and the same error on every face: the whole catalogue, over all of them."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from tests.conftest import COMMAND
from tests.e2e.serving import free_port, serving
from tests.e2e.test_wire import wire
from tests.faces.http.answering import client_of

import lakehouse
from lakehouse import Lakehouse, LakehouseError
from lakehouse.catalogue import Catalogue
from lakehouse.faces import cli
from lakehouse.rendered import render

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "every_face.yaml").read_text(encoding="utf-8"))["calls"]
RENDERED = render(Catalogue())
SPECS = {spec["mcp_name"]: spec for spec in RENDERED["tools"]}
SHOWN = {spec["uri"]: spec for spec in RENDERED["resources"]} | {s["mcp_name"]: s for s in RENDERED["prompts"]}
# What differs between two equal calls: when they were made, how long they took, which file holds the bytes.
VOLATILE = {
    *("elapsed_ms", "duration_ms", "wall_s", "p50_ms", "p95_ms", "exact_p50_ms", "build_s", "docs_per_s"),
    *("created_at", "updated_at", "built_at", "committed_at", "ts", "since", "etag", "handle", "by", "call"),
}
NOTHING = "no body"  # what a status of 204 says
ACCEPTED = {"accept": "application/json, text/event-stream"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
}


@dataclass(frozen=True)
class Outcome:
    """What came of a call: a result, or the problem."""

    value: Any
    failed: bool = False


pytestmark = pytest.mark.xdist_group("every face")  # one process asks Python what to expect


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that every face reads, from the same place."""
    made = tmp_path_factory.mktemp("files")
    (made / "jobs.csv").write_text("id,role\n1,forklift driver\n2,nurse\n", encoding="utf-8")
    (made / "bad.csv").write_text("a,b\n1,2\n3\n", encoding="utf-8")
    (made / "parquet").mkdir()
    pq.write_table(pa.table({"a": [1]}), made / "parquet" / "one.parquet")
    return made


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """What each call gives in Python."""
    return list(anyio.run(in_python, tmp_path_factory.mktemp("python"), folder))


def test_every_capability_has_its_rows() -> None:
    """Whoever adds a tool says here, with a good call and a bad one, what is the same on every face."""
    good, bad = ({thing(c) for c in CASES if ("error" in c) == failing} for failing in (False, True))
    assert (good | bad) == {*SPECS, *SHOWN}, "tests/cases/every_face.yaml"
    assert set(SPECS) - bad == set(), "each needs a call that fails"
    assert {shown for shown in SHOWN if "{" in shown} - bad == set(), "each needs a reading that fails"


def test_the_rows_say_what_they_mean(expected: list[Outcome]) -> None:
    for case, outcome in zip(CASES, expected, strict=True):
        code = outcome.value["title"] if outcome.failed else None
        assert code == case.get("error"), (case, outcome)


@pytest.mark.parametrize("face", ["stdio", "http", "cli"])
def test_the_same_everywhere(
    face: str, expected: list[Outcome], folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-S1-3, A-S1-2, A-S2-2: the results and errors of Python are those of each face.

    MCP has two, by its era: every other row is asked in the later one over stdio, and in the earlier one over HTTP.
    """
    asked = list(CASES)
    if face == "cli":
        with owned(home, folder):
            monkeypatch.setenv("LAKEHOUSE_HOME", str(home))
            found = played(over_cli, folder)
    elif face == "stdio":
        roots = {"LAKEHOUSE_INGEST__ROOTS": str(folder), "LAKEHOUSE_EXPORT__ROOTS": str(folder)}
        with wire(COMMAND, home, **roots) as earlier, wire(COMMAND, home, **roots) as later:
            earlier.shake_hands()

            def ask(case: dict[str, Any], given: dict[str, Any]) -> Outcome:
                method, params = requested(case, given)
                if CASES.index(case) % 2:
                    return of_mcp(case, later.ask(method, {**params, "_meta": META}))
                return of_mcp(case, earlier.ask(method, params))

            found = played(ask, folder)
    else:
        asked, found, expected = anyio.run(over_http, home, folder, expected)
    differing = []
    for case, here, there in zip(asked, found, expected, strict=True):
        one, other = steady(case, here), steady(case, there)
        if one != other and not (one == NOTHING and not there.failed):
            differing.append(f"{thing(case)} {case['with']}\n  {face}: {one}\n  python: {other}")
    assert not differing, "\n".join(differing)


def thing(case: dict[str, Any]) -> str:
    """What a row calls: a tool, a resource's address, a prompt."""
    return str(next(case[kind] for kind in ("call", "read", "prompt") if kind in case))


def capability(case: dict[str, Any]) -> str:
    return str((SPECS.get(thing(case)) or SHOWN[thing(case)])["name"])


def requested(case: dict[str, Any], given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The MCP request a row stands for."""
    if "read" in case:
        return "resources/read", {"uri": case["read"].format(**{n: quote(v, safe="") for n, v in given.items()})}
    return "prompts/get" if "prompt" in case else "tools/call", {"name": thing(case), "arguments": given}


def read(case: dict[str, Any], value: Any) -> Any:
    """A resource's text, as what it is written in."""
    written = "read" in case and SHOWN[case["read"]]["mime_type"] == "application/json" and isinstance(value, str)
    return json.loads(value) if written else value


def played(call: Callable[[dict[str, Any], dict[str, Any]], Outcome], folder: Path) -> list[Outcome]:
    """Every row in order, what stands for a value put in."""
    found: list[Outcome] = []
    last: dict[str, str] = {}
    for case in CASES:
        outcome = call(case, filled(case["with"], folder, last))
        found.append(outcome)
        last |= told(outcome)
    return found


def told(outcome: Outcome) -> dict[str, str]:
    """The handle of a query's result and the id of a run, where there is one: what later rows may name."""
    value = {} if outcome.failed or not isinstance(outcome.value, dict) else outcome.value
    found = {"{handle}": value.get("handle"), "{run}": value.get("run_id")}
    if found["{handle}"]:
        found["{handle's id}"] = found["{handle}"].rpartition("/")[2]
    return {name: text for name, text in found.items() if text}


def filled(value: Any, folder: Path, last: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in {"{folder}": str(folder), **last}.items():
            value = value.replace(name, text)
        return value
    if isinstance(value, list):
        return [filled(inner, folder, last) for inner in value]
    return {name: filled(inner, folder, last) for name, inner in value.items()} if isinstance(value, dict) else value


def steady(case: dict[str, Any], outcome: Outcome) -> Any:
    """What must be the same: all but what is said to be volatile, which must be there."""
    volatile = VOLATILE | set(case.get("volatile", ()))

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: "…" if name in volatile else clean(inner) for name, inner in value.items()}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    return ("failed", outcome.value) if outcome.failed else clean(outcome.value)


def opened(home: Path, folder: Path) -> Any:
    return lakehouse.open(
        home, overrides={"embed.provider": "hash", "ingest.roots": [folder], "export.roots": [folder]}
    )


async def in_python(home: Path, folder: Path) -> list[Outcome]:
    found: list[Outcome] = []
    last: dict[str, str] = {}
    async with opened(home, folder) as lake:
        for case in CASES:
            found.append(await here(lake, case, filled(case["with"], folder, last)))
            last |= told(found[-1])
    return found


async def here(lake: Lakehouse, case: dict[str, Any], given: dict[str, Any]) -> Outcome:
    try:
        return Outcome(read(case, await lake.call(capability(case), given)))
    except LakehouseError as error:
        return Outcome(error.problem(), failed=True)


async def over_http(
    home: Path, folder: Path, expected: list[Outcome]
) -> tuple[list[dict[str, Any]], list[Outcome], list[Outcome]]:
    """The rows asked, what came, and what Python says: every row at its tool's route first.

    Then all that change nothing once more, by /v1/call and over MCP, which treat all tools alike; beside what the
    same lake answers Python at that moment.
    """
    asked: list[dict[str, Any]] = []
    found: list[Outcome] = []
    right: list[Outcome] = []
    last: dict[str, str] = {}
    async with opened(home, folder) as lake, client_of(lake) as client:
        session = await shaken_hands(client)
        for case, there in zip(CASES, expected, strict=True):
            if "call" in case:
                asked.append(case)
                found.append(await rest(client, case, filled(case["with"], folder, last)))
                right.append(there)
                last |= told(found[-1])
        for case in filter(changes_nothing, CASES):
            given = filled(case["with"], folder, last)
            ways = [await mcp(client, session, case, given)]
            if "call" in case:
                ways.append(await by_call(client, case, given))
            asked += [case] * len(ways)
            found += ways
            right += [await here(lake, case, given)] * len(ways)
    return asked, found, right


def changes_nothing(case: dict[str, Any]) -> bool:
    """Whatever there is by now: a name that was taken may be free."""
    reads = "call" not in case or SPECS[case["call"]]["effect"] == "reads"
    return (reads or case.get("error") == "invalid_request") and not case.get("counted")


def of_mcp(case: dict[str, Any], message: dict[str, Any]) -> Outcome:
    """What a JSON-RPC answer says: a tool's failure in its result, that of a resource or a prompt as an error."""
    if "error" in message:
        problem = message["error"]["data"]["problem"]
        assert message["error"]["message"].startswith(f"{problem['title']}: {problem['detail']}")
        return Outcome(problem, failed=True)
    result = message["result"]
    if "read" in case:
        return Outcome(read(case, result["contents"][0]["text"]))
    if "prompt" in case:
        return Outcome(result["messages"][0]["content"]["text"])
    if result.get("isError"):
        problem = result["_meta"]["lakehouse/problem"]
        assert result["content"][0]["text"].startswith(f"{problem['title']}: {problem['detail']}")
        return Outcome(problem, failed=True)
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return Outcome(result["structuredContent"])


def of_http(answer: httpx.Response) -> Outcome:
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        return Outcome(answer.json(), failed=True)
    return Outcome(NOTHING if answer.status_code == 204 else answer.json())


def message_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC answer in an HTTP one: a body, or the last event of a stream."""
    if answer.headers["content-type"].startswith("application/json"):
        found = dict(answer.json())
    else:
        found = dict(json.loads(re.findall(r"^data: (\{.*)$", answer.text, re.MULTILINE)[-1]))
    assert answer.status_code == 200 or "error" in found, answer.text
    return found


async def shaken_hands(client: httpx.AsyncClient) -> dict[str, str]:
    """The headers of an MCP session of the earlier era."""
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    asked = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
    hello = await client.post("/mcp", json=asked, headers=ACCEPTED)
    session = {
        "mcp-session-id": hello.headers["mcp-session-id"],
        "mcp-protocol-version": message_of(hello)["result"]["protocolVersion"],
    }
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await client.post("/mcp", json=told, headers=ACCEPTED | session)
    return session


async def mcp(client: httpx.AsyncClient, session: dict[str, str], case: dict[str, Any], given: Any) -> Outcome:
    method, params = requested(case, given)
    headers = session
    if CASES.index(case) % 2 == 0:
        named = params.get("uri") or params["name"]
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": named}
        params = {**params, "_meta": META}
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return of_mcp(case, message_of(await client.post("/mcp", json=asked, headers=ACCEPTED | headers)))


async def by_call(client: httpx.AsyncClient, case: dict[str, Any], given: dict[str, Any]) -> Outcome:
    name = case["call"] if "error" in case else SPECS[case["call"]]["name"]
    return of_http(await client.post(f"/v1/call/{name}", json=given))


async def rest(client: httpx.AsyncClient, case: dict[str, Any], given: dict[str, Any]) -> Outcome:
    if "rest" in case.get("without", ()):
        return await by_call(client, case, given)
    return of_http(await at_its_route(client, SPECS[case["call"]], dict(given)))


async def at_its_route(client: httpx.AsyncClient, spec: dict[str, Any], given: dict[str, Any]) -> httpx.Response:
    """A call as its route wants it: names in the path, contents as a body, the rest as a query or as JSON."""
    path = re.sub(r"\{(\w+)(:path)?\}", lambda found: quote(str(given.pop(found[1])), safe=""), spec["route"])
    url = httpx.URL("http://127.0.0.1:3110", raw_path=path.encode())
    if spec["method"] == "POST":
        return await client.post(url, json=given)
    contents = b""
    if spec["upload"]:
        text, raw = given.pop("text", ""), given.pop("base64", "")
        contents = base64.b64decode(raw) if raw else text.encode()
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return await client.request(spec["method"], url, params=query or None, content=contents)


@contextmanager
def owned(home: Path, folder: Path) -> Iterator[None]:
    """`lakehouse serve` owns the data directory; each command attaches to it."""
    port = free_port()
    with serving(COMMAND, home, port, LAKEHOUSE_INGEST__ROOTS=str(folder), LAKEHOUSE_EXPORT__ROOTS=str(folder)):
        yield
        seen = httpx.get(f"http://127.0.0.1:{port}/v1/observer/stats").json()["by_source"]
        assert set(seen) <= {"cli", "http", "workflow"} and seen["cli"] >= len(CASES)  # they were attached


def over_cli(case: dict[str, Any], given: dict[str, Any]) -> Outcome:
    """By its command; by `call` what a command line cannot hold: arguments that are missing, unknown or mistyped."""
    if "call" not in case or case.get("cli") == "call" or case.get("error") == "invalid_request":
        words = ["call", capability(case), json.dumps(given), "--json"]
    else:
        spec = SPECS[case["call"]]
        words = [*spec["command"], "--json", *spelt(spec["input_schema"], given)]
    ran = CliRunner().invoke(cli.root, words)
    if isinstance(ran.exception, LakehouseError):
        assert ran.stdout == ""
        return Outcome(ran.exception.problem(), failed=True)
    assert ran.exit_code == 0, (words, ran.output, ran.exception)
    return Outcome(read(case, json.loads(ran.stdout)))


def spelt(schema: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """Arguments as words: required ones by their place, a list that is the last of them item by item."""
    required = [name for name in schema["properties"] if name in schema.get("required", ())]
    words: list[str] = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif name not in required:
            words += [flag, value if isinstance(value, str) else json.dumps(value)]
    for name in required:
        value = given[name]
        plain = schema["properties"][name].get("items", {}).get("type") in ("string", "integer", "number")
        items = value if name == required[-1] and isinstance(value, list) and plain else [value]
        words += [item if isinstance(item, str) else json.dumps(item) for item in items]
    return words
