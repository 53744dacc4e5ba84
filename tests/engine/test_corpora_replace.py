"""A corpus built anew in place of another: the old one answers until the new one is whole."""

from pathlib import Path

import anyio
import pytest
from tests.doubles.fake_ollama import FakeOllama
from tests.doubles.server import COMPUTE, HANG, Answer
from tests.engine.test_corpora import build, jobs, lake_on, waiting_for

from lakehouse import Lakehouse
from lakehouse.engine.corpora import PartialFailure
from lakehouse.engine.vectors import IndexDamaged

pytestmark = pytest.mark.anyio
FAILED = Answer(500, {"error": "out of memory"})


async def test_the_old_corpus_answers_until_the_new_one_is_whole(home: Path) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 6, j5="")
            before = await build(lake)
            question = (await lake.embed.embed(["job number j4"])).vectors[0]
            asked = len(fake.requests)
            fake.script.extend([COMPUTE, HANG])
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: build(lake, batch_size=2, workers=1, drop_existing=True, model="all-minilm"))
                await waiting_for(fake, asked + 2)
                assert len((await lake.matrix.search(query_vector=question)).results) == 5
                group.cancel_scope.cancel()
            (corpus,) = await lake.matrix.corpora()
            assert (corpus.count, corpus.model) == (6, before.model)
            done = await build(lake, drop_existing=True, model="all-minilm")
            assert (done.added, done.count, done.empty, done.failed_batches) == (6, 6, 1, 0)
            (corpus,) = await lake.matrix.corpora()
            assert corpus.model == "ollama/all-minilm"
            assert corpus.builder is not None and corpus.builder["complete"] is True
            assert (await lake.vectors.get_item("jobs", "j5")).vector is None
            assert (await lake.matrix.search("job number j4")).results[0].id == "j4"
            again = await build(lake, model="all-minilm")
            assert (again.unchanged, again.count) == (6, 6)


async def test_a_failing_batch_keeps_the_old_corpus(home: Path) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await jobs(lake, 4)
            await build(lake)
            await jobs(lake, 2)
            fake.script.extend([COMPUTE, FAILED])
            with pytest.raises(PartialFailure) as caught:
                await build(lake, batch_size=1, workers=1, drop_existing=True, model="all-minilm")
            assert (caught.value.data["added"], caught.value.data["failed_batches"]) == (1, 1)
            assert caught.value.data["count"] == 4
            assert "stays" in (caught.value.fix or "")
            assert (await lake.vectors.get("jobs")).count == 4
            assert (await lake.matrix.search("job number j3")).results[0].id == "j3"
            assert (await build(lake, drop_existing=True, model="all-minilm")).count == 2


async def test_a_damaged_corpus_can_be_replaced(home: Path, lake: Lakehouse) -> None:
    await jobs(lake, 4)
    await build(lake)
    lake.vectors._indexes.clear()
    for path in (home / "objects" / "_vectors" / "jobs" / "log").iterdir():
        await anyio.Path(path).write_bytes(b"rubbish")
    with pytest.raises(IndexDamaged):
        await build(lake)
    assert (await build(lake, drop_existing=True)).count == 4
    assert lake.vectors.problems == {}
    assert (await lake.matrix.search("job number j3")).results[0].id == "j3"
