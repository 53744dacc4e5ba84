"""Corpora that follow a dataset: refreshed with each version, tried again after failures and restarts."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.doubles.fake_ollama import FakeOllama
from tests.doubles.server import Answer
from tests.engine.test_corpora import lake_on
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse
from lakehouse.engine.corpora import PartialFailure, following

pytestmark = pytest.mark.anyio
FAILED = Answer(500, {"error": "out of memory"})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once."""
    monkeypatch.setattr(following, "_FIRST_WAIT_SECS", 0.01)
    monkeypatch.setattr("lakehouse.lake.parts._RESUMED_SECS", 0.0)


async def standing(lake: Lakehouse, name: str = "jobs") -> dict[str, Any]:
    found = await Lakehouse.call(lake, "matrix_corpora")
    return next(each["standing"] for each in found["corpora"] if each["name"] == name)


async def until(lake: Lakehouse, state: str, version: int, name: str = "jobs") -> dict[str, Any]:
    """How the corpus stands once it is in a state at a version."""
    with anyio.fail_after(20):
        while True:
            about = await standing(lake, name)
            if (about["state"], about["version"]) == (state, version):
                return about
            await anyio.sleep(0.01)


async def texts(lake: Lakehouse, name: str = "jobs") -> dict[str, str]:
    ids = await lake.vectors.ids(name)
    return {id: (await lake.vectors.get_item(name, id)).metadata["text"] for id in ids}


async def ingest(lake: Lakehouse, content: str, **more: Any) -> Any:
    return await lake.call("ingest_file", {"name": "jobs", "content": content} | more)


@pytest.mark.slow
async def test_a_corpus_follows_every_kind_of_change(lake: Lakehouse) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(done: float, total: float | None, message: str) -> None:
        heard.append((done, message))

    given = {"name": "jobs", "content": "id,t\na,one\nb,two\n", "key": ["id"], "mode": "upsert", "embed": ["t"]}
    made = await lake.call("ingest_file", given, progress=hear)
    assert (made["version"], made["corpus"]["name"], made["corpus"]["count"]) == (1, "jobs", 2)
    amounts = [done for done, _ in heard]
    assert amounts == sorted(amounts) and amounts[-1] == 100 and 20 in amounts
    about = await standing(lake)
    assert (about["state"], about["follows"], about["version"], about["newest"]) == ("current", True, 1, 1)

    await ingest(lake, "id,t\nb,zwei\nc,three\n", mode="upsert")
    await until(lake, "current", 2)
    assert await texts(lake) == {"a": "one", "b": "zwei", "c": "three"}
    await lake.call("delete_rows", {"name": "jobs", "keys": ["a"]})
    await until(lake, "current", 3)
    assert set(await texts(lake)) == {"b", "c"}
    await lake.call("delete_rows", {"name": "jobs", "where": "id = 'c'"})
    await until(lake, "current", 4)
    await lake.call("restore_dataset", {"name": "jobs", "as_of": 1})
    await until(lake, "current", 5)
    assert await texts(lake) == {"a": "one", "b": "two"}
    await ingest(lake, "id,t\nz,last\n", mode="upsert")
    await until(lake, "current", 6)
    assert await texts(lake) == {"a": "one", "b": "two", "z": "last"}
    # Built by hand in between, it follows on.
    await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id")
    await ingest(lake, "id,t\ny,more\n", mode="upsert")
    await until(lake, "current", 7)
    assert set(await texts(lake)) == {"a", "b", "y", "z"}


@pytest.mark.slow
async def test_a_corpus_follows_what_replaces_and_appends(lake: Lakehouse) -> None:
    await ingest(lake, "id,t\na,one\n", id="id", embed=["t"])
    await ingest(lake, "id,t\nb,two\n")
    await until(lake, "current", 2)
    await ingest(lake, "id,t\nc,three\n", mode="append")
    await until(lake, "current", 3)
    assert await texts(lake) == {"b": "two", "c": "three"}


async def test_a_dropped_dataset_leaves_the_corpus_and_says_so(lake: Lakehouse) -> None:
    await ingest(lake, "id,t\na,one\n", id="id", embed=["t"], corpus="words")
    await lake.call("drop_dataset", {"name": "jobs"})
    await lake.corpora.following.settled("jobs")
    about = await standing(lake, "words")
    assert about["state"] == "unknown" and "is gone; the corpus stays" in about["error"]
    assert (await texts(lake, "words")) == {"a": "one"}
    await lake.call("restore_dataset", {"name": "jobs"})
    about = await until(lake, "current", 3, "words")
    assert "error" not in about


async def test_a_command_ends_with_what_follows_from_it(lake: Lakehouse) -> None:
    """What changed here is waited for; what others left behind, and what fails for good, is not."""
    await lake.caught_up()
    await commit(lake, "jobs", {"id": ["a", "b"], "t": ["one", "two"]})
    await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id", follow=True)
    await lake.call("delete_rows", {"name": "jobs", "where": "id = 'a'"})
    await lake.caught_up()
    assert set(await texts(lake)) == {"b"}
    await lake.call("drop_dataset", {"name": "jobs"})
    await lake.caught_up()
    assert "is gone" in (await standing(lake))["error"]
    await lake.corpora.following.resume()
    await lake.caught_up()


async def test_a_failure_that_lasts_is_told_once(lake: Lakehouse, caplog: pytest.LogCaptureFixture) -> None:
    await ingest(lake, "id,t\na,one\n", id="id", embed=["t"])
    await lake.call("drop_dataset", {"name": "jobs"})
    for _ in range(3):
        await lake.corpora.following.settled("jobs")
        await lake.corpora.following.resume()
    await lake.corpora.following.settled("jobs")
    assert len([record for record in caplog.records if "refresh_failed" in record.message]) == 1


async def test_a_corpus_deleted_is_followed_no_more(lake: Lakehouse) -> None:
    await commit(lake, "jobs", {"id": ["a"], "t": ["one"]})
    await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id", follow=True)
    await lake.call("delete_index", {"name": "jobs"})
    await commit(lake, "jobs", {"id": ["b"], "t": ["two"]})
    await lake.corpora.following.settled("jobs")
    assert await lake.corpora.following.of("jobs") is None
    assert await lake.vectors.list() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"embed": ["t"]}, "id: no column is said to name each row"),
        ({"embed": ["t"], "key": ["id", "t"], "mode": "upsert"}, "id: the key has several columns"),
        ({"corpus": "x"}, "of no use without embed"),
        ({"embed": [], "id": "id"}, "of no use without embed"),
        ({"embed": ["t"], "id": "id", "corpus": "not/a/name"}, "name"),
    ],
)
async def test_what_is_wrong_beforehand_stores_nothing(lake: Lakehouse, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        await ingest(lake, "id,t\na,one\n", **given)
    assert await lake.datasets.list() == []


async def test_a_name_that_is_taken_stores_nothing(lake: Lakehouse) -> None:
    await lake.vectors.create("words", 3)
    with pytest.raises(Conflict, match="'words' is an index of something else"):
        await ingest(lake, "id,t\na,one\n", id="id", embed=["t"], corpus="words")
    assert await lake.datasets.list() == []


async def test_a_corpus_that_cannot_be_built_says_that_the_dataset_is_stored(lake: Lakehouse) -> None:
    with pytest.raises(InvalidInput, match=r"'jobs' is stored, its corpus is not whole: text: there is no column 'tt'"):
        await ingest(lake, "id,t\na,one\n", id="id", embed=["tt"])
    assert (await lake.datasets.get("jobs")).version == 1
    assert await lake.corpora.following.of("jobs") is None


async def test_a_failed_refresh_is_tried_again_and_seen(home: Path) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            rows = {"id": ["a", "b"], "t": ["one", "two"]}
            await commit(lake, "jobs", rows)
            await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id", follow=True)
            fake.script.extend([FAILED, FAILED])
            await commit(lake, "jobs", rows | {"t": ["one", "deux"]})
            about = await until(lake, "current", 2)
            assert "error" not in about and not fake.script
            assert (await texts(lake))["b"] == "deux"


async def test_a_first_build_that_fails_in_part_is_finished_later(home: Path) -> None:
    """S12.3: it is told loudly, and what failed is tried again beside the calls."""
    with FakeOllama() as fake:
        async with lake_on(home, fake, **{"corpora.batch_size": 1, "corpora.workers": 1}) as lake:
            fake.script.append(FAILED)
            with pytest.raises(PartialFailure, match="'jobs' is stored, its corpus is not whole"):
                await ingest(lake, "id,t\na,one\nb,two\n", id="id", embed=["t"])
            await until(lake, "current", 1)
            assert set(await texts(lake)) == {"a", "b"}


async def test_a_refresh_that_cannot_succeed_waits_for_the_next_version(lake: Lakehouse) -> None:
    await commit(lake, "jobs", {"id": ["a", "b"], "t": ["one", "two"]})
    await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id", follow=True)
    await commit(lake, "jobs", {"id": ["a", "a"], "t": ["one", "two"]})
    await lake.corpora.following.settled("jobs")
    about = await standing(lake)
    assert (about["state"], about["version"], about["newest"]) == ("behind", 1, 2)
    assert "does not tell rows apart" in about["error"]
    assert set(await texts(lake)) == {"a", "b"}
    await commit(lake, "jobs", {"id": ["a", "c"], "t": ["one", "two"]})
    about = await until(lake, "current", 3)
    assert "error" not in about


async def test_what_fell_behind_is_refreshed_after_a_restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await commit(lake, "jobs", {"id": ["a"], "t": ["one"]})
            await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id", follow=True)
            fake.script.append("hang")
            await commit(lake, "jobs", {"id": ["a"], "t": ["eins"]})
            assert (await standing(lake))["state"] in ("refreshing", "behind")
        # Ended while the model was asked: the corpus is what it was, and the next process goes on.
        fake.script.clear()
        async with lake_on(home, fake) as lake:
            await lake.start()
            await until(lake, "current", 2)
            assert await texts(lake) == {"a": "eins"}


async def test_versions_that_follow_quickly_end_in_the_last(lake: Lakehouse) -> None:
    await commit(lake, "jobs", {"id": ["a"], "t": ["0"]})
    await lake.corpora.build("jobs", dataset="jobs", text=["t"], id="id", follow=True)
    for number in range(1, 8):
        await commit(lake, "jobs", {"id": ["a"], "t": [str(number)]})
    await until(lake, "current", 8)
    assert await texts(lake) == {"a": "7"}


async def test_an_interrupted_build_embeds_nothing_twice(home: Path) -> None:
    """What was embedded before a crash comes from the cache, also where the new content was not published."""
    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            await commit(lake, "jobs", {"id": [str(n) for n in range(12)], "t": [f"text {n}" for n in range(12)]})
            options: dict[str, Any] = {"dataset": "jobs", "text": ["t"], "id": "id", "batch_size": 2, "workers": 1}
            await lake.corpora.build("jobs", **options)
            asked = len(fake.requests)
            fake.script.extend(["compute"] * 4 + ["hang"])
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: lake.corpora.build("jobs", drop_existing=True, model="all-minilm", **options))
                while len(fake.requests) < asked + 5:
                    await anyio.sleep(0.005)
                group.cancel_scope.cancel()
        asked = len(fake.requests)
        async with lake_on(home, fake) as lake:
            assert (await lake.vectors.get("jobs")).model == "ollama/nomic-embed-text"
            done = await lake.corpora.build("jobs", drop_existing=True, model="all-minilm", **options)
            assert (done.count, done.model) == (12, "ollama/all-minilm")
            assert sum(len(each.body["input"]) for each in fake.requests[asked:] if each.path == "/api/embed") == 4


async def test_definitions_may_follow(home: Path) -> None:
    await anyio.Path(home / "corpora").mkdir(parents=True)
    text = "source: {dataset: jobs, text: t, id: id}\nfollow: true\n"
    await anyio.Path(home / "corpora" / "jobs.yaml").write_text(text)
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        await commit(lake, "jobs", {"id": ["a"], "t": ["one"]})
        await lake.call("build_corpus", {"name": "jobs"})
        await commit(lake, "jobs", {"id": ["b"], "t": ["two"]})
        await until(lake, "current", 2)
        assert await texts(lake) == {"b": "two"}
        await lake.call("build_corpus", {"name": "jobs", "follow": False})
        await commit(lake, "jobs", {"id": ["c"], "t": ["three"]})
        assert (await standing(lake))["state"] == "behind"
