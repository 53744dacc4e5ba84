"""Corpora of SELECTs and of chosen files: every row, no silent cap, and what bad sources are told."""

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.doubles.fake_ollama import FakeOllama
from tests.doubles.server import COMPUTE, Answer
from tests.engine.test_corpora import jobs, lake_on
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse, TooLarge
from lakehouse.engine.corpora import PartialFailure
from lakehouse.engine.corpora.folder import Folder
from lakehouse.engine.datasets import DatasetNotFound

pytestmark = pytest.mark.anyio
SELECT = "SELECT id, 'work: ' || body AS text, pay * 2 AS double FROM jobs"


async def test_all_rows_of_a_select(home: Path) -> None:
    """More rows than an answer, or a result that is kept, has room for."""
    small = {"embed.provider": "hash", "sql.max_rows": 10, "sql.max_handle_rows": 20}
    async with lakehouse.open(home, overrides=small) as lake:
        await jobs(lake, 300)
        built = await lake.corpora.build("work", sql=SELECT)
        assert (built.scanned, built.count) == (300, 300)
        item = await lake.vectors.get_item("work", "j7")
        about = {"source": "work", "doc_id": "j7", "chunk": 0, "text": "work: job number j7", "id": "j7", "double": 14}
        assert item.metadata == about
        (corpus,) = await lake.matrix.corpora()
        assert corpus.builder is not None and corpus.builder["read"] == {"jobs": 1}
        await jobs(lake, 300, j3="another text")
        (listed,) = await lake.corpora.standings([corpus])
        assert listed.standing is not None and listed.standing.state == "behind"
        assert (await lake.corpora.build("work")).updated == 1
        (listed,) = await lake.corpora.standings(await lake.matrix.corpora())
        assert listed.standing is not None and listed.standing.state == "current"
        with pytest.raises(Conflict, match="built from the sql"):
            await lake.corpora.build("work", sql=SELECT + " LIMIT 3")


async def test_as_of_limit_and_columns_of_a_select(lake: Lakehouse) -> None:
    await jobs(lake, 3)
    await jobs(lake, 5)
    built = await lake.corpora.build(
        "work", sql="FROM jobs", as_of=1, text=["body"], id="id", metadata=[], limit=2, id_prefix="x-"
    )
    assert (built.count, await lake.vectors.ids("work")) == (2, {"x-j0", "x-j1"})
    assert set((await lake.vectors.get_item("work", "x-j0")).metadata) == {"source", "doc_id", "chunk", "text"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sql": "SELECT body AS text FROM jobs"}, r"id: the statement gives no column 'id', but text"),
        ({"sql": "SELECT id FROM jobs"}, r"text: the statement gives no column 'text'"),
        ({"sql": "SELECT id, body AS text FROM jobs", "metadata": ["pay"]}, "metadata: there is no column 'pay'"),
        ({"sql": "SELECT id, body AS text, 1 AS id FROM jobs"}, "id"),
        ({"sql": "SELECT 1 AS id, body AS text FROM jobs"}, r"'1' \(rows 1 and 2\)"),
        ({"sql": "SELECT id, body AS text FROM jobs WHERE false"}, "gives no rows"),
        ({"sql": "SELECT id, body AS text FROM jbs"}, "jbs"),
        ({"sql": "DELETE FROM jobs"}, "DELETE|read"),
        ({"sql": "SELECT 1 AS id, 'a' AS text", "dataset": "jobs"}, "exactly one"),
        ({"sql": "SELECT 1 AS id, 'a' AS text", "include": ["*"]}, "include, exclude"),
    ],
)
async def test_bad_selects_store_nothing(lake: Lakehouse, options: dict[str, Any], said: str) -> None:
    await jobs(lake, 2)
    with pytest.raises(InvalidInput, match=said):
        await lake.corpora.build("work", **options)
    assert await lake.vectors.list() == []


async def test_a_select_is_never_cut(home: Path) -> None:
    async with lakehouse.open(home, overrides={"embed.provider": "hash", "export.max_bytes": 4096}) as lake:
        await jobs(lake, 1000)
        with pytest.raises(TooLarge, match=r"sql: its rows are over 4096 bytes"):
            await lake.corpora.build("work", sql=SELECT)
        assert await lake.vectors.list() == []


@pytest.mark.slow
async def test_the_key_names_the_rows(lake: Lakehouse) -> None:
    await lake.call("ingest_file", {"name": "keyed", "content": "k,t\na,one\nb,two\n", "key": ["k"], "mode": "upsert"})
    assert (await lake.corpora.build("keyed", dataset="keyed", text=["t"])).count == 2
    assert await lake.vectors.ids("keyed") == {"a", "b"}


async def test_included_and_excluded_files(lake: Lakehouse, tmp_path: Path) -> None:
    root = anyio.Path(tmp_path / "project")
    for name in ("a.py", "b.md", "docs/c.md", "docs/draft/d.md", "e.special", "f.png"):
        await (root / name).parent.mkdir(parents=True, exist_ok=True)
        await (root / name).write_text("x = 1\n")

    async def of(**options: Any) -> set[str]:
        await lake.corpora.build("files", folder=str(root), chunker="plain", drop_existing=True, **options)
        return await lake.vectors.ids("files")

    assert await of() == {"a.py", "b.md", "docs/c.md", "docs/draft/d.md"}
    assert await of(exclude=["docs/draft/"]) == {"a.py", "b.md", "docs/c.md"}
    assert await of(include=["*.special", "docs/**"], exclude=["c.md"]) == {"docs/draft/d.md", "e.special"}
    with pytest.raises(InvalidInput, match=r"no files that match \*\.none"):
        await of(include=["*.none"])
    with pytest.raises(InvalidInput, match="chunker: there is no 'prose'"):
        await lake.corpora.build("files", folder=str(root), chunker="prose")


async def test_a_folder_removed_meanwhile_changes_nothing(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "notes"
    root.mkdir()
    for number in range(40):
        (root / f"{number:02}.txt").write_text(f"note {number}")
    await lake.corpora.build("notes", folder=str(root))
    read = Folder._read

    def removing(self: Folder, names: list[str]) -> Any:
        found = read(self, names)
        shutil.rmtree(root, ignore_errors=True)
        return found

    monkeypatch.setattr(Folder, "_read", removing)
    with pytest.raises(InvalidInput, match="was removed while it was read"):
        await lake.corpora.build("notes", folder=str(root))
    assert (await lake.vectors.get("notes")).count == 40


async def test_a_large_file_is_left_out_and_named(lake: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "small.txt").write_text("words")
    with (tmp_path / "notes" / "large.txt").open("wb") as file:
        file.truncate(100 * 2**20)
    built = await lake.corpora.build("notes", folder=str(tmp_path / "notes"))
    assert (built.count, built.skipped, built.skipped_files[0].path) == (1, 1, "large.txt")
    assert "over" in built.skipped_files[0].reason


async def test_ids_of_two_documents_never_meet(lake: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("long words " * 400)
    (tmp_path / "notes" / "a.txt#0").write_text("short")
    with pytest.raises(InvalidInput, match=r"'a\.txt#0' stands for two pieces"):
        await lake.corpora.build("notes", folder=str(tmp_path / "notes"), include=["*"], chunker="plain")


async def test_a_corpus_whose_dataset_is_gone(lake: Lakehouse) -> None:
    await commit(lake, "few", {"id": ["a"], "text": ["words"]})
    await lake.corpora.build("few", dataset="few", text=["text"], id="id")
    await lake.call("drop_dataset", {"name": "few"})
    with pytest.raises(DatasetNotFound):
        await lake.corpora.build("few")
    (corpus,) = (await lake.call("matrix_corpora"))["corpora"]
    assert (corpus["count"], corpus["standing"]["state"]) == (1, "unknown")


async def test_a_corpus_whose_model_is_gone(home: Path) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 2)
            await lake.corpora.build("jobs", dataset="jobs", text=["body"], id="id")
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        with pytest.raises(Conflict) as caught:
            await lake.corpora.build("jobs")
        assert "does not offer" in caught.value.detail and "drop_existing" in (caught.value.fix or "")
        assert (await lake.corpora.build("jobs", drop_existing=True)).model == "hash-256"
        assert (await lake.vectors.get("jobs")).count == 2


async def test_every_fourth_batch_fails_side_by_side(home: Path) -> None:
    """A-S12-2 with four workers: what succeeds is stored, what failed is counted and embedded the next time."""
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 64)
            fake.script.extend([COMPUTE, COMPUTE, COMPUTE, Answer(500, {"error": "out of memory"})] * 4)
            with pytest.raises(PartialFailure) as caught:
                await lake.corpora.build("jobs", dataset="jobs", text=["body"], id="id", batch_size=4, workers=4)
            stats = caught.value.data
            keys = ("scanned", "embedded", "added", "skipped", "failed_batches", "count")
            assert [stats[key] for key in keys] == [64, 48, 48, 0, 4, 48]
            assert stats["wall_s"] > 0
            asked = len(fake.requests)
            done = await lake.corpora.build("jobs", batch_size=4)
            assert (done.embedded, done.unchanged, done.count) == (16, 48, 64)
            assert len(fake.requests) - asked == 4
