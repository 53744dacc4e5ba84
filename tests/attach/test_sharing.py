"""Several processes on one data directory: each call does the same wherever it is made."""

import json
import os
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from tests.owners import another, opened

import lakehouse
from lakehouse import (
    Busy,
    Forbidden,
    InvalidInput,
    Lakehouse,
    LakehouseError,
    NotFound,
    config,
)
from lakehouse.observe import Caller
from lakehouse.transfer import Download, Upload

pytestmark = pytest.mark.anyio


async def test_a_second_opening_attaches(home: Path, project: Path) -> None:
    """S3.8, in one process: calls go to the first one, and both close in either order."""
    async with opened(home, project) as first:
        async with opened(home, project) as second:
            assert not first.attached_to and second.attached_to.startswith(f"process {os.getpid()} ({sys.argv[0]}")
            assert await second.call("probe.echo", {"value": 1}) == {"value": 1}
            assert await second.call("probe_echo", {"value": 2}) == {"value": 2}
            assert [op.op for op in first.observer.recent(2)] == ["probe.echo"] * 2
        assert await first.call("probe.echo") == {}
        third = Lakehouse(await anyio.to_thread.run_sync(config.read, home))
        assert await third.call("fixture.upper", {"text": "x"}) == {"text": "X"} and third.attached_to
    assert await third.call("fixture.upper", {"text": "y"}) == {"text": "Y"} and not third.attached_to
    await third.aclose()
    assert not [path.name for path in home.iterdir() if path.name in ("lake.sock", "lake.owner.json")]


async def test_parts_belong_to_the_owner(home: Path) -> None:
    async with opened(home), opened(home) as second:
        for part in ("storage", "datasets", "ingest", "results", "sql", "embed", "vectors", "corpora", "matrix"):
            with pytest.raises(Busy, match="this lake is attached to process") as busy:
                getattr(second, part)
            assert "lake.call" in busy.value.fix


async def test_the_directory_and_the_socket_are_private(home: Path) -> None:
    async with opened(home):
        assert (await anyio.Path(home).stat()).st_mode & 0o777 == 0o700
        for name in ("lake.sock", "lake.lock", "lake.owner.json"):
            assert (await anyio.Path(home / name).stat()).st_mode & 0o777 == 0o600


@pytest.mark.slow
async def test_an_attached_lake_loads_no_plugin(home: Path, project: Path) -> None:
    async with another(home, project), opened(home, project) as lake:
        assert await lake.call("probe.echo", {"value": 1}) == {"value": 1}
        assert "catalogue" not in vars(lake) and (await lake.load()).find("probe.echo")


PUBLIC = [getattr(lakehouse, name) for name in lakehouse.__all__ if name[0].isupper()]
KINDS = [kind.__name__ for kind in PUBLIC if issubclass(kind, LakehouseError)]


@pytest.mark.parametrize("kind", [*KINDS, "KeyNotFound", "RuntimeError"])
async def test_errors_are_the_same_here_and_there(home: Path, project: Path, kind: str) -> None:
    found = []
    async with opened(home, project) as owner, opened(home, project) as attached:
        for lake in (owner, attached):
            with pytest.raises(LakehouseError) as raised:
                await lake.call("probe.fail", {"kind": kind})
            problem = raised.value.problem()
            problem["detail"] = problem["detail"].partition(" (call ")[0]
            found.append((problem, raised.value.code, str(raised.value.__cause__ or "").rpartition(": ")[2]))
        recorded = [op.error for op in owner.observer.recent(2)]
    assert found[0] == found[1] and recorded[0] is not None
    assert found[0][2] == {"KeyNotFound": "", "RuntimeError": "the reason"}.get(kind, "what was behind it")


async def test_bad_arguments_are_the_same_here_and_there(home: Path, project: Path) -> None:
    async with opened(home, project) as owner, opened(home, project) as attached:
        for name, arguments in (
            ("probe.echo", {"vlaue": 1}),
            ("probe.echo", [1]),
            ("probe.at", {}),
            ("probe.at", {"path": 3}),
            ("probe.eko", {}),
            ("vectors.search", {"index": "i", "vector": [float("nan")]}),
        ):
            said = []
            for lake in (owner, attached):
                with pytest.raises(LakehouseError) as raised:
                    await lake.call(name, arguments)
                said.append(raised.value.problem())
            assert said[0] == said[1], name
        with pytest.raises(InvalidInput, match="cannot be sent"):
            await attached.call("probe.echo", {"value": object()})


@pytest.mark.slow
async def test_a_capability_only_one_of_them_has(home: Path, project: Path) -> None:
    async with another(home) as child, opened(home, project) as lake:
        with pytest.raises(NotFound) as raised:
            await lake.call("probe.echo", {"value": 1})
        assert f"process {child.pid} " in raised.value.detail and "started without" in raised.value.fix
        with pytest.raises(NotFound, match=r"there is no capability called 'probe\.eko'"):
            await lake.call("probe.eko")
    async with another(home, project), opened(home) as lake:
        assert await lake.call("probe.echo", {"value": 1}) == {"value": 1}
        with pytest.raises(NotFound, match=r"there is no capability called 'probe\.eko'"):
            await lake.call("probe.eko")


async def test_read_only_binds_whom_it_was_given_to(home: Path, project: Path) -> None:
    """The settings of the process that was asked, and whoever asks there; not those of the owner."""
    async with opened(home, project, server__read_only=True) as owner, opened(home, project) as free:
        for via in ("python", "mcp", "http"):
            with pytest.raises(Forbidden, match="read-only"):
                await owner.call("probe.nested", via=via)
        assert (await free.call("probe.nested"))["value"][3] is False
        with pytest.raises(Forbidden, match="read-only"):
            await free.call("probe.nested", caller=Caller(via="http", read_only=True))
    async with opened(home, project) as owner, opened(home, project, server__read_only=True) as bound:
        assert (await owner.call("probe.nested"))["value"][3] is False
        with pytest.raises(Forbidden, match=r"probe\.nested writes; access here is read-only"):
            await bound.call("probe.nested")
        assert (await bound.call("probe.who"))["value"][3] is True


async def test_toolsets_bind_here_and_there(home: Path) -> None:
    async with opened(home) as owner, opened(home) as attached:
        for lake in (owner, attached):
            with pytest.raises(Forbidden, match="toolsets"):
                await lake.call("observer.stats", caller=Caller(toolsets=frozenset({"sql"})))
            assert await lake.call("datasets.list", caller=Caller(toolsets=frozenset({"sql"})))


@pytest.mark.slow
async def test_relative_paths_are_meant_from_where_the_caller_stands(
    home: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "t.csv").write_text("a\n1\n")
    async with another(home, project), opened(home, project) as lake:
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert (await lake.call("probe.at", {"path": "x/y"}))["value"] == str(tmp_path / "elsewhere" / "x" / "y")
        assert (await lake.call("probe.at", {"path": "/x"}))["value"] == "/x"
        assert (await lake.call("ingest.file", {"path": Path("t.csv"), "name": "t"}))["row_count"] == 1
        caller = Caller(folder="/from")
        assert (await lake.call("probe.at", {"path": "x"}, caller=caller))["value"] == "/from/x"
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert (await lake.call("probe.at", {"path": "x"}))["value"] == "/dev/null/x"
        monkeypatch.chdir(tmp_path)


@pytest.mark.slow
async def test_results_are_kept_by_the_owner_and_read_through_anybody(home: Path) -> None:
    """A-S2-3: over the limit, a preview and a handle that reads back whole."""
    arguments = {"sql": "SELECT i, repeat('x', 50) AS t FROM range(500) r(i)"}
    async with opened(home) as owner, opened(home) as attached:
        value, text = await attached.answer("sql.query", arguments, 5000, caller=Caller(via="mcp"))
        assert value["truncated"] and len(text) <= 5000 and json.loads(text) == value
        for lake in (owner, attached):
            page = await lake.call("results.get", {"id": value["handle"], "offset": 498, "limit": 5})
            assert [row[0] for row in page["rows"]] == [498, 499]
        here, there = [await lake.call("sql.query", arguments) for lake in (owner, attached)]
        assert here["rows"] == there["rows"] and len(here["rows"]) == 500
        # What the asking process shows at most is decided there, not by the owner.
        page = await attached.answer("results.get", {"id": value["handle"]}, 2000, caller=Caller(via="mcp"))
        assert len(page[1]) <= 2000


@pytest.mark.slow
async def test_files_come_and_go_through_the_owner(home: Path, project: Path, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_text("what was sent")
    async with another(home, project), opened(home, project) as lake:
        upload = Upload(path=sent, size=13)
        assert await lake.call("probe.send", upload=upload) == {"value": "what was sent"}
        with pytest.raises(InvalidInput, match="takes no file"):
            await lake.call("probe.echo", upload=upload)
        found = await lake.call("probe.file", {"name": "f"})
        assert isinstance(found, Download) and (found.size, found.etag) == (8, "e")
        assert await anyio.Path(found.path).read_text() == "contents"


async def test_calls_are_recorded_by_the_owner(home: Path, project: Path) -> None:
    """Under the face they came through, as calls of their own; those that were cancelled, too."""
    async with opened(home, project) as owner, opened(home, project) as attached:
        begun = anyio.Event()

        async def hear(done: float, total: float | None, message: str) -> None:
            begun.set()

        # The second lake attaches in the middle of a call of its own.
        await attached.call("probe.nested", via="mcp")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: attached.call("probe.wait", {"path": "/never"}, via="cli", progress=hear))
            await begun.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(30):
            while owner.observer.recent(1)[0].op != "probe.wait":
                await anyio.lowlevel.checkpoint()
        cancelled, nested, inner = owner.observer.recent(3)
        assert (cancelled.op, cancelled.source, cancelled.error) == ("probe.wait", "cli", "cancelled")
        assert {nested.op: nested.parent, inner.op: inner.parent} == {"probe.nested": None, "probe.who": nested.id}
        assert {nested.source, inner.source} == {"mcp"}


async def test_a_call_that_opens_the_lake_is_no_parent_of_others(home: Path, project: Path) -> None:
    settings = await anyio.to_thread.run_sync(lambda: config.read(home, None, {"plugins.folders": [str(project)]}))
    async with Lakehouse(settings) as owner:
        await owner.call("probe.nested")
        async with opened(home, project) as attached:
            await attached.call("probe.echo")
        assert owner.observer.recent(1)[0].op == "probe.echo" and owner.observer.recent(1)[0].parent is None


async def test_whoever_counts_calls_counts_these_too(home: Path, project: Path) -> None:
    async with opened(home, project) as owner, opened(home, project) as attached:
        counted: list[tuple[str, str, str]] = []
        owner.watchers.append(lambda call, outcome, _: counted.append(("owner", call.name, outcome)))
        attached.watchers.append(lambda call, outcome, _: counted.append(("attached", call.name, outcome)))
        await attached.call("probe_echo")
        with pytest.raises(NotFound):
            await attached.call("probe.eko")
        with pytest.raises(NotFound):
            await attached.call("probe.fail", {"kind": "KeyNotFound"})
    assert counted == [
        *((who, "probe.echo", "ok") for who in ("owner", "attached")),
        *((who, "probe.fail", "not_found") for who in ("owner", "attached")),
    ]


@pytest.mark.slow
async def test_progress_of_many_tasks_arrives(home: Path, project: Path) -> None:
    heard: list[float] = []

    async def hear(done: float, total: float | None, message: str) -> None:
        heard.append(done)

    async with another(home, project), opened(home, project) as lake:
        await lake.call("probe.many", progress=hear)
    assert sorted(heard) == list(range(50))
