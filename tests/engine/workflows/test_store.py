"""The file of runs: what is durable, what is damaged, and what a full disk leaves."""

import os
import shutil
import sqlite3
from pathlib import Path

import anyio
import anyio.from_thread
import pytest

from lakehouse import Lakehouse, LakehouseError, TooLarge, Unavailable, Upstream
from lakehouse.engine.workflows.runs import Event, Failure, NodeRecord, Planned, RunRecord, Starter, Store
from lakehouse.engine.workflows.runs.outputs import Outputs

pytestmark = pytest.mark.anyio

RUN = RunRecord(
    id="r",
    workflow="w",
    bundle={"name": "w", "text": "…", "path": ""},
    inputs={"n": [1, None, {"a": "ü"}]},
    message="hello\ud800",
    starter=Starter("mcp", True, True, ("core", "sql"), "somebody", "p", "/tmp"),
    started_at=12.5,
    parent="q",
    rerun_of="o",
    depth=2,
    plan=(Planned("a", "bash"), Planned("b", "mode", ("a",), "fixture.echo")),
)
NODE = NodeRecord(
    "g#2/a", "mode", "failed", "idle", '{"a": 1}', True, Failure("x", "y", "z"), 1.0, 2.5, 3, ("o1", "o2"), 0.5, 7, "m",
    {"answers": [{"decision": "approve"}]},
)  # fmt: skip


async def kept(folder: Path, *nodes: NodeRecord) -> None:
    store = Store(folder)
    await store.add_run(RUN, nodes)
    await store.aclose()


async def test_everything_of_a_run_comes_back(tmp_path: Path) -> None:
    await kept(tmp_path, NODE)
    store = Store(tmp_path)
    assert await store.run("r") == RUN.changed(message="hello?")
    assert await store.nodes("r") == {"g#2/a": NODE}
    over = RUN.changed(status="failed", ended_at=20.0, error=Failure("c", "d"), outcome=False, result="ü" * 70_000)
    await store.put_run(over)
    store.tell("r", Event(1.0, "iteration", "g", {"n": 1}))
    store.tell("r", Event(2.0, "run_failed"))
    first, second = await store.events("r")
    assert first[1] == Event(1.0, "iteration", "g", {"n": 1}) and second[0] > first[0]
    assert await store.events("r", first[0]) == [second]
    assert await store.run("r") == over.changed(message="hello?")
    await store.aclose()


async def test_a_write_that_takes_long_undoes_none_that_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate is answered while the long output of a node that is kept with it reaches the disk."""
    store, put = Store(tmp_path), Outputs.put
    long = NodeRecord("long", "bash", "completed", text="x" * 65_537)
    nodes = {"g#2/a": NODE.changed(extra={}), "long": long}

    async def answer() -> None:
        nodes["g#2/a"] = NODE
        await store.put_node("r", NODE)

    def answered_meanwhile(outputs: Outputs, run: str, text: str) -> str:
        anyio.from_thread.run(answer)
        return put(outputs, run, text)

    monkeypatch.setattr(Outputs, "put", answered_meanwhile)
    await store.add_run(RUN)
    await store.put_nodes("r", list(nodes), nodes)
    assert await store.nodes("r") == {"g#2/a": NODE, "long": long}
    await store.aclose()


async def test_long_outputs_lie_in_files(tmp_path: Path) -> None:
    """A text of over 64 KiB is a file that is named after it; one that is damaged makes its node fail."""
    store = Store(tmp_path, 200_000)
    await store.add_run(RUN)
    for path, text in (("long", "x" * 65_537), ("short", "x" * 65_536), ("wide", "ü" * 40_000)):
        await store.put_node("r", NodeRecord(path, "bash", "completed", text=text))
    assert {name: len(node.text) for name, node in (await store.nodes("r")).items()} == {
        "long": 65_537, "short": 65_536, "wide": 40_000
    }  # fmt: skip
    files = sorted((tmp_path / "r" / "nodes").iterdir(), key=lambda path: path.stat().st_size)
    assert [path.stat().st_size for path in files] == [65_537, 80_000]
    with pytest.raises(TooLarge, match=r"output of big.*workflows\.max_output_bytes") as refused:
        await store.put_node("r", NodeRecord("big", "bash", "completed", text="ü" * 100_001))
    assert "200002 bytes" in str(refused.value)
    files[0].write_bytes(b"y" * 65_537)
    files[1].unlink()
    nodes = await store.nodes("r")
    assert [nodes[name].status for name in ("long", "short", "wide")] == ["failed", "completed", "failed"]
    await store.aclose()


async def test_what_a_killed_process_left_is_read(tmp_path: Path) -> None:
    """A copy of the file and its write-ahead log, taken while it is open, holds all that was acknowledged."""
    store = Store(tmp_path / "a")
    await store.add_run(RUN, [NODE])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").mkdir()
    shutil.copy(tmp_path / "a" / "runs.db-wal", tmp_path / "c")
    await store.aclose()
    assert (tmp_path / "b" / "runs.db-wal").stat().st_size
    for name, found in (("b", True), ("c", False)):
        left = Store(tmp_path / name)
        assert (await left.find("r") is not None) == found
        await left.aclose()


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 - 100)


def foreign(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def scribbled(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def other(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE t (a)")
    file.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()


@pytest.mark.parametrize(
    ("harm", "told"),
    [(torn, "damaged"), (foreign, "damaged"), (scribbled, "damaged"), (other, "damaged"), (newer, "format 99")],
)
async def test_a_damaged_file_is_told_and_harms_nothing_else(
    lake: Lakehouse, home: Path, harm: object, told: str
) -> None:
    await kept(home / "runs", *(NODE.changed(path=f"n{n}", text="x" * 3000) for n in range(50)))
    assert callable(harm)
    harm(home / "runs" / "runs.db")
    before = (home / "runs" / "runs.db").read_bytes()
    for name, given in (("workflow_runs", {}), ("workflow_status", {"run": "r"})):
        try:
            await lake.call(name, given)
        except Unavailable as error:
            assert told in error.detail and error.fix
            assert str(home) not in str(error)
            break
    else:
        raise AssertionError("nobody noticed")
    assert (await lake.call("list_datasets"))["count"] == 0
    assert (home / "runs" / "runs.db").read_bytes() == before


async def test_a_full_disk_fails_all_that_share_a_commit(tmp_path: Path) -> None:
    """None is told that its node is kept which is not, and afterwards the store goes on."""
    store = Store(tmp_path)
    await store.add_run(RUN)
    file = store._connection
    assert file is not None
    (pages,) = file.execute("PRAGMA page_count").fetchone()
    file.execute(f"PRAGMA max_page_count = {pages + 1}")
    failed: list[LakehouseError] = []

    async def put(n: int) -> None:
        try:
            await store.put_node("r", NODE.changed(path=f"n{n}", text="x" * 20_000))
        except Upstream as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        for n in range(20):
            group.start_soon(put, n)
    assert len(failed) == 20 and len({id(error) for error in failed}) == 20
    assert "full" in failed[0].detail
    assert await store.nodes("r") == {}
    file.execute("PRAGMA max_page_count = 100000")
    await put(0)
    assert list(await store.nodes("r")) == ["n0"]
    await store.aclose()


async def test_pages_of_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n in range(7):
        parent = "r3" if n > 4 else None
        starter = Starter(profile="p" if n % 2 else None)
        status = "paused" if n == 2 else "completed"
        await store.add_run(
            RUN.changed(id=f"r{n}", started_at=float(n // 2), parent=parent, starter=starter, status=status)
        )

    async def ids(limit: int = 10, **wanted: object) -> list[str]:
        return [run.id for run in await store.runs(limit, **wanted)]  # type: ignore[arg-type]

    assert await ids(roots=True) == ["r4", "r3", "r2", "r1", "r0"]
    assert await ids(2, roots=True) == ["r4", "r3"]
    assert await ids(2, roots=True, before="r3") == ["r2", "r1"]
    assert await ids(parent="r3") == ["r6", "r5"] == [run.id for run in await store.below("r3")]
    assert await ids(statuses=("paused",)) == ["r2"]
    assert await ids(profile="p") == ["r5", "r3", "r1"]
    assert await ids(among=("r1", "r2"), without=("r2",)) == ["r1"]
    assert await ids(workflow="other") == []
    assert (await store.runs(1))[0].bundle == {}
    await store.remove(["r3", "r5"])
    assert await ids() == ["r6", "r4", "r2", "r1", "r0"]
    await store.aclose()
