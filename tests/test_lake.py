"""The one door: every call is checked, limited, run, observed, and fails in words."""

import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import lakehouse
from lakehouse import (
    Forbidden,
    InvalidInput,
    Lakehouse,
    LakehouseError,
    NotFound,
    TimedOut,
    Unavailable,
    config,
)
from lakehouse.observe import current

pytestmark = pytest.mark.anyio

PROBE = '''"""Capabilities that go wrong in every way."""
from typing import Annotated, Any
import anyio
from pydantic import BaseModel, Field
from lakehouse import Conflict, Lakehouse, tool

class Answer(BaseModel):
    """An answer."""
    value: Any = Field(None, description="What it is.")
    more: str | None = Field(None, description="Only sometimes.")

@tool()
async def echo(lake: Lakehouse, value: Annotated[Any, "Anything."] = None) -> Answer:
    return Answer(value=value)

@tool("writes")
async def write(lake: Lakehouse) -> Answer:
    return Answer(value="written")

@tool("destroys")
async def destroy(lake: Lakehouse) -> Answer:
    return Answer(value="gone")

@tool()
async def crash(lake: Lakehouse, secret: Annotated[str, "Not to be told."]) -> Answer:
    raise RuntimeError("the password is " + secret)

@tool()
async def refuse(lake: Lakehouse) -> Answer:
    raise Conflict("it is taken.", fix="Take another.", data={"name": "it"})

@tool()
async def refuse_in_a_group(lake: Lakehouse) -> Answer:
    async with anyio.create_task_group() as group:
        group.start_soon(refuse, lake)
    return Answer()

@tool()
async def crash_in_a_group(lake: Lakehouse) -> Answer:
    async with anyio.create_task_group() as group:
        group.start_soon(refuse, lake)
        group.start_soon(crash, lake, "hunter2")
    return Answer()

@tool()
async def lie(lake: Lakehouse) -> Answer:
    return {"value": 1, "more": 5}

@tool()
async def forever(lake: Lakehouse) -> Answer:
    await anyio.sleep_forever()
    return Answer()

@tool(long=True)
async def forever_and_longer(lake: Lakehouse) -> Answer:
    await anyio.sleep_forever()
    return Answer()

@tool()
async def own_timeout(lake: Lakehouse) -> Answer:
    raise TimeoutError("a socket of somebody's")

@tool()
async def steps(lake: Lakehouse) -> Answer:
    await lake.progress(1, 2, "half")
    await lake.call("probe.inner")
    return Answer()

@tool()
async def inner(lake: Lakehouse) -> Answer:
    await lake.progress(2, 2, "whole")
    return Answer()
'''


@pytest.fixture
async def door(home: Path, tmp_path: Path) -> AsyncIterator[Lakehouse]:
    async with opened(home, tmp_path) as lake:
        yield lake


def opened(home: Path, tmp_path: Path, **overrides: Any) -> Any:
    path = tmp_path / "project" / "tools" / "probe.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROBE, encoding="utf-8")
    settings = {k.replace("__", "."): v for k, v in overrides.items()}
    return lakehouse.open(home, overrides={"plugins.folders": [tmp_path / "project"], **settings})


async def test_an_answer_is_plain_data(door: Lakehouse) -> None:
    assert await door.call("probe.echo", {"value": {"a": [1, None]}}) == {"value": {"a": [1, None]}}
    assert await door.call("probe_echo", {"value": 1}) == {"value": 1}
    assert await door.call("probe.echo") == {}


async def test_an_unknown_capability(door: Lakehouse) -> None:
    with pytest.raises(NotFound) as raised:
        await door.call("probe.eko")
    assert "probe.echo" in raised.value.fix


async def test_an_unknown_argument_is_named(door: Lakehouse) -> None:
    """A-S2-5, as the door answers it for every capability."""
    with pytest.raises(InvalidInput, match="vlaue: there is no such argument") as raised:
        await door.call("probe.echo", {"vlaue": 1})
    assert raised.value.fix == "Did you mean value?"


async def test_an_unknown_field_within_an_argument_is_named(lake: Lakehouse) -> None:
    """S2.7: a misspelt field of a list's item would be lost without a word."""
    item = {"id": "a", "vector": [1.0, 2.0], "metdata": {"n": 1}}
    with pytest.raises(InvalidInput, match=r"items\.0\.metdata: there is no such argument") as raised:
        await lake.call("vectors.add", {"index": "it", "items": [item]})
    assert raised.value.fix == "Did you mean metadata?"
    schema = (await lake.load()).find("vectors.add").input_schema
    assert schema["properties"]["items"]["items"]["additionalProperties"] is False


async def test_what_an_argument_is_for_is_told_when_its_value_does_not_do(lake: Lakehouse) -> None:
    """A list of all twenty names would be no help: the name was right."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"k": 0}, "k is: Results; default 8."),
        ({"retrieval": "fuzzy"}, "retrieval is: By meaning, by words, or both: names and codes, too."),
        ({"sql_prefilter": {"sql": "SELECT 1"}}, "sql_prefilter takes: sql, id_column, id_prefix."),
    ]
    for given, fix in wrong:
        with pytest.raises(InvalidInput) as raised:
            await lake.call("matrix.search", {"query_text": "x", **given})
        assert raised.value.fix == fix
    with pytest.raises(InvalidInput, match=r"items\.0\.id: it is required") as raised:
        await lake.call("vectors.add", {"index": "it", "items": [{"vector": [1.0]}]})
    assert raised.value.fix == "items.0 takes: id, vector, metadata."
    with pytest.raises(InvalidInput, match="index: it is required") as raised:
        await lake.call("vectors.add", {"items": []})
    assert raised.value.fix == "vectors.add takes: index, items."


async def test_arguments_must_be_an_object(door: Lakehouse) -> None:
    for wrong in ([], "", 0, [1]):
        with pytest.raises(InvalidInput, match="arguments: "):
            await door.call("probe.echo", wrong)  # type: ignore[arg-type]


async def test_a_known_failure_passes_as_it_is(door: Lakehouse) -> None:
    for name in ("probe.refuse", "probe.refuse_in_a_group"):
        with pytest.raises(lakehouse.Conflict) as raised:
            await door.call(name)
        assert raised.value.problem() == {
            "type": "lakehouse:conflict",
            "title": "conflict",
            "status": 409,
            "detail": "it is taken.",
            "fix": "Take another.",
            "data": {"name": "it"},
        }


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("probe.crash", {"secret": "hunter2"}),
        ("probe.crash_in_a_group", {}),
        ("probe.lie", {}),
        ("probe.own_timeout", {}),
    ],
)
async def test_a_crash_tells_the_caller_only_its_id(
    door: Lakehouse, caplog: pytest.LogCaptureFixture, name: str, arguments: dict[str, Any]
) -> None:
    """A-S2-6. The log has the traceback under the same id."""
    with caplog.at_level(logging.ERROR, "lakehouse"), pytest.raises(LakehouseError) as raised:
        await door.call(name, arguments)
    assert type(raised.value) is LakehouseError
    assert "hunter2" not in str(raised.value.problem())
    (record,) = caplog.records
    (op,) = door.observer.recent(1)
    assert raised.value.detail == f"{name} failed (call {op.id})."
    assert record.getMessage() == f"call.crashed {name} (call {op.id})"
    assert record.exc_info
    assert not op.success


@pytest.mark.parametrize(
    ("name", "setting"),
    [("probe.forever", "server.tool_timeout_secs"), ("probe.forever_and_longer", "server.long_timeout_secs")],
)
async def test_a_call_over_its_time_limit(home: Path, tmp_path: Path, name: str, setting: str) -> None:
    """A-S2-3, its part on time: `timeout`, with the limit and the setting that holds it."""
    async with opened(home, tmp_path, **{setting.replace(".", "__"): 0.05}) as lake:
        with pytest.raises(TimedOut, match=r"over 0\.05 seconds") as raised:
            await lake.call(name)
        assert setting in raised.value.fix
        assert lake.observer.recent(1)[0].error.startswith("timeout: ")
        assert await lake.call("probe.echo", {"value": 1}) == {"value": 1}


async def test_read_only(home: Path, tmp_path: Path) -> None:
    async with opened(home, tmp_path, server__read_only=True) as lake:
        for name in ("probe.write", "probe.destroy"):
            with pytest.raises(Forbidden, match="read-only"):
                await lake.call(name)
        assert await lake.call("probe.echo", {"value": 1}) == {"value": 1}


async def test_progress_reaches_whoever_asked(door: Lakehouse) -> None:
    """That of a call inside a call, too."""
    heard: list[tuple[float, float | None, str]] = []

    async def hear(done: float, total: float | None, message: str) -> None:
        heard.append((done, total, message))

    await door.call("probe.steps", progress=hear)
    assert heard == [(1, 2, "half"), (2, 2, "whole")]
    await door.call("probe.steps")
    await door.progress(1)
    assert len(heard) == 2


async def test_every_call_is_observed(door: Lakehouse) -> None:
    """Who asked, what came of it, and which call it belongs to."""
    await door.call("probe.steps", via="cli")
    with pytest.raises(InvalidInput):
        await door.call("probe.echo", {"vlaue": 1}, via="mcp")
    bad, steps, inner = door.observer.recent(3)
    assert (bad.op, bad.source, bad.success) == ("probe.echo", "mcp", False)
    assert (steps.op, steps.source, steps.success, steps.parent) == ("probe.steps", "cli", True, None)
    assert (inner.op, inner.parent) == ("probe.inner", steps.id)
    assert current.get() is None


@pytest.mark.slow
async def test_a_cancelled_call_is_observed_and_leaves_the_door_open(door: Lakehouse) -> None:
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            await door.call("probe.forever")

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert door.observer.recent(1)[0].error == "cancelled"
    assert await door.call("probe.echo", {"value": 1}) == {"value": 1}


async def test_calls_run_side_by_side(door: Lakehouse) -> None:
    answers: dict[int, Any] = {}

    async def ask(value: int) -> None:
        answers[value] = await door.call("probe.echo", {"value": value})

    async with anyio.create_task_group() as group:
        for value in range(50):
            group.start_soon(ask, value)
    assert answers == {value: {"value": value} for value in range(50)}
    assert len({op.id for op in door.observer.recent(50)}) == 50


@pytest.mark.parametrize("before", [0, 170, 195])
async def test_a_credential_on_the_command_line_is_not_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """S3.5: nor a part of one, where the line is cut."""
    monkeypatch.setenv("STORE_ACCESS", "hunter2-hunter2")
    monkeypatch.setattr(sys, "argv", ["lakehouse", "x" * before, "hunter2-hunter2", "postgres://joe:hunter3@db/x"])
    async with lakehouse.open(home, overrides={"embed.api_key_env": "STORE_ACCESS"}):
        note = await anyio.Path(home / "lake.owner.json").read_text()
    assert "lakehouse" in note and "hunter" not in note


async def test_a_closed_lake_stays_closed(home: Path, tmp_path: Path) -> None:
    """And its directory can be opened anew."""
    async with opened(home, tmp_path) as lake:
        pass
    with pytest.raises(Unavailable, match="closed"):
        await lake.call("probe.echo")
    async with opened(home, tmp_path) as again:
        assert await again.call("probe.echo", {"value": 1}) == {"value": 1}


async def test_a_lake_starts_once(home: Path) -> None:
    """However many calls arrive first."""
    lake = Lakehouse(await anyio.to_thread.run_sync(config.read, home))
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(lake.call, "fixture.echo")
    assert len(lake.observer.recent(10)) == 5
    await lake.aclose()


async def test_a_bad_setting_stops_the_opening(home: Path) -> None:
    with pytest.raises(InvalidInput, match=r"sql\.max_row"):
        async with lakehouse.open(home, overrides={"sql.max_row": 1}):
            pass


async def test_a_config_file_opens_the_usual_data_directory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lakehouse.open("lakehouse.toml")`; a folder of that name would be made otherwise."""
    file = tmp_path / "lakehouse.toml"
    file.write_text("[sql]\nmax_rows = 5\n", encoding="utf-8")
    monkeypatch.setenv("LAKEHOUSE_HOME", str(home))
    async with lakehouse.open(file) as lake:
        assert (lake.config.sql.max_rows, lake.home) == (5, home.resolve())
    with pytest.raises(InvalidInput, match="missing"):
        async with lakehouse.open(tmp_path / "missing.toml"):
            pass


@pytest.mark.parametrize("before", [0, 1990, 1995, 2000, 5000])
async def test_a_credential_where_a_long_message_is_cut_is_not_told_in_part(
    home: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """A-S3-3: credentials are looked for in the whole message, and only then is it cut to be shown."""
    monkeypatch.setenv("A_STORE_TOKEN", "tr0ub4dor-and-three")
    async with lakehouse.open(home) as lake:
        with pytest.raises(LakehouseError) as raised:
            await lake.call(
                "corpora.build", {"name": "c", "folder": "/" + "x" * before + " tr0ub4dor-and-three"}, via="mcp"
            )
        shown = str(raised.value) + str(raised.value.problem())
        assert "tr0ub4" not in shown and len(shown) < 9000
