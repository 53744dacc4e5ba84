"""History, differences, restoring, dropping and upkeep through the door."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Lakehouse, NotFound, Upstream
from lakehouse.engine.datasets import DatasetNotFound, Draft
from lakehouse.faces.cli import root

pytestmark = pytest.mark.anyio


async def rows(lake: Lakehouse, name: str) -> list[list[Any]]:
    return list((await lake.call("query_sql", {"sql": f"SELECT * FROM {name} ORDER BY ALL"}))["rows"])


@pytest.mark.slow
async def test_the_life_of_a_dataset(lake: Lakehouse, home: Path) -> None:
    """Every change is a version; each can be seen, and be made the newest again, over a restart too."""
    for content in ("id,b\n1,x\n", "id,b\n1,x\n2,y\n"):
        await lake.call("ingest_file", {"name": "o", "content": content})
    dropped = await lake.call("drop_dataset", {"name": "o"})
    assert (dropped["version"], dropped["row_count"]) == (3, 0)
    assert (await lake.call("list_datasets", {}))["manifests"] == []
    assert (await lake.call("datasets.names", {}))["values"] == []
    for name, arguments in (
        ("drop_dataset", {"name": "o"}),
        ("get_manifest", {"name": "o"}),
        ("datasets.sample", {"name": "o"}),
        ("build_corpus", {"name": "c", "dataset": "o", "text": ["b"], "id": "id"}),
    ):
        with pytest.raises(DatasetNotFound, match="dropped"):
            await lake.call(name, arguments)
    with pytest.raises(InvalidInput, match="was dropped"):
        await lake.call("query_sql", {"sql": "SELECT * FROM o"})
    readers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("query_sql", {"sql": "SELECT * FROM o", "as_of": 3}),
        ("query_sql", {"sql": 'SELECT * FROM "o@v3"'}),
        ("datasets.sample_at", {"name": "o", "as_of": "3"}),
        ("build_corpus", {"name": "c", "dataset": "o", "text": ["b"], "id": "id", "as_of": 3}),
    )
    for reader, asked in readers:
        with pytest.raises(DatasetNotFound, match="with version 3"):
            await lake.call(reader, asked)
    assert (await lake.call("diff_dataset", {"name": "o", "before": 2, "after": 3}))["removed"] == 2
    again = await lake.call("ingest_file", {"name": "o", "content": "id,b\n1,x\n2,y\n"})
    assert (again["version"], again["existing"]) == (4, False)
    await lake.call("drop_dataset", {"name": "o"})
    made = await lake.call("restore_dataset", {"name": "o"})
    assert made == await lake.call("restore_dataset", {"name": "o"}) | {"existing": False}
    assert await rows(lake, "o") == [[1, "x"], [2, "y"]]
    back = await lake.call("restore_dataset", {"name": "o", "as_of": "v1"})
    assert (back["version"], back["existing"]) == (7, False)
    assert (await lake.call("restore_dataset", {"name": "o", "as_of": 1}))["existing"]
    assert await rows(lake, "o") == [[1, "x"]]
    with pytest.raises(InvalidInput, match="version 3"):
        await lake.call("restore_dataset", {"name": "o", "as_of": 3})
    await lake.aclose()
    async with lakehouse.open(home) as reopened:
        told = await reopened.call("dataset_history", {"name": "o"})
        assert [(v["version"], v["operation"], v["change"]) for v in told["versions"]] == [
            (7, "restore", -1),
            (6, "restore", 2),
            (5, "drop", -2),
            (4, "ingest", 2),
            (3, "drop", -2),
            (2, "ingest", 1),
            (1, "ingest", 1),
        ]
        assert told["total"] == 7 and told["versions"][0]["by"] == "python" and len(told["versions"][0]["call"]) == 22
        assert told["versions"][-1]["source"] == "content.csv"
        page = await reopened.call("dataset_history", {"name": "o", "limit": 2, "before": 6})
        assert ([v["version"] for v in page["versions"]], page["next"]) == ([5, 4], 4)


@pytest.mark.slow
async def test_a_restored_version_may_have_another_schema(lake: Lakehouse) -> None:
    await lake.call("ingest_file", {"name": "o", "content": "id,b\n1,x\n"})
    await lake.call("drop_dataset", {"name": "o"})
    await lake.call("ingest_file", {"name": "o", "content": "q\n1.5\n"})
    found = await lake.call("diff_dataset", {"name": "o", "before": 1})
    assert (found["added"], found["removed"]) == (1, 1)
    assert [c["name"] for c in found["columns"]] == ["id", "b", "q"]
    await lake.call("restore_dataset", {"name": "o", "as_of": 1})
    assert await rows(lake, "o") == [[1, "x"]]
    with pytest.raises(InvalidInput, match="not dropped"):
        await lake.call("ingest_file", {"name": "o", "content": "id,b\n2,x\n"})
        await lake.call("restore_dataset", {"name": "o"})


async def test_what_is_expected_now_holds_for_what_comes_back(lake: Lakehouse) -> None:
    """A restore brings contents back, and lifts no expectation that was set after them."""
    await lake.call("ingest_file", {"name": "o", "content": "id,n\n1,5\n"})
    await lake.call("ingest_file", {"name": "o", "content": "id,n\n2,50\n"})
    rule = {"rule": "range", "column": "n", "min": 10}
    await lake.call("set_expectations", {"name": "o", "expectations": [rule]})
    with pytest.raises(InvalidInput, match="range"):
        await lake.call("restore_dataset", {"name": "o", "as_of": 1})
    await lake.call("ingest_file", {"name": "o", "content": "id,n\n3,60\n"})
    await lake.call("restore_dataset", {"name": "o", "as_of": 2})
    assert await rows(lake, "o") == [[2, 50]]
    assert len((await lake.datasets.get("o")).expectations) == 1
    await lake.call("drop_dataset", {"name": "o"})
    await lake.call("restore_dataset", {"name": "o"})
    with pytest.raises(InvalidInput):
        await lake.call("ingest_file", {"name": "o", "content": "id,n\n3,6\n"})


async def test_every_reader_goes_back(lake: Lakehouse) -> None:
    """as_of a version or a moment: the manifest, the columns, the first rows, a corpus."""
    first = await commit(lake, "o", {"id": ["a"], "text": ["one"]})
    await commit(lake, "o", {"id": ["a", "b"], "text": ["two", "three"]})
    for as_of in (1, "1", "v1", first.updated_at):
        assert (await lake.call("get_manifest", {"name": "o", "as_of": as_of}))["version"] == 1
    assert (await lake.call("datasets.schema_at", {"name": "o", "as_of": "1"}))["version"] == 1
    assert (await lake.call("datasets.sample_at", {"name": "o", "as_of": "1"}))["rows"] == [["a", "one"]]
    with pytest.raises(NotFound):
        await lake.call("datasets.sample_at", {"name": "o", "as_of": "1999-01-01"})
    with pytest.raises(InvalidInput):
        await lake.call("get_manifest", {"name": "o", "as_of": "yesterday"})
    with pytest.raises(InvalidInput, match="only one"):
        await lake.call("get_manifest", {"name": "o", "as_of": 1, "version": 1})
    asked = {"name": "c", "dataset": "o", "text": ["text"], "id": "id"}
    assert (await lake.call("build_corpus", asked | {"as_of": 1}))["count"] == 1
    assert (await lake.call("get_vector", {"index": "c", "id": "a"}))["metadata"]["text"] == "one"
    assert (await lake.call("build_corpus", asked))["count"] == 2
    with pytest.raises(InvalidInput, match="as_of"):
        await lake.call("build_corpus", {"name": "d", "folder": ".", "as_of": 1})


@pytest.mark.slow
async def test_rows_by_key(lake: Lakehouse) -> None:
    """Added, removed and changed, with what was there before and after; nulls and not-a-numbers equal themselves."""
    await commit(lake, "o", {"id": [1, 2, 3, 4], "x": [1.0, float("nan"), None, 4.0], "s": ["a", "b", "c", "y" * 2000]})
    await commit(lake, "o", {"id": [5, 4, 3, 2], "x": [5.0, 4.0, 3.0, float("nan")], "s": ["e", "d", "c", "b"]})
    found = await lake.call("diff_dataset", {"name": "o", "key": ["id"]})
    assert (found["added"], found["removed"], found["changed"]) == (1, 1, 2)
    assert found["added_rows"] == [{"id": 5, "x": 5.0, "s": "e"}]
    assert found["removed_rows"] == [{"id": 1, "x": 1.0, "s": "a"}]
    assert found["changed_rows"] == [
        {"key": {"id": 3}, "before": {"x": None}, "after": {"x": 3.0}},
        {"key": {"id": 4}, "before": {"s": "y" * 1000 + "…"}, "after": {"s": "d"}},
    ]
    few = await lake.call("diff_dataset", {"name": "o", "key": ["id"], "limit": 1})
    assert few["changed"] == 2 and len(few["changed_rows"]) == 1
    none = await lake.call("diff_dataset", {"name": "o", "limit": 0})
    assert (none["added"], none["removed"], none["added_rows"], "changed" in none) == (3, 3, [], False)
    with pytest.raises(InvalidInput, match="x is empty in 1 rows"):
        await lake.call("diff_dataset", {"name": "o", "key": ["x"]})
    with pytest.raises(InvalidInput, match="column 'idd'"):
        await lake.call("diff_dataset", {"name": "o", "key": ["idd"]})


@pytest.mark.slow
async def test_rows_without_a_key_are_counted(lake: Lakehouse) -> None:
    """Two of a kind where there was one is one more; files both versions have are not read."""
    one = await commit(lake, "o", {"a": [1, 1, 2], "b": ["x", "x", None]})
    await commit(lake, "o", {"a": [1, 2, 2, 2], "b": ["x", None, None, None]})
    found = await lake.call("diff_dataset", {"name": "o"})
    assert (found["added"], found["removed"]) == (2, 1)
    assert found["added_rows"] == [{"a": 2, "b": None}] * 2 and found["removed_rows"] == [{"a": 1, "b": "x"}]
    other = await lake.datasets.get("o")

    async def both(current: Any) -> Draft:
        return Draft.of(other, "append", objects=one.objects + other.objects, row_count=7)

    await lake.datasets.change("o", both)
    (lake.storage.bucket.root / other.objects[0].key).chmod(0o644)  # type: ignore[operator]
    found = await lake.call("diff_dataset", {"name": "o", "limit": 1})
    assert (found["added"], found["removed"], found["added_rows"]) == (3, 0, [{"a": 1, "b": "x"}])


async def test_versions_that_are_merged_are_compared_by_their_rows(lake: Lakehouse) -> None:
    """A delta that replaces a row and removes one, over a file without one of the columns."""
    base = await commit(lake, "base", {"id": [1, 2, 3], "n": [1, 2, 3]})
    delta = await commit(lake, "delta", {"id": [2, 3], "n": [20, 3], "w": ["new", None], "_deleted": [False, True]})
    files = (
        type(base.objects[0])(**{**vars(base.objects[0]), "lacks": ("w",)}),
        type(base.objects[0])(**{**vars(delta.objects[0]), "role": "delta"}),
    )
    columns = delta.columns[:3]

    async def first(current: Any) -> Draft:
        return Draft("ingest", columns, files[:1], 3, ("id",))

    async def second(current: Any) -> Draft:
        return Draft("upsert", columns, files, 2, ("id",))

    await lake.datasets.change("o", first)
    await lake.datasets.change("o", second)
    found = await lake.call("diff_dataset", {"name": "o"})
    assert found["key"] == ["id"]
    assert (found["added"], found["removed"], found["changed"]) == (0, 1, 1)
    assert found["changed_rows"] == [{"key": {"id": 2}, "before": {"n": 2, "w": None}, "after": {"n": 20, "w": "new"}}]


async def test_fsck_names_what_is_damaged(lake: Lakehouse) -> None:
    """A data file, a manifest, a part of an index, the journal, a profile; each with what it concerns."""
    for name in ("a", "b"):
        await commit(lake, name, {"id": ["1"], "text": [name]})
        await commit(lake, name, {"id": ["1", "2"], "text": [name, "more"]})
    await lake.call("restore_dataset", {"name": "a", "as_of": 1})
    await lake.call("build_corpus", {"name": "c", "dataset": "a", "text": ["text"], "id": "id"})
    await lake.call("set_profile", {"name": "p", "bucket": "primary", "datasets": ["abc"]})
    await lake.journal.flush()
    sound = await lake.call("fsck", {})
    assert (sound["ok"], sound["manifests"], sound["files"], sound["indexes"]) == (True, 5, 4, 1)
    assert sound["records"] == 2
    assert sound["damaged"] == [] and sound["bytes"] > 0
    root = lake.storage.bucket.root
    assert root is not None
    gone, cut = [(await lake.datasets.get(name, 1)).objects[0].key for name in "ab"]
    (root / gone).unlink()
    body = (root / cut).read_bytes()
    (root / cut).chmod(0o644)
    (root / cut).write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    manifest = "_catalog/b/00000000000000000002.json"
    (root / manifest).write_bytes(b"{}")
    part = next(path for path in (root / "_vectors").rglob("*") if path.is_file() and path.stat().st_size > 100)
    part.chmod(0o644)
    part.write_bytes(part.read_bytes()[:-1])
    profile, journal = root / "_profiles/p.json", next((root / "_journal").rglob("*.parquet"))
    profile.write_bytes(profile.read_bytes().replace(b"abc", b"abb"))
    events = pyarrow.parquet.read_table(journal)
    forged = events.set_column(3, "action", [["forged"] * events.num_rows])
    pyarrow.parquet.write_table(forged.replace_schema_metadata(events.schema.metadata), journal)
    found = await lake.call("fsck", {})
    assert not found["ok"]
    told = {d["key"]: d for d in found["damaged"]}
    others = {str(path.relative_to(root)) for path in (part, profile, journal)}
    assert set(told) == {gone, cut, manifest} | others
    with pytest.raises(Upstream, match="damaged"):
        await lake.call("list_profiles", {})
    assert (told[gone]["what"], told[gone]["dataset"], told[gone]["versions"]) == ("it is missing", "a", [1, 3])
    assert (told[cut]["dataset"], told[cut]["versions"]) == ("b", [1]) and "another hash" in told[cut]["what"]
    assert (told[manifest]["dataset"], told[manifest]["versions"]) == ("b", [2])
    assert told[str(part.relative_to(root))]["index"] == "c"


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    """The words people expect; fsck ends with a status that says there is damage."""
    home = ["--home", str(tmp_path / "home")]
    (tmp_path / "o.csv").write_text("id\n1\n", encoding="utf-8")

    def run(*words: str) -> Any:
        return CliRunner().invoke(root, [*words, *home, "--json"])

    assert run("ingest", str(tmp_path / "o.csv"), "--name", "o").exit_code == 0
    assert run("datasets", "drop", "o").exit_code == 0
    assert run("datasets", "restore", "o").exit_code == 0
    for words in (["history", "o"], ["datasets", "history", "o"]):
        assert len(json.loads(run(*words).stdout)["versions"]) == 3
    assert json.loads(run("diff", "o", "--before", "1").stdout)["added"] == 0
    assert json.loads(run("gc", "--dry-run").stdout)["dry_run"] is True
    assert run("fsck").exit_code == 0
    data = next((tmp_path / "home/objects/datasets/o").glob("*.parquet"))
    data.unlink()
    damaged = run("fsck")
    assert damaged.exit_code == 1 and json.loads(damaged.stdout)["damaged"][0]["versions"] == [1, 3]
