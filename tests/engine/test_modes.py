"""What becomes of a dataset when rows are appended to it, take the place of others, or are removed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engine.ingesting import Bench

from lakehouse import config
from lakehouse.engine import moment
from lakehouse.engine.datasets import Manifest, SchemaChanged
from lakehouse.engine.ingest import Ingested
from lakehouse.engine.merged import batches
from lakehouse.engine.tables import desk, table_of
from lakehouse.errors import Conflict, InvalidInput, NotFound, TooLarge, Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def rows(bench: Bench, name: str = "t") -> list[tuple[Any, ...]]:
    """The rows of the newest version; the manifest counts them exactly."""
    manifest = await bench.datasets.get(name)
    paths = await bench.datasets.local_files(manifest)
    columns = [column.name for column in manifest.columns]
    found = await anyio.to_thread.run_sync(
        lambda: [tuple(row.values()) for b in batches(manifest, paths, columns, 100) for row in b.to_pylist()]
    )
    assert manifest.row_count == len(found)
    return found


async def csv(bench: Bench, text: str, **asked: Any) -> Ingested:
    return await bench.ingester.ingest_content(text.encode(), "csv", "t", **asked)


@pytest.mark.slow
async def test_append(bench: Bench) -> None:
    """Rows come behind those that are there, as the dataset's types; the same content again is there already."""
    await csv(bench, "id,x,day\n1,1.5,2024-01-01T10:00:00\n")
    added = await csv(bench, "day,x,id\n2024-01-02,3,2\n,,3\n", mode="append")
    assert (added.version, added.row_count, added.rows_read, added.existing) == (2, 3, 2, False)
    assert [column.type for column in added.columns] == ["int64", "double", "timestamp[us]"]
    assert [row[:2] for row in await rows(bench)] == [(1, 1.5), (2, 3.0), (3, None)]
    again = await csv(bench, "day,x,id\n2024-01-02,3,2\n,,3\n", mode="append")
    assert (again.version, again.row_count, again.existing, again.key) == (2, 3, True, added.key)
    assert "repeat=true" in again.warnings[0]
    # Also when another file came between, and when compaction made one file of all.
    await csv(bench, "id,x,day\n4,4,\n", mode="append")
    await bench.ingester.compact("t")
    assert (await csv(bench, "day,x,id\n2024-01-02,3,2\n,,3\n", mode="append")).existing
    assert (await csv(bench, "day,x,id\n2024-01-02,3,2\n,,3\n", mode="append", repeat=True)).row_count == 6
    assert [row[0] for row in await rows(bench)] == [1, 2, 3, 4, 2, 3]
    with pytest.raises(InvalidInput, match="append has none"):
        await csv(bench, "id,x,day\n4,4,\n", mode="append", key=["id"])
    assert (await bench.datasets.get("t")).operation == "append" and bench.scratch() == []


@pytest.mark.slow
async def test_a_value_that_would_change(bench: Bench) -> None:
    """What the dataset's column cannot hold as it is written is an error with its place."""
    await csv(bench, "a,b,c,d,e\n1,x,1.5,true,2024-01-01\n")
    lines = 'e,b,a,c,d\n2024-01-02,"x\ny",1,2,false\n\n2024-01-01 10:00,z,007,12345678901234567890,yes\n,z,1.5,,\n'
    with pytest.raises(InvalidInput, match=r"line 5, column 'c': '1234.*' is not a DOUBLE") as refused:
        await csv(bench, lines.replace("007", ""), mode="append")
    assert [(row["line"], row["column"]) for row in refused.value.data["rows"]] == [
        *((5, "c"), (5, "d"), (5, "e"), (6, "a"))
    ]
    with pytest.raises(InvalidInput, match=r"line 3, column 'a': '1\.5' is not a BIGINT"):
        await bench.ingester.ingest_content(
            b'{"a":2,"b":3,"c":1,"d":null,"e":null}\n\n{"a":1.5,"b":3,"c":1,"d":null,"e":null}',
            *("jsonl", "t"),
            mode="append",
        )
    assert await csv(bench, "a,b,c,d,e\n2,007,,,\n", mode="append")
    assert [row[1] for row in await rows(bench)] == ["x", "007"]


@pytest.mark.slow
async def test_parquet_of_other_types(bench: Bench) -> None:
    """Columns of another type are taken where no value changes, and refused with row and value where one would."""
    table = pa.table({"id": pa.array([1], pa.int32()), "p": pa.array(["1.10"]).cast(pa.decimal128(9, 2))})
    path = bench.folder / "t.parquet"
    pq.write_table(table, path)
    await bench.ingester.ingest_path(path, "t")
    assert (await csv(bench, "p,id\n2.5,2\n", mode="append")).row_count == 2
    pq.write_table(pa.table({"p": [3.0, 0.125], "id": [3, 4]}), path)
    with pytest.raises(InvalidInput, match=r"line 2, column 'p': '0.125' is not a DECIMAL\(9,2\)"):
        await bench.ingester.ingest_path(path, "t", mode="append")
    assert [str(row[1]) for row in await rows(bench)] == ["1.10", "2.50"]


@pytest.mark.slow
async def test_upsert(bench: Bench) -> None:
    """A-S8-9: rows of the same key are replaced, others added, before and after compaction."""
    await csv(bench, "id,x\n1,a\n2,b\n3,c\n")
    with pytest.raises(InvalidInput, match="key: the dataset has none yet"):
        await csv(bench, "id,x\n1,z\n", mode="upsert")
    with pytest.raises(InvalidInput, match="rows 1 and 3 are all '1'; row 2 has no id") as refused:
        await csv(bench, "id,x\n1,z\n,y\n1,y\n", mode="upsert", key=["id"])
    assert [bad["row"] for bad in refused.value.data["rows"]] == [1, 2]
    with pytest.raises(InvalidInput, match="there is no column 'ID'"):
        await csv(bench, "id,x\n1,z\n", mode="upsert", key=["ID"])
    made = await csv(bench, "x,id\nB,2\nD,4\n", mode="upsert", key=["id"])
    assert (made.version, made.row_count, made.replaced, made.existing) == (2, 4, 1, False)
    expected = [(1, "a"), (2, "B"), (3, "c"), (4, "D")]
    assert sorted(await rows(bench)) == expected
    assert (await csv(bench, "x,id\nB,2\nD,4\n", mode="upsert")).existing
    with pytest.raises(Conflict, match="named by id"):
        await csv(bench, "id,x\n1,z\n", mode="append")
    with pytest.raises(Conflict, match="named by id"):
        await csv(bench, "id,x\n1,z\n", mode="upsert", key=["x"])
    folded = await bench.ingester.compact("t")
    assert (folded.files_before, folded.files, folded.version) == (2, 1, 3)
    assert await rows(bench) == expected
    assert (await bench.ingester.compact("t")).version == 3  # there is nothing to do
    replaced = await csv(bench, "id,x\n9,z\n")
    assert (await bench.datasets.get("t")).key == ("id",) and replaced.row_count == 1
    with pytest.raises(InvalidInput, match="does not name the rows of the file"):
        await csv(bench, "id,x\n9,z\n9,y\n")


@pytest.mark.slow
async def test_a_key_for_rows_that_have_none(bench: Bench) -> None:
    await csv(bench, "id,x\n1,a\n1,b\n,c\n")
    with pytest.raises(InvalidInput, match="rows of dataset 't': rows 1 and 2 are all '1'; row 3 has no id"):
        await csv(bench, "id,x\n5,z\n", mode="upsert", key=["id"])
    assert (await bench.datasets.get("t")).version == 1


@pytest.mark.slow
async def test_evolve(bench: Bench) -> None:
    """Columns may come, null in older rows; what is missing is refused with both schemas."""
    await csv(bench, "id,x\n1,a\n")
    with pytest.raises(SchemaChanged, match="n int64 is new"):
        await csv(bench, "n,id,x\n5,2,b\n", mode="append")
    await csv(bench, "n,id,x\n5,2,b\n", mode="append", evolve=True)
    assert await rows(bench) == [(1, "a", None), (2, "b", 5)]
    with pytest.raises(SchemaChanged, match="x string is missing") as refused:
        await csv(bench, "id,n\n3,6\n", mode="append", evolve=True)
    assert [c["name"] for c in refused.value.data["stored"]] == ["id", "x", "n"]
    with pytest.raises(SchemaChanged, match="X string is new; x string is missing"):
        await csv(bench, "id,X,n\n3,c,6\n", mode="append", evolve=True)
    await csv(bench, "_deleted,x,id,n,_at\nfalse,B,2,5,7\n", mode="upsert", key=["id"], evolve=True)
    expected = [(1, "a", None, None, None), (2, "B", 5, False, 7)]
    assert sorted(await rows(bench)) == expected
    assert (await bench.ingester.delete("t", keys=[2])).deleted == 1
    await bench.ingester.compact("t")
    assert await rows(bench) == expected[:1]
    made = await csv(bench, "more,id,x,n,_deleted,_at\n1,2,B,5,false,7\n", evolve=True)
    assert [c.name for c in made.columns] == ["id", "x", "n", "_deleted", "_at", "more"]
    assert await rows(bench) == [(2, "B", 5, False, 7, 1)]


@pytest.mark.slow
async def test_delete(bench: Bench) -> None:
    """Rows without a key are written anew without those; keyed ones go by a delta."""
    await csv(bench, "id,x\n1,a\n2,\n3,c\n")
    gone = await bench.ingester.delete("t", where="x <> 'a' -- or so")
    assert (gone.deleted, gone.row_count, gone.version) == (1, 2, 2)
    assert await rows(bench) == [(1, "a"), (2, None)]  # what is neither true nor false stays
    assert (await bench.ingester.delete("t", where="id > 100")).version == 2
    with pytest.raises(Conflict, match="have none"):
        await bench.ingester.delete("t", keys=[1])
    await csv(bench, "id,x\n1,a\n7,g\n8,h\n", mode="upsert", key=["id"])
    gone = await bench.ingester.delete("t", where="id IN (SELECT max(id) FROM t)")
    assert (gone.deleted, gone.row_count) == (1, 3)
    gone = await bench.ingester.delete("t", keys=[{"id": 7}, 7, 55])
    assert (gone.deleted, gone.row_count) == (1, 2)
    assert (await bench.ingester.delete("t", keys=[55])).version == gone.version
    with pytest.raises(InvalidInput, match="number 2 does not name a row"):
        await bench.ingester.delete("t", keys=[1, {"x": 1}])
    assert sorted(await rows(bench)) == [(1, "a"), (2, None)]
    assert (await bench.ingester.delete("t", where="true")).row_count == 0
    assert await rows(bench) == []
    with pytest.raises(NotFound):
        await bench.ingester.delete("none", where="true")


@pytest.mark.slow
async def test_no_condition(bench: Bench) -> None:
    """A condition stays within its brackets, and reads this dataset alone."""
    await csv(bench, "id,x\n1,a\n0,b\n")
    table = await table_of(bench.datasets, await bench.datasets.get("t"))
    async with desk({"t": table}, bench.folder, config.Ingest()) as work:
        for where in (
            *("", "1; SELECT 1", "true) OR (true) --", "true) UNION ALL SELECT 1, 'x' WHERE (true", "count(*) > 0"),
            *("id IN (SELECT id FROM u)", "x = getenv('HOME')", "true) AS a, (true", "1) ORDER BY (1", "nope = 1"),
            *("id IN (FROM read_csv('/etc/passwd'))", "?", "row_number() OVER () = 1", "true) FROM t WHERE (id = 1"),
            *("1) = (2", "false) OR (true", "(id = 1)) AND ((true)", "id) /* ( */ = (1", "true)"),
        ):
            with pytest.raises(InvalidInput):
                await work.write(f"SELECT * FROM t WHERE ({where}\n)", foreign=True, conditions={"where": where})
        with pytest.raises((TooLarge, Upstream)):  # whatever it takes, it is not the machine's
            await work.rows("SELECT length(repeat('x', 4000000000)) FROM t", foreign=True)
    assert (await bench.ingester.delete("t", where="id")).deleted == 1  # a number is a condition: not zero


@pytest.mark.slow
async def test_register_delta(bench: Bench) -> None:
    """S8.8: rows or an object, with tombstones; those need no column but the key."""
    await csv(bench, 'city,day,n\nit\'s,2024-01-01,1\n"a""b",2024-01-01,2\nc,2024-01-03,3\n')
    key = ["city", "day"]
    with pytest.raises(NotFound):
        await bench.ingester.register_delta("none", rows=[{"city": "c"}], key=key)
    changed = [{"city": "it's", "day": "2024-01-01", "_deleted": True}]
    assert (await bench.ingester.register_delta("t", rows=changed, key=key)).row_count == 2
    path = bench.folder / "d.parquet"
    pq.write_table(
        pa.table({"_deleted": [None, True], "n": [20, None], "day": ["2024-01-01"] * 2, "city": ['a"b', "q"]}), path
    )
    await bench.storage.put_file("in/d.parquet", path)
    made = await bench.ingester.register_delta("t", object_key="in/d.parquet")
    assert (made.row_count, made.replaced) == (2, 1)
    assert sorted((city, n) for city, _, n in await rows(bench)) == [('a"b', 20), ("c", 3)]
    with pytest.raises(SchemaChanged, match="n int64 is missing"):
        await bench.ingester.register_delta("t", rows=[{"city": "c", "day": "2024-01-03"}])
    with pytest.raises(InvalidInput, match="is not a BOOLEAN"):
        await bench.ingester.register_delta("t", rows=[{**changed[0], "_deleted": 3}])
    assert (await bench.ingester.delete("t", keys=[{"city": "c", "day": "2024-01-03"}])).row_count == 1


@pytest.mark.slow
async def test_compaction_loses_no_commit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever appends while files are folded, with a column more, finds the rows behind the folded ones."""
    for n in range(3):
        await csv(bench, f"id,x\n{n},a\n", mode="append")
    change = bench.datasets.change
    late = Bench(bench.folder)  # another process

    async def slow(name: str, make: Any, **more: Any) -> tuple[Manifest, bool]:
        monkeypatch.undo()
        await late.ingester.ingest_content(b"id,x,n\n9,z,1\n", "csv", "t", mode="append", evolve=True)
        return await change(name, make, **more)

    monkeypatch.setattr(bench.datasets, "change", slow)
    folded = await bench.ingester.compact("t")
    assert (folded.files, folded.version, folded.row_count) == (2, 5, 4)
    assert [row[0] for row in await rows(bench)] == [0, 1, 2, 9]
    monkeypatch.setattr(bench.datasets, "change", replacing(late, change, monkeypatch))
    assert (await bench.ingester.compact("t")).version == 6  # what was to be folded is gone: nothing to do
    assert await rows(bench) == [(5, "new", 0)]


def replacing(bench: Bench, change: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    async def slow(name: str, make: Any, **more: Any) -> tuple[Manifest, bool]:
        monkeypatch.undo()
        await csv(bench, "id,x,n\n5,new,0\n")
        committed: tuple[Manifest, bool] = await change(name, make, **more)
        return committed

    return slow


@pytest.mark.slow
async def test_many_small_files_are_folded(tmp_path: Path) -> None:
    """Past the limit small files are folded; a large one before them is left as it is."""
    bench = Bench(tmp_path, compact_files=3)
    await csv(bench, "id,x\n" + "".join(f"{n},{n * 7919 % 10007}\n" for n in range(5000)))
    large = (await bench.datasets.get("t")).objects[0]
    for n in range(6):
        await csv(bench, f"id,x\n{n},{n}\n", mode="append")
    manifest = await bench.datasets.get("t")
    assert manifest.operation == "compact" and len(manifest.objects) == 2 and manifest.objects[0] == large
    assert [row[0] for row in (await rows(bench))[5000:]] == list(range(6))
    keyed = Bench(tmp_path / "keyed", compact_files=2)
    (tmp_path / "keyed").mkdir()
    await csv(keyed, "id,x\n" + "".join(f"{n},{n * 7919 % 10007}\n" for n in range(5000)), key=["id"])
    for n in range(4):
        await csv(keyed, f"id,x\n{n},{n}\n", mode="upsert")
    await keyed.ingester.delete("t", where="id = 3")
    manifest = await keyed.datasets.get("t")
    assert [file.role for file in manifest.objects] == ["base", "delta", "delta"][: len(manifest.objects)]
    assert sorted(await rows(keyed))[:4] == [(0, 0), (1, 1), (2, 2), (4, 4 * 7919 % 10007)]


@pytest.mark.slow
async def test_writers_at_once(bench: Bench) -> None:
    """Writers in two processes' worth of catalogs: every row is there once, and versions follow each other."""
    await csv(bench, "id,x\n0,0\n", key=["id"])
    others = [bench, Bench(bench.folder)]
    async with anyio.create_task_group() as tasks:
        for n in range(1, 5):
            bench_of = others[n % 2]
            ask = bench_of.ingester.register_delta
            tasks.start_soon(ask, "t", None, [{"id": n, "x": n}, {"id": 0, "x": n}])
    found = sorted(await rows(Bench(bench.folder)))
    assert [row[0] for row in found] == list(range(5))
    assert (await Bench(bench.folder).datasets.get("t")).version == 5


@pytest.mark.slow
async def test_times_follow(bench: Bench) -> None:
    """Every change is a version of its own that can be read as it was."""
    await csv(bench, "id,x\n1,a\n", key=["id"])
    between = moment.now()
    await csv(bench, "id,x\n1,b\n", mode="upsert")
    manifest = await bench.datasets.at("t", between)
    assert (manifest.version, manifest.row_count, manifest.merged) == (1, 1, False)
