"""Downloads of results and queries over HTTP: the format by name or by Accept, whole or refused."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.faces.http.answering import client_of, problem

import lakehouse
from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio
STREAM = "application/vnd.apache.arrow.stream"


@pytest.fixture
async def small(home: Path) -> AsyncIterator[Lakehouse]:
    limits = {"sql.max_rows": 5, "sql.max_handle_rows": 5000, "embed.provider": "hash"}
    async with lakehouse.open(home, overrides=limits) as opened:
        yield opened


@pytest.fixture
async def client(small: Lakehouse) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(small) as opened:
        yield opened


def left(home: Path) -> list[str]:
    return [path.name for path in (home / "tmp").iterdir() if path.name.startswith("export-")]


@pytest.mark.slow
async def test_a_result_is_downloaded(client: httpx.AsyncClient, home: Path) -> None:
    async def handle(rows: int) -> str:
        answer = await client.post("/v1/sql", json={"sql": f"SELECT i, 'a,' || i AS t FROM range({rows}) r(i)"})
        return str(answer.json()["handle"]).rpartition("/")[2]

    id = await handle(3000)
    at = f"/v1/results/{id}"
    page = (await client.get(at, params={"limit": 2})).json()  # the tool answers as before
    assert page["rows"] == [[0, "a,0"], [1, "a,1"]]
    got = await client.get(at, params={"format": "csv"})
    assert got.status_code == 200 and got.headers["content-type"] == "text/csv"
    assert f"result-{id[:8]}.csv" in got.headers["content-disposition"]
    assert got.text.startswith('i,t\r\n0,"a,0"\r\n') and got.text.count("\r\n") == 3001
    again = await client.get(at, params={"format": "csv"}, headers={"if-none-match": got.headers["etag"]})
    assert again.status_code == 304
    part = await client.get(at, params={"format": "csv"}, headers={"range": "bytes=0-2"})
    assert (part.status_code, part.text) == (206, "i,t")
    head = await client.head(at, params={"format": "csv"})
    assert head.headers["content-length"] == str(len(got.content))
    liked = f"text/html, {STREAM};q=0.5, application/vnd.apache.parquet;q=0.9, */*;q=0.1"
    parquet = await client.get(at, headers={"accept": liked})
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(pa.BufferReader(parquet.content)).num_rows == 3000
    arrow = await client.get(at, params={"format": "arrow"}, headers={"accept": STREAM})
    assert pa.ipc.open_file(arrow.content).read_all().num_rows == 3000  # what is said by name holds
    whole = f"/v1/results/lakehouse%3A%2F%2Fresults%2F{id}"
    assert len((await client.get(whole, params={"format": "jsonl"})).text.splitlines()) == 3000
    assert (
        "cut when it was kept"
        in problem(await client.get(f"/v1/results/{await handle(6000)}?format=csv"), 413)["detail"]
    )
    problem(await client.get(at, params={"format": "exe"}), 400)
    problem(await client.get(at, params={"format": "csv", "limit": 1}), 400)
    problem(await client.get("/v1/results/" + "0" * 32, params={"format": "csv"}), 404)
    assert left(home) == []


@pytest.mark.slow
async def test_a_query_is_downloaded_whole(client: httpx.AsyncClient, home: Path) -> None:
    sql = {"sql": "SELECT i, $x AS x FROM range(100000) r(i)", "params": {"x": "y"}}
    got = await client.post("/v1/sql/export", json=sql, headers={"accept": STREAM})
    assert got.headers["content-type"] == STREAM
    assert pa.ipc.open_stream(got.content).read_all().num_rows == 100_000  # past every limit of a handle
    got = await client.post("/v1/sql/export", json={**sql, "format": "jsonl"})
    assert json.loads(got.text.splitlines()[-1]) == {"i": 99_999, "x": "y"}
    got = await client.post("/v1/sql/export?format=csv", json=sql)
    assert got.text.count("\r\n") == 100_001
    assert "none is named" in problem(await client.post("/v1/sql/export", json=sql), 400)["detail"]
    problem(await client.post("/v1/sql/export?format=csv", json={"sql": "SELECT nope"}), 400)
    problem(await client.post("/v1/sql/export?format=csv", json={**sql, "format": "json"}), 400)
    assert left(home) == []


async def test_openapi_says_so(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    result = paths["/v1/results/{id}"]["get"]
    assert {"application/json", "text/csv", STREAM} <= set(result["responses"]["200"]["content"])
    assert {"id", "offset", "limit", "format", "guard_formulas"} == {p["name"] for p in result["parameters"]}
    export = paths["/v1/sql/export"]["post"]
    assert STREAM in export["responses"]["200"]["content"] and "text/event-stream" not in str(export["responses"])
    assert "sql" in export["requestBody"]["content"]["application/json"]["schema"]["required"]
