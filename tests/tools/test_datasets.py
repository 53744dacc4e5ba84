"""The catalog tools and resources through the door."""

import hashlib
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import lakehouse
from lakehouse import InvalidInput, Lakehouse, NotFound
from lakehouse.engine.datasets import Column, DataFile, EmptyName, data_key, fingerprint

pytestmark = pytest.mark.anyio
COLUMNS = [Column("id", "int64"), Column("at", "timestamp[us, tz=UTC]")]


async def add(lake: Lakehouse, name: str, path: Path, rows: int = 30) -> None:
    """A dataset as ingest would leave it."""
    times = pyarrow.array([n * 10**6 for n in range(rows)], pyarrow.timestamp("us", "UTC"))
    pyarrow.parquet.write_table(pyarrow.table({"id": list(range(rows)), "at": times}), path)
    digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    file = DataFile(data_key(name, fingerprint(COLUMNS), digest), digest, size, rows)
    await lake.storage.bucket.put_file(file.key, path)
    await lake.datasets.commit(name, COLUMNS, [file], provenance={"source": "test"})


async def test_an_empty_lake(lake: Lakehouse) -> None:
    """S6.7: [] and 0, never null; the static resource is there."""
    answer = await lake.call("list_datasets", {})
    assert (answer["manifests"], answer["count"], answer["total"], answer.get("next")) == ([], 0, 0, None)
    assert await lake.call("datasets.index", {}) == {"values": []}
    with pytest.raises(NotFound):
        await lake.call("get_manifest", {"name": "x"})


async def test_list_get_and_page(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """A-S6-1 through the door, over a restart."""
    for name in ("c", "a", 'o\'brien "x"', "b"):
        await add(lake, name, tmp_path / "p")
    everything = await lake.call("list_datasets", {})
    names = [manifest["name"] for manifest in everything["manifests"]]
    assert names == ["a", "b", "c", 'o\'brien "x"'] and everything["count"] == everything["total"] == 4
    first = await lake.call("list_datasets", {"limit": 3})
    assert (first["count"], first["total"], first["next"]) == (3, 4, "c")
    rest = await lake.call("list_datasets", {"limit": 3, "after": "c"})
    assert ([m["name"] for m in rest["manifests"]], rest.get("next")) == (['o\'brien "x"'], None)
    manifest = await lake.call("get_manifest", {"name": "a"})
    assert manifest == everything["manifests"][0]
    assert manifest["columns"] == [{"name": "id", "type": "int64"}, {"name": "at", "type": "timestamp[us, tz=UTC]"}]
    assert manifest["provenance"] == {"source": "test"} and manifest["objects"][0]["role"] == "base"
    assert await lake.call("get_manifest", {"name": "a", "version": 1}) == manifest
    await lake.aclose()
    async with lakehouse.open(home) as again:
        assert await again.call("list_datasets", {}) == everything


async def test_resources(lake: Lakehouse, tmp_path: Path) -> None:
    """A-S2-4, datasets: manifest, schema, sample and the completion of their names."""
    await add(lake, "orders", tmp_path / "p")
    await add(lake, "other", tmp_path / "p", rows=3)
    assert await lake.call("datasets.manifest", {"name": "orders"}) == await lake.call(
        "get_manifest", {"name": "orders"}
    )
    schema = await lake.call("datasets.schema", {"name": "orders"})
    assert (schema["name"], schema["version"], len(schema["columns"])) == ("orders", 1, 2)
    sample = await lake.call("datasets.sample", {"name": "orders"})
    assert (sample["row_count"], len(sample["rows"])) == (30, 20)
    assert sample["rows"][1] == [1, "1970-01-01T00:00:01Z"]
    assert len((await lake.call("datasets.sample", {"name": "other"}))["rows"]) == 3
    assert (await lake.call("datasets.names", {"prefix": "or"}))["values"] == ["orders"]
    assert (await lake.call("datasets.names", {}))["values"] == ["orders", "other"]


async def test_a_damaged_dataset_is_named_beside_the_others(lake: Lakehouse, tmp_path: Path) -> None:
    """A-S6-8 through the door."""
    for name in ("a", "b"):
        await add(lake, name, tmp_path / "p")
    await lake.storage.bucket.put("_catalog/b/00000000000000000001.json", b"{")
    await lake.datasets.refresh()
    catalog = await lake.datasets.catalog_of("b")
    catalog._index = type(catalog._index)({}, {})
    await lake.datasets.refresh()
    answer = await lake.call("list_datasets", {})
    assert [manifest["name"] for manifest in answer["manifests"]] == ["a"]
    assert len(answer["problems"]) == 1 and "'b'" in answer["problems"][0]


@pytest.mark.parametrize(
    ("tool", "arguments", "error"),
    [
        ("get_manifest", {"name": " "}, EmptyName),
        ("get_manifest", {"name": "a/b"}, InvalidInput),
        ("get_manifest", {}, InvalidInput),
        ("get_manifest", {"nam": "x"}, InvalidInput),
        ("get_manifest", {"name": 3}, InvalidInput),
        ("list_datasets", {"limit": 0}, InvalidInput),
        ("list_datasets", {"limit": 1001}, InvalidInput),
        ("register_dataset", {"name": "x", "objects": []}, InvalidInput),
        ("register_dataset", {"name": "x", "objects": [{"key": "a"}, {"key": "b"}]}, InvalidInput),
    ],
)
async def test_bad_arguments(lake: Lakehouse, tool: str, arguments: dict[str, object], error: type[Exception]) -> None:
    """A-S6-6 without HTTP."""
    with pytest.raises(error):
        await lake.call(tool, arguments)
