"""How the server is: up, ready, and in figures."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.faces.http.answering import app_of, client_of, problem

import lakehouse
from lakehouse import Lakehouse, Upstream
from lakehouse.lake.readiness import readiness

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(lake: Lakehouse) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(lake) as opened:
        yield opened


def parts(answer: httpx.Response) -> dict[str, tuple[bool, str]]:
    return {part["name"]: (part["ok"], part["detail"]) for part in answer.json()["parts"]}


async def test_health_is_always_the_same(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    assert answer.json() == {"status": "ok", "service": "lakehouse", "version": lakehouse.__version__}
    problem(await client.post("/health"), 405)


@pytest.mark.slow
async def test_ready(client: httpx.AsyncClient) -> None:
    await client.post("/v1/ingest", json={"name": "t", "content": "a\n1\n"})
    answer = await client.get("/ready")
    assert answer.status_code == 200 and answer.json()["status"] == "ok"
    assert parts(answer) == {
        "data directory": (True, "owned by this process"),
        "storage": (True, "bucket primary answers"),
        "catalog": (True, "1 datasets"),
        "journal": (True, "every change is on record"),
        "plugins": (True, "all are loaded"),
    }


async def test_damage_is_told_but_stops_nothing(home: Path, trial: Path) -> None:
    """S6.6 over HTTP; and what was left out at the start, without the paths of this machine."""
    damaged = home / "objects" / "_catalog" / "broken" / f"{1:020}.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    (trial / "tools" / "bad.py").write_text("raise RuntimeError('no')")
    async with lakehouse.open(home, overrides={"plugins.folders": [trial]}) as lake, client_of(lake) as client:
        answer = await client.get("/ready")
        assert answer.status_code == 200 and answer.json()["status"] == "degraded"
        found = parts(answer)
        assert not found["catalog"][0] and "broken" in found["catalog"][1]
        assert found["plugins"] == (False, "1 left out; `lakehouse doctor` says why")
        assert str(home) not in answer.text and str(trial) not in answer.text


async def test_not_ready_without_storage(
    client: httpx.AsyncClient, lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any) -> Any:
        raise Upstream("bucket primary failed at '': it is down.", fix="Start it.")

    async def silent(*_: Any) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(lake.storage.bucket, "head", failing)
    answer = await client.get("/ready")
    assert answer.status_code == 503 and answer.json()["status"] == "unavailable"
    assert parts(answer)["storage"] == (False, "bucket primary failed at '': it is down. Start it.")
    monkeypatch.setattr(lake.storage.bucket, "head", silent)
    found = await readiness(lake, 0.01)
    assert [(part.name, part.ok) for part in found] == [("data directory", True), ("storage", False)]
    assert found[1].detail == "it did not answer within 0.01 seconds"
    assert (await client.get("/health")).status_code == 200


@pytest.mark.slow
async def test_an_attached_server_is_ready(lake: Lakehouse, home: Path) -> None:
    await lake.call("list_datasets")
    async with lakehouse.open(home) as second, client_of(second) as client:
        answer = await client.get("/ready")
        assert answer.status_code == 200
        assert parts(answer)["data directory"] == (True, "attached to the process that owns it")
        made = await client.post("/v1/ingest?name=t", files={"file": ("t.csv", b"a\n1\n")})
        assert made.json()["row_count"] == 1
        await client.put("/v1/storage/object/k", content=b"x")
        assert (await client.get("/v1/storage/object/k")).content == b"x"


def figures(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.slow
async def test_figures(client: httpx.AsyncClient, lake: Lakehouse) -> None:
    for sql in ("SELECT 1", "SELECT 2", "SELEC"):
        await client.post("/v1/sql", json={"sql": sql})
    await lake.call("list_datasets")
    await client.put("/v1/storage/object/k", content=b"four")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = figures(answer.text)
    calls = ("lakehouse_calls_total", "capability=sql.query", "face=http")
    assert found[(*calls, "outcome=ok")] == 2 and found[(*calls, "outcome=invalid_request")] == 1
    assert found[("lakehouse_calls_total", "capability=datasets.list", "face=python", "outcome=ok")] == 1
    assert found[("lakehouse_call_seconds_count", "capability=sql.query")] == 3
    assert found[("lakehouse_http_responses_total", "method=POST", "status=2xx")] == 2
    assert found[("lakehouse_http_responses_total", "method=POST", "status=4xx")] == 1
    assert found[("lakehouse_http_requests_running",)] == 1  # this one
    assert found[("lakehouse_uploads_total",)] == 1 and found[("lakehouse_upload_bytes_total",)] == 4
    built = next(key for key in found if key[0] == "lakehouse_build_info")
    assert f"version={lakehouse.__version__}" in built and ("process_start_time_seconds",) in found


@pytest.mark.parametrize("version", ["abc", "1!2", "1.0.0+x", "9" * 5000, "", "1.0.0"])
async def test_figures_for_whatever_version_is_asked_for(client: httpx.AsyncClient, version: str) -> None:
    for kind in ("text/plain", "application/openmetrics-text"):
        answer = await client.get("/metrics", headers={"accept": f"{kind}; version={version}"})
        assert answer.status_code == 200 and b"lakehouse_build_info" in answer.content


@pytest.mark.slow
async def test_what_callers_make_up_makes_no_series(client: httpx.AsyncClient, lake: Lakehouse) -> None:
    before = len(figures((await client.get("/metrics")).text))
    for number in range(20):
        await client.request(f"MADE{number}", "/v1/sql")
        await client.post(f"/v1/call/made.up{number}", json={})
        await client.get(f"/v1/made/up{number}")
        with pytest.raises(lakehouse.NotFound):
            await lake.call(f"made.up{number}")
        await lake.call("list_datasets", via=f"made{number}")
    text = (await client.get("/metrics")).text
    assert not re.search(r"made|MADE", text) and len(figures(text)) < before + 40


async def test_two_apps_count_apart_and_an_ended_one_no_more(lake: Lakehouse) -> None:
    async with client_of(lake) as one:
        async with app_of(lake):
            assert len(lake.watchers) == 2
        assert len(lake.watchers) == 1
        await lake.call("list_datasets")
        assert "datasets.list" in (await one.get("/metrics")).text
    assert lake.watchers == []
