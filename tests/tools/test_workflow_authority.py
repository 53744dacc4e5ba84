"""Nobody gains by a workflow: its nodes do what whoever started it may do, see what they may see, and no more."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.flows import PATIENCE, scripted, workflow

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse, LakehouseError, NotFound
from lakehouse.engine.workflows.problems import CannotRun
from lakehouse.faces import terminal
from lakehouse.faces.drawing import readable
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio

CANARY = "canary-7d1f0c"
OUTSIDE = Caller(via="http", remote=True, name="ann")
NARROW = Caller(via="http", remote=True, name="bob", toolsets=frozenset({"workflow"}))
KEEPS = '  - {id: it, bash: \'cat "$STATE_DIR/x"; echo "$ARGUMENTS" > "$STATE_DIR/x"\'}'


@pytest.fixture
async def files(home: Path) -> AsyncIterator[Lakehouse]:
    """A lake with workflow files of this machine, which may run programs for everybody."""
    folder = home / "workflows"
    folder.mkdir(parents=True)
    (folder / "keeps.yaml").write_text(workflow(KEEPS).replace("name: test", "name: keeps"))
    overrides = {"embed.provider": "hash", "workflows.allow_shell": True}
    async with lakehouse.open(home, overrides=overrides) as lake:
        yield lake


async def said(lake: Lakehouse, nodes: str, caller: Caller, **given: Any) -> dict[str, Any]:
    """A run of a text that somebody sends."""
    return dict(await lake.call("workflow_run", {"definition": workflow(nodes), **given}, caller=caller))


async def test_a_state_folder_is_of_one_profile(files: Lakehouse) -> None:
    """What a workflow keeps for one profile, it does not find for another, nor for nobody's."""
    for name in ("mine", "theirs"):
        await files.call("set_profile", {"name": name, "bucket": "primary"})
    told = []
    for profile in ("mine", "theirs", None, "mine"):
        caller = Caller(via="http", profile=profile)
        answer = await files.call("workflow_run", {"workflow": "keeps", "message": f"of {profile}"}, caller=caller)
        told.append(answer["nodes"][0]["output"])
    assert told == ["", "", "", "of mine"]


async def test_a_node_starts_no_run_of_its_own_run(lake: Lakehouse) -> None:
    """A run that runs itself again, which runs itself again, would never end."""
    for name in ("rerun", "resume"):
        nodes = f"  - {{id: it, mode: workflow.{name}, with: {{run: $WORKFLOW_ID, wait: 0}}}}"
        answer = await said(lake, nodes, OUTSIDE)
        assert "cannot be called from a node" in answer["nodes"][0]["error"]
    assert len(await lake.workflows.runs(10)) == 2


async def test_a_text_from_outside_gains_no_shell_by_what_it_names(files: Lakehouse) -> None:
    """Files of this machine keep their right to run programs only as runs of their own."""
    with pytest.raises(Forbidden, match=r"\(it__it\)"):
        await said(files, "  - {id: it, include: keeps}", OUTSIDE)
    assert (await said(files, "  - {id: it, workflow: keeps}", OUTSIDE))["status"] == "completed"
    for nodes in ("  - {id: it, bash: id}", "  - {id: it, runtime: uv, script: 'print(1)'}"):
        with pytest.raises(Forbidden):
            await said(files, nodes, OUTSIDE)
        with pytest.raises(Forbidden):
            await said(files, nodes, OUTSIDE, dry_run=True, exec_code=True)


@pytest.mark.parametrize("name", ["/etc/passwd", "../keeps", "workflows/keeps.yaml", "~/x.yaml", "..", "a\0b"])
async def test_names_are_no_paths_for_somebody_elsewhere(files: Lakehouse, name: str) -> None:
    for tool in ("workflow_run", "workflow_validate"):
        with pytest.raises(LakehouseError) as caught:
            await files.call(tool, {"workflow": name}, caller=OUTSIDE)
        assert isinstance(caught.value, NotFound)
    for kind in ("include", "workflow", "command"):
        with pytest.raises(CannotRun):
            await said(files, f"  - {{id: it, {kind}: {name!r}}}".replace("'a\\x00b'", '"a\\0b"'), OUTSIDE)


async def test_toolsets_bind_nodes_and_models(lake: Lakehouse) -> None:
    """A token for workflows alone reaches no tool through a node, nor through the model of a prompt."""
    answer = await said(lake, "  - {id: it, mode: sql.query, with: {sql: select 1}}", NARROW)
    assert "none of the toolsets" in answer["nodes"][0]["error"]
    asked = [{"tool_calls": [{"name": "query_sql", "arguments": {"sql": "select 1"}}]}, "so be it"]
    scripted(lake, *asked)
    answer = await said(lake, "  - {id: it, prompt: do, allowed_tools: [sql.query, workflow.run]}", NARROW)
    assert any("none of the toolsets" in one for one in answer["warnings"])
    ops = await lake.call("observer_recent", {"limit": 20})
    assert all(one["op"] != "sql.query" or not one["success"] for one in ops["ops"])


async def test_a_reader_starts_and_answers_nothing(lake: Lakehouse) -> None:
    """Not even what only reads: a run is kept."""
    reader = Caller(via="http", read_only=True)
    for given in ({}, {"dry_run": True}):
        with pytest.raises(Forbidden, match="read-only"):
            await said(lake, "  - {id: it, mode: sql.query, with: {sql: select 1}}", reader, **given)


async def test_paths_of_this_machine_are_not_theirs(lake: Lakehouse) -> None:
    nodes = "  - {id: it, mode: ingest.file, with: {name: d, path: /etc/passwd}}"
    answer = await said(lake, nodes, OUTSIDE)
    assert answer["status"] == "failed" and "root:" not in str(answer)


async def test_credentials_reach_no_program_and_no_record(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, and the key that litellm finds by itself for the model that is set up; for whoever starts the run."""
    secret = {name: f"{CANARY}-{name.lower()}" for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY")}
    secret |= {"LAKEHOUSE_AUTH__TOKEN": f"{CANARY}-0123456789-0123456789-012345"}
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    models = {"chat.provider": "litellm", "chat.model": "openai/gpt-5-mini", "chat.aliases": ["g=gemini/pro"]}
    nodes = """
  - {id: env, bash: env}
  - {id: fails, bash: 'echo "$OPENAI_API_KEY" >&2; env >&2; exit 1'}
  - {id: tells, mode: doctor.check}
"""
    async with lakehouse.open(home, overrides={"embed.provider": "hash", **models}) as lake:
        answer = await said(lake, nodes.replace("doctor.check", "workflow.triggers"), Caller(via="cli"))
        await lake.call("workflow_logs", {"run": answer["run_id"], "node": "env"})
    assert CANARY not in str(answer)
    kept = [path async for path in anyio.Path(home).rglob("*") if await path.is_file()]
    assert kept and not [path for path in kept if CANARY.encode() in await path.read_bytes()]


async def test_what_is_nested_deeply_is_refused_or_a_text(home: Path) -> None:
    """Wherever JSON is read that somebody else wrote: inputs, replies, outputs, and what is kept of calls."""
    deep = '{"a":' * 50_000
    overrides = {"embed.provider": "hash", "observer.keep_bytes": 10_000}
    async with lakehouse.open(home, overrides=overrides) as lake:
        nodes = "  - {id: it, mode: fixture.echo, with: {value: $INPUTS.x}}"
        text = workflow(nodes, "inputs: {x: {type: object}}")
        nested: dict[str, Any] = {}
        inner = nested
        for _ in range(3000):
            inner["a"] = inner = {}
        for given in (deep, nested, {"n": float("nan")}):
            with pytest.raises(InvalidInput):
                await lake.call("workflow_run", {"definition": text, "input": {"x": given}}, caller=OUTSIDE)
        scripted(lake, deep, deep, deep, deep)
        answer = await said(lake, "  - {id: it, prompt: so, output_format: {type: object}}", OUTSIDE)
        assert "not JSON" in answer["nodes"][0]["error"]
        ops = (await lake.call("observer_recent", {"limit": 50}))["ops"]
        assert [one["success"] for one in ops if one["op"] == "workflow.run"] == [True, False, False, False]
    assert readable(deep) == deep


def test_what_a_run_says_does_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jred\x9b31m\u202eevil\r\n\tnext"
    terminal.show({"result": hostile, "list": [hostile]}, as_json=False)
    terminal.show(hostile, as_json=False)
    terminal.show_error(InvalidInput(hostile, fix=hostile), as_json=False)
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "evil" in text and all(char.isprintable() or char in "\n\t" for char in text), text


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
async def test_runs_may_lie_behind_a_link(home: Path, tmp_path: Path) -> None:
    """A data directory may be spread over disks; what programs leave as links is not followed when it is forgotten."""
    await anyio.Path(tmp_path / "elsewhere").mkdir()
    await anyio.Path(home).mkdir(parents=True, exist_ok=True)
    await anyio.Path(home / "runs").symlink_to(tmp_path / "elsewhere")
    kept = anyio.Path(tmp_path / "kept")
    await kept.write_text("still here")
    overrides = {"embed.provider": "hash", "workflows.keep_runs": 1}
    async with lakehouse.open(home, overrides=overrides) as lake:
        first = await said(lake, f"  - {{id: it, bash: 'ln -s {tmp_path} \"$ARTIFACTS_DIR/out\"; ls'}}", Caller("cli"))
        assert first["status"] == "completed"
        again = await lake.workflows.rerun(first["run_id"], lake.starter)
        assert (await lake.workflows.wait(again.id, PATIENCE)).status == "completed"
        await lake.workflows.collect()
        assert len(await lake.workflows.runs(10)) == 1
    assert await kept.read_text() == "still here"
