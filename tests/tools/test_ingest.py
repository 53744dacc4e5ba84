"""Ingest through the door."""

import base64
import io
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, NotFound, TooLarge

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_path(lake: Lakehouse, tmp_path: Path) -> None:
    """S7.9: the answer; A-S7-1: once more changes nothing, another schema is a conflict."""
    path = tmp_path / "orders.csv"
    path.write_text("id,zip\n1,01234\n", encoding="utf-8")
    heard: list[float] = []

    async def progress(done: float, total: float | None, message: str) -> None:
        heard.append(done)

    arguments = {"name": "orders", "path": str(path)}
    answer = await lake.call("ingest.file", arguments, progress=progress)
    assert answer["row_count"] == 1 and answer["version"] == 1 and not answer["existing"]
    assert answer["columns"] == [{"name": "id", "type": "int64"}, {"name": "zip", "type": "string"}]
    assert answer["key"].startswith("datasets/orders/") and answer["bytes"] > 0 and answer["warnings"] == []
    assert heard[-1] == 100
    assert (await lake.call("ingest_file", arguments))["existing"]
    path.write_text("id,zip\nx,01234\n", encoding="utf-8")
    with pytest.raises(Conflict, match="id was int64, is string"):
        await lake.call("ingest.file", arguments)
    manifest = await lake.call("datasets.get", {"name": "orders"})
    assert manifest["version"] == 1 and manifest["row_count"] == 1


@pytest.mark.slow
async def test_content_and_objects(lake: Lakehouse) -> None:
    """A-S7-1: content in the request, base64 for Parquet, and stored objects."""
    answer = await lake.call("ingest.file", {"name": "c", "content": "a,b\n1,é\n"})
    assert answer["row_count"] == 1
    answer = await lake.call("ingest.file", {"name": "j", "content": '[{"a":1}]', "source": "json"})
    assert answer["columns"] == [{"name": "a", "type": "int64"}]
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}), out)
    packed = base64.b64encode(out.getvalue()).decode()
    answer = await lake.call("ingest.file", {"name": "p", "content": packed, "source": "parquet"})
    assert answer["row_count"] == 2
    await lake.storage.bucket.put("in/t.tsv", b"a\tb\n1\t2\n")
    answer = await lake.call("ingest.file", {"name": "o", "object_key": "in/t.tsv"})
    assert [c["name"] for c in answer["columns"]] == ["a", "b"]
    manifest = await lake.call("datasets.get", {"name": "o"})
    assert manifest["provenance"]["object"] == "primary://in/t.tsv"
    with pytest.raises(NotFound):
        await lake.call("ingest.file", {"name": "o", "object_key": "in/none.tsv"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "name"),
        ({"name": "t"}, "exactly one"),
        ({"name": "t", "path": "a.csv", "content": "a\n1\n"}, "exactly one"),
        ({"name": "t", "content": "a\n1\n", "source": "xml"}, "source"),
        ({"name": "t", "content": "not base64!", "source": "parquet"}, "content"),
        ({"name": "t", "content": "a\n\ud800\n"}, "content"),
        ({"name": "t", "content": "a\n1\n", "delimiter": "::"}, "delimiter"),
        ({"name": "t", "content": "a\n1\n", "types": {"b": "BIGINT"}}, "no column 'b'"),
        ({"name": "t", "content": "a\n1\n", "encoding": "latin-1"}, "encoding"),
        ({"name": "_t", "content": "a\n1\n"}, "name"),
        ({"name": "t", "content": "a,a\n1,2\n"}, "columns 1, 2"),
    ],
)
async def test_bad_arguments(lake: Lakehouse, arguments: dict[str, Any], words: str) -> None:
    """A-S7-5."""
    with pytest.raises(InvalidInput, match=words):
        await lake.call("ingest.file", arguments)


@pytest.mark.slow
async def test_paths_of_other_faces_lie_below_the_roots(home: Path, tmp_path: Path) -> None:
    """The shell and Python may read any file they can name; everybody else only below ingest.roots."""
    (tmp_path / "in").mkdir()
    for place in (tmp_path / "in" / "t.csv", tmp_path / "t.csv"):
        place.write_text("a\n1\n", encoding="utf-8")
    async with lakehouse.open(home, overrides={"ingest.roots": [str(tmp_path / "in")]}) as lake:
        outside = {"name": "t", "path": str(tmp_path / "t.csv")}
        for via in ("mcp", "http", "workflow", "stdio"):
            with pytest.raises(Forbidden):
                await lake.call("ingest.file", outside, via=via)
            assert (await lake.call("ingest.file", {"name": "t", "path": str(tmp_path / "in/t.csv")}, via=via))[
                "row_count"
            ]
        for via in ("python", "cli"):
            assert (await lake.call("ingest.file", outside, via=via))["existing"]


async def test_without_roots_the_home_directory_counts(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me" / "t.csv").write_text("a\n1\n", encoding="utf-8")
    assert (await lake.call("ingest.file", {"name": "t", "path": "~/t.csv"}, via="mcp"))["row_count"] == 1
    with pytest.raises(Forbidden):
        await lake.call("ingest.file", {"name": "t", "path": str(tmp_path / "t.csv")}, via="mcp")


async def test_limits_are_settings(home: Path) -> None:
    """A-S7-5: too large is refused, and the cap can be set."""
    async with lakehouse.open(home, overrides={"ingest.max_bytes": 20}) as lake:
        with pytest.raises(TooLarge, match=r"ingest\.max_bytes"):
            await lake.call("ingest.file", {"name": "t", "content": "a\n" + "1\n" * 30})
        assert (await lake.call("ingest.file", {"name": "t", "content": "a\n1\n"}))["row_count"] == 1


@pytest.mark.parametrize("name", ["plain", "with space", "it's", "50%", "naïve", "a+b"])
async def test_names_in_keys(lake: Lakehouse, name: str) -> None:
    """A-S7-6: datasets/<escaped name>/<fingerprint>-<sha256>.parquet."""
    answer = await lake.call("ingest.file", {"name": name, "content": "a\n1\n"})
    folder, _, file = answer["key"].rpartition("/")
    assert folder == f"datasets/{quote(name, safe='')}"
    assert file.startswith(answer["schema_fingerprint"] + "-") and len(file) == 64 + 1 + 64 + len(".parquet")
    assert await lake.storage.bucket.exists(answer["key"])
