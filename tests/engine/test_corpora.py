"""Corpora: ids and metadata, rebuilding, failing batches, cancellation."""

import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.doubles.fake_ollama import FakeOllama
from tests.doubles.server import COMPUTE, HANG, Answer
from tests.tables import commit

import lakehouse
from lakehouse import Busy, Conflict, InvalidInput, Lakehouse, NotFound, TooLarge
from lakehouse.engine.corpora import PartialFailure

pytestmark = pytest.mark.anyio
FAILED = Answer(500, {"error": "out of memory"})


@asynccontextmanager
async def lake_on(home: Path, fake: FakeOllama, **settings: Any) -> AsyncIterator[Lakehouse]:
    """A lake that embeds with a double."""
    given = {"embed.provider": "ollama", "embed.ollama_url": fake.url}
    async with lakehouse.open(home, overrides=given | settings) as lake:
        yield lake


async def jobs(lake: Lakehouse, count: int, **other: str) -> None:
    """A dataset of so many jobs; `other` replaces the text of some, by id."""
    ids = [f"j{n}" for n in range(count)]
    texts = [other.get(id, f"job number {id}") for id in ids]
    await commit(lake, "jobs", {"id": ids, "body": texts, "pay": list(range(count))})


async def build(lake: Lakehouse, **options: Any) -> Any:
    return await lake.corpora.build("jobs", dataset="jobs", text=["body"], id="id", **options)


async def test_a_search_returns_rows_with_where_they_are_from(lake: Lakehouse) -> None:
    """A-S12-1"""
    await commit(
        lake,
        "trades",
        {
            "code": [7, 8],
            "title": ["Welder", "Nurse"],
            "body": ["joins metal", None],
            "since": [datetime.date(2020, 1, 2)] * 2,
        },
    )
    built = await lake.corpora.build("trades", dataset="trades", text=["title", "body"], id="code")
    assert (built.scanned, built.chunks, built.added, built.count, built.empty) == (2, 2, 2, 2, 0)
    found = await lake.matrix.search("welder joins metal", corpora=["trades"])
    assert [hit.id for hit in found.results] == ["7", "8"]
    assert found.results[0].metadata == {
        "source": "trades",
        "doc_id": "7",
        "chunk": 0,
        "text": "Welder. joins metal",
        "code": 7,
        "since": "2020-01-02",
    }
    assert found.results[1].metadata["text"] == "Nurse"
    (corpus,) = await lake.matrix.corpora()
    assert corpus.builder is not None and corpus.builder["built_at"]
    facts = {"source": "dataset", "dataset": "trades", "dataset_version": 1, "complete": True, "documents": 2}
    assert corpus.builder.items() >= facts.items()
    assert (corpus.name, corpus.count, corpus.model) == ("trades", 2, "hash-256")


async def test_a_long_row_gives_numbered_chunks(lake: Lakehouse) -> None:
    long = " ".join(f"Sentence number {n} of a long text." for n in range(200))
    await commit(lake, "texts", {"id": ["short", "long"], "text": ["a few words", long], "chunk": [5, 6]})
    built = await lake.corpora.build("texts", dataset="texts", text=["text"], id="id", metadata=["chunk"])
    ids = await lake.vectors.ids("texts")
    assert ids == {"short", *(f"long#{n}" for n in range(built.chunks - 1))}
    assert built.chunks > 3
    item = await lake.vectors.get_item("texts", "long#2")
    assert (item.metadata["doc_id"], item.metadata["chunk"], item.metadata["chunk_"]) == ("long", 2, 6)
    assert item.metadata["text"] in long and len(item.metadata["text"]) <= 2000


async def test_any_column_name_and_type_will_do(lake: Lakehouse) -> None:
    odd: dict[str, list[Any]] = {
        "a.b": ["one", "two"],
        "key #": [1, 2],
        "nested": [{"x": 1}, None],
        "many": [["p", "q"], []],
    }
    await commit(lake, "odd", odd)
    await lake.corpora.build("odd", dataset="odd", text=["a.b", "many", "nested"], id="key #")
    item = await lake.vectors.get_item("odd", "1")
    text = 'one. ["p", "q"]. {"x": 1}'
    assert item.metadata == {"source": "odd", "doc_id": "1", "chunk": 0, "text": text, "key #": 1}
    assert (await lake.vectors.get_item("odd", "2")).metadata["text"] == "two"


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([1, 2], {"1", "2"}),
        ([1.0, 2.5], {"1", "2.5"}),
        ([True, False], {"true", "false"}),
        ([datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)], {"2024-02-29", "2024-03-01"}),
        (["ä/ö", "a b"], {"ä/ö", "a b"}),
    ],
)
async def test_ids_are_the_rows_values_as_text(lake: Lakehouse, values: list[Any], ids: set[str]) -> None:
    await commit(lake, "texts", {"id": values, "text": ["one", "two"]})
    await lake.corpora.build("texts", dataset="texts", text=["text"], id="id")
    assert await lake.vectors.ids("texts") == ids


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", None, "b"], r"id: column 'id' has no usable value in 1 row: 2\."),
        (["a", "  ", ""], r"2 rows: 2, 3"),
        (["a", "b", "a"], r"'a' \(rows 1 and 3\)"),
        ([[1], [2], [3]], "no usable value"),
        (["a", "b", "a#0"], r"'a' and 'a#0'"),
        (["a", "ä" * 251, "b"], r"over 500 bytes in 1 row: 2\."),
    ],
)
async def test_rows_that_cannot_be_told_apart_store_nothing(lake: Lakehouse, values: list[Any], said: str) -> None:
    await commit(lake, "texts", {"id": values, "text": ["one", "two", "three"]})
    with pytest.raises(InvalidInput, match=said):
        await lake.corpora.build("texts", dataset="texts", text=["text"], id="id")
    assert await lake.vectors.list() == []


async def test_rows_without_text_are_kept_and_never_found(lake: Lakehouse) -> None:
    await commit(lake, "texts", {"id": ["a", "b", "c"], "text": ["words", None, " \n"], "n": [1, 2, 3]})
    built = await lake.corpora.build("texts", dataset="texts", text=["text"], id="id")
    assert (built.count, built.embedded, built.empty, built.empty_ids) == (3, 1, 2, ["b", "c"])
    found = await lake.matrix.search("words", k=10)
    assert [hit.id for hit in found.results] == ["a"]
    item = await lake.vectors.get_item("texts", "b")
    assert item.vector is None and item.metadata["n"] == 2


async def test_a_rebuild_changes_only_what_changed(lake: Lakehouse) -> None:
    """A-S12-5: the same source gives the same corpus; changed rows are stored anew, vanished ones removed."""
    await jobs(lake, 5)
    first = await build(lake)
    again = await build(lake)
    assert (first.added, first.count, again.count, again.embedded, again.unchanged) == (5, 5, 5, 0, 5)
    await jobs(lake, 4, j1="an altogether different task", j2="")
    changed = await build(lake)
    counts = (changed.updated, changed.added, changed.removed, changed.unchanged, changed.count, changed.empty)
    assert counts == (2, 0, 1, 2, 4, 1)
    found = await lake.matrix.search("an altogether different task", k=10)
    assert found.results[0].id == "j1" and (found.results[0].distance or 0) <= 1e-3
    assert {hit.id for hit in found.results} == {"j0", "j1", "j3"}


async def test_a_limit_reads_the_beginning_and_removes_nothing(lake: Lakehouse) -> None:
    await jobs(lake, 1500)
    assert (await build(lake, limit=1100)).count == 1100
    assert (await build(lake)).count == 1500
    part = await build(lake, limit=2)
    assert (part.scanned, part.removed, part.count) == (2, 0, 1500)


async def test_another_model_needs_a_decision(home: Path) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 2)
            await build(lake)
        async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
            with pytest.raises(Conflict, match=r"ollama/nomic-embed-text.*hash-256.*drop_existing=true"):
                await build(lake)
            with pytest.raises(Conflict, match=r"ollama/nomic-embed-text.*drop_existing=true"):
                await lake.matrix.search("job")
            assert (await build(lake, drop_existing=True)).added == 2
            assert (await lake.vectors.get("jobs")).dimension == 256
            assert (await lake.matrix.search("job number j1")).results[0].id == "j1"


async def test_another_source_needs_a_decision(lake: Lakehouse, tmp_path: Path) -> None:
    await jobs(lake, 2)
    await build(lake)
    (tmp_path / "note.txt").write_text("words")
    with pytest.raises(Conflict, match="built from the dataset jobs"):
        await lake.corpora.build("jobs", folder=str(tmp_path))
    await lake.vectors.create("raw", 256)
    with pytest.raises(Conflict, match="raw is an index, not a corpus"):
        await lake.corpora.build("raw", dataset="jobs", text=["body"], id="id")


async def test_one_failing_batch_of_four(home: Path) -> None:
    """A-S12-2: three batches are there, the error carries the counts, and building again mends it."""
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 8)
            fake.script.extend([COMPUTE, FAILED, COMPUTE, COMPUTE])
            with pytest.raises(PartialFailure, match="out of memory") as caught:
                await build(lake, batch_size=2)
            stats = caught.value.data
            assert caught.value.http == 502
            assert (stats["scanned"], stats["embedded"], stats["added"], stats["failed_batches"]) == (8, 6, 6, 1)
            assert stats["skipped"] == 0 and stats["wall_s"] > 0
            (corpus,) = await lake.matrix.corpora()
            assert corpus.count == 6 and corpus.builder is not None and corpus.builder["complete"] is False
            mended = await build(lake, batch_size=2)
            assert (mended.count, mended.unchanged, mended.added) == (8, 6, 2)
            (corpus,) = await lake.matrix.corpora()
            assert corpus.builder is not None and corpus.builder["complete"] is True


async def test_a_build_that_fails_altogether_leaves_all_as_it_was(home: Path) -> None:
    """A-S12-3: no empty corpus appears, and one that is to be replaced stays."""
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 4, j3="")
            fake.script.extend([FAILED] * 3)
            with pytest.raises(PartialFailure) as caught:
                await build(lake, batch_size=2)
            assert (caught.value.data["failed_batches"], caught.value.data["added"]) == (3, 0)
            assert await lake.vectors.list() == []
            await build(lake)
            fake.script.extend([FAILED] * 3)
            with pytest.raises(PartialFailure):
                await build(lake, batch_size=2, drop_existing=True, model="all-minilm")
            assert (await lake.vectors.get("jobs")).count == 4
            assert (await lake.matrix.search("job number j1")).results[0].id == "j1"


async def waiting_for(fake: FakeOllama, count: int) -> None:
    """Until the double, which runs in a thread, has got so many requests."""
    while len(fake.requests) < count:
        await anyio.sleep(0.005)


async def test_searches_go_on_and_cancelling_leaves_a_good_corpus(home: Path) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 6)
            await build(lake)
            question = (await lake.embed.embed(["job number j5"])).vectors[0]
            await jobs(lake, 6, **{f"j{n}": f"new work {n}" for n in range(6)})
            asked = len(fake.requests)
            fake.script.extend([COMPUTE, HANG])
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: build(lake, batch_size=2, workers=1))
                await waiting_for(fake, asked + 2)
                found = await lake.matrix.search(query_vector=question)
                assert len(found.results) == 6
                with pytest.raises(Busy, match="jobs is being built"):
                    await build(lake)
                group.cancel_scope.cancel()
            assert (await lake.vectors.get("jobs")).count == 6
            done = await build(lake)
            assert (done.unchanged, done.updated, done.count) == (0, 6, 6)
            found = await lake.matrix.search("new work 3")
            assert found.results[0].id == "j3"


async def test_a_rebuild_is_one_generation(lake: Lakehouse) -> None:
    """Whatever it puts and removes; one that changes nothing makes none, and A-S12-5: the count is the same."""
    await jobs(lake, 300)
    await build(lake)
    assert (await lake.vectors.get("jobs")).generation == 1
    await jobs(lake, 250, j3="new work", j9="more work")
    built = await build(lake, batch_size=1)
    assert (built.updated, built.removed, built.unchanged, built.count) == (2, 50, 248, 250)
    assert (await lake.vectors.get("jobs")).generation == 2
    assert (await lake.vectors.get_item("jobs@1", "j3")).metadata["text"] == "job number j3"
    again = await build(lake)
    assert (again.unchanged, again.count) == (250, 250)
    assert (await lake.vectors.get("jobs")).generation == 2


async def test_progress_rises_to_the_total(lake: Lakehouse) -> None:
    await jobs(lake, 1300)
    heard: list[tuple[float, float | None]] = []

    async def hear(done: float, total: float | None, message: str) -> None:
        heard.append((done, total))

    await build(lake, batch_size=40, progress=hear)
    amounts = [done for done, _ in heard]
    assert amounts == sorted(amounts) and len(set(amounts)) == len(amounts) >= 30
    assert heard[-1] == (1300, 1300)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "exactly one"),
        ({"dataset": "jobs", "folder": "x"}, "exactly one"),
        ({"dataset": "jobs"}, r"text, id.*There are: id, body, pay"),
        ({"dataset": "jobs", "text": ["body"]}, "text, id"),
        ({"dataset": "jobs", "text": [], "id": "id"}, "text, id"),
        ({"dataset": "jobs", "text": ["bdy"], "id": "id"}, r"text: .*'bdy'.*Did you mean body"),
        ({"dataset": "jobs", "text": ["body"], "id": "zzz"}, r"id: .*The columns are: id, body, pay"),
        ({"dataset": "jobs", "text": ["body"], "id": "id", "metadata": ["pays"]}, r"metadata: .*Did you mean pay"),
        ({"dataset": "jobs", "text": ["body"], "id": "id", "model": "gpt-4"}, "model"),
        ({"dataset": "jobs", "text": ["body"], "id": "id", "limit": 0}, "limit"),
        ({"dataset": "jobs", "text": ["body"], "id": "id", "batch_size": 0}, "batch_size"),
        ({"folder": "x", "id": "id"}, "no columns"),
        ({"folder": "no/such/folder"}, "no folder"),
        ({"folder": "a\0b"}, "no folder"),
    ],
)
async def test_bad_arguments_store_nothing(lake: Lakehouse, options: dict[str, Any], said: str) -> None:
    await jobs(lake, 2)
    with pytest.raises(InvalidInput, match=said):
        await lake.corpora.build("jobs", **options)
    assert await lake.vectors.list() == []


async def test_unknown_datasets_and_bad_names(lake: Lakehouse) -> None:
    await jobs(lake, 2)
    with pytest.raises(NotFound, match="jobs"):
        await lake.corpora.build("x", dataset="job", text=["body"], id="id")
    with pytest.raises(InvalidInput, match="name"):
        await lake.corpora.build("not/a/name", dataset="jobs", text=["body"], id="id")
    await commit(lake, "none", {"id": [""][:0], "body": [""][:0]})
    with pytest.raises(InvalidInput, match="none has no rows"):
        await lake.corpora.build("none", dataset="none", text=["body"], id="id")


async def test_columns_too_large_are_blamed_on_their_row(lake: Lakehouse) -> None:
    await commit(lake, "texts", {"id": ["a", "b"], "text": ["one", "two"], "page": ["", "x" * 2**20]})
    with pytest.raises(TooLarge, match=r"document 'b'.*metadata"):
        await lake.corpora.build("texts", dataset="texts", text=["text"], id="id")
    assert await lake.vectors.ids("texts") == set()
    assert (await lake.corpora.build("texts", dataset="texts", text=["text"], id="id", metadata=[])).count == 2


@pytest.mark.slow
async def test_cranfield_has_two_documents_without_text(lake: Lakehouse, data: Callable[[str], Path]) -> None:
    import json

    path = data("cranfield/corpus.jsonl")
    rows = [json.loads(line) for line in (await anyio.Path(path).read_text(encoding="utf-8")).splitlines()]
    await commit(lake, "cranfield", {name: [row[name] for row in rows] for name in ("id", "title", "text")})
    built = await lake.corpora.build("cranfield", dataset="cranfield", text=["title", "text"], id="id")
    assert (built.scanned, built.empty, built.empty_ids) == (1400, 2, ["471", "995"])
    assert (await lake.vectors.get_item("cranfield", "471")).vector is None
    found = await lake.matrix.search("the boundary layer of a flat plate", k=1000, per_corpus_k=1000)
    assert not {"471", "995"} & {hit.metadata["doc_id"] for hit in found.results}
