"""Hooks: signed posts and tokens start workflows, and all else learns nothing."""

import time
from pathlib import Path
from typing import Any

import pytest
from tests.faces.http.answering import client_of, problem

import lakehouse
from lakehouse.engine.workflows.triggers.signature import signed

pytestmark = pytest.mark.anyio
SECRET = "a secret of enough characters"
FILE = """name: {0}
description: d
triggers: [{{webhook: {0}, secret_env: {1}}}]
nodes:
  - {{id: a, mode: fixture.echo, with: {{value: $ARGUMENTS}}}}
"""
PLACE = "/v1/observer/workflow/hook/"


def files(home: Path) -> None:
    (home / "workflows").mkdir(parents=True)
    for name, variable in (("deploy", "HOOK_SECRET"), ("unset", "OTHER_SECRET")):
        (home / "workflows" / f"{name}.yaml").write_text(FILE.format(name, variable))


def header(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Lakehouse-Signature": signed(secret, body, int(time.time()))}


@pytest.mark.parametrize("token", ["", "t0ken"])
async def test_a_signed_post_starts_a_run(home: Path, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """With tokens and without; what is refused looks the same whether there is such a hook or not."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    files(home)
    settings: dict[str, Any] = {"workflows.triggers": True, "auth.token": token}
    async with lakehouse.open(home, overrides=settings) as lake, client_of(lake) as client:
        await lake.start()
        await lake.triggers.tick()
        body = b'{"ref": "main"}'
        good = header(body)
        first = await client.post(f"{PLACE}deploy", content=body, headers=good)
        again = await client.post(f"{PLACE}deploy", content=body, headers=good)
        assert (first.status_code, first.json()) == (202, again.json())
        state = await lake.workflows.wait(first.json()["run_id"], 60)
        assert (state.status, state.nodes[0].text) == ("completed", '{"value":"{\\"ref\\": \\"main\\"}"}')
        refused = [
            await client.post(f"{PLACE}{name}", content=body, headers=headers)
            for name in ("deploy", "unset", "none")
            for headers in ({}, header(body + b" "), header(body, "another secret of that length"))
        ]
        refused.append(await client.post(f"{PLACE}unset", content=body, headers=good))
        assert {problem(one, 404)["detail"] for one in refused} == {problem(refused[0], 404)["detail"]}
        problem(await client.post(f"{PLACE}deploy", content=b"x" * (2**20 + 1)), 413)
        problem(await client.post(f"{PLACE}deploy", content=b"no", headers=header(b"no")), 400)
        problem(await client.get(f"{PLACE}deploy"), 405)
        bearer = {"Authorization": "Bearer t0ken", "Idempotency-Key": "1"}
        answer = await client.post(f"{PLACE}unset", content=body, headers=bearer)
        if token:
            assert answer.status_code == 202
            assert (await client.post(f"{PLACE}unset", content=body, headers=bearer)).json() == answer.json()
            problem(await client.post(f"{PLACE}unset", content=body, headers={"Authorization": "Bearer no"}), 401)
        else:
            problem(answer, 404)  # a server without tokens knows nobody


async def test_hooks_are_closed_where_triggers_are_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are unless the settings say otherwise. A read-only token starts nothing."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    files(home)
    async with lakehouse.open(home) as lake, client_of(lake) as client:
        problem(await client.post(f"{PLACE}deploy", content=b"{}", headers=header(b"{}")), 404)
    tokens = [{"name": "reader", "token": "r3ader", "read_only": True}]
    settings: dict[str, Any] = {"workflows.triggers": True, "auth.tokens": tokens}
    async with lakehouse.open(home, overrides=settings) as lake, client_of(lake) as client:
        problem(await client.post(f"{PLACE}deploy", headers={"Authorization": "Bearer r3ader"}), 403)
