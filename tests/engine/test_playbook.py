"""The playbook by itself: what is stored, what of it ages, and what comes of bad input."""

import math
import time
from typing import Any

import anyio
import pytest
from tests.engine.playing import DAY, ago, effects, given

from lakehouse import Conflict, InvalidInput, Lakehouse, NotFound, TooLarge, Upstream
from lakehouse.engine import moment
from lakehouse.engine.playbook import Playbook
from lakehouse.engine.playbook.boost import boosted, lifted
from lakehouse.engine.playbook.entry import id_of
from lakehouse.engine.vectors import Item

pytestmark = pytest.mark.anyio


def test_the_id_is_of_the_three() -> None:
    """S17.3: the golden id."""
    assert id_of("forklift driver IL", "w-7", "workers") == "pb-3ce17e80c38a12d1ece484ba1a20f30d"


@pytest.mark.parametrize("score", [0, 0.25, 0.5, 0.75, 1])
def test_how_far_a_score_moves(score: float) -> None:
    """A-S17-2: five scores; halved at 1, unchanged at 0; a score is doubled, or two thirds of it after a rejection."""
    assert boosted(0.6566, score) == 0.6566 * (1 - 0.5 * score)
    assert lifted(0.4, score) == 0.4 / (1 - 0.5 * score) and lifted(0.4, -score) == 0.4 / (1 + 0.5 * score)
    assert boosted(0.6566, 1) / 0.6566 == 0.5 and boosted(0.6566, -1) / 0.6566 == 1.5


async def test_recording_again_replaces(lake: Lakehouse) -> None:
    """A-S17-9: the last score and the newest verdict of a question and an answer stand, and the index does not grow."""
    assert await lake.playbook.lookup("anything") == await lake.playbook.lookup()
    assert await effects(lake) == {}  # A-S17-5: there is no index yet
    made = await lake.playbook.record(given(score=0.25, tags=["a"], notes="because"))
    assert made == "pb-3ce17e80c38a12d1ece484ba1a20f30d"
    info = await lake.vectors.get("playbook_memory")
    assert (info.count, info.distance, info.model, info.builder) == (1, "cosine", "hash-256", None)
    stored = (await lake.vectors.get_item("playbook_memory", made)).metadata
    assert stored["tags"] == ["a"] and stored["notes"] == "because" and stored["polarity"] == 1
    assert await effects(lake) == {"w-7": 0.25}
    assert await lake.playbook.record(given(score=0.75)) == made
    assert await effects(lake) == {"w-7": 0.75}
    verdict = {name: value for name, value in given().items() if name != "score"}
    assert await lake.playbook.feedback(verdict, "reject") == made
    assert (await lake.vectors.get_item("playbook_memory", made)).metadata["polarity"] == -1
    assert await effects(lake) == {"w-7": -1}
    await lake.playbook.feedback(verdict | {"weight": 0.5}, "accept")
    assert await effects(lake) == {"w-7": 0.5}
    assert (await lake.vectors.get("playbook_memory")).count == 1
    found = await lake.playbook.lookup("forklift driver IL")
    assert (found.count, found.entries[0].score, found.entries[0].by.trusted) == (1, 0.5, True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"query_text": " "}, "query_text"),
        ({"query_text": "x" * 10_001}, "query_text: it has over"),
        ({"query_text": "half \ud800"}, "Unicode"),
        ({"answer_id": ""}, "answer_id"),
        ({"answer_corpus": 7}, "answer_corpus"),
        ({"score": -0.1}, "score"),
        ({"score": 1.1}, "score"),
        ({"score": math.nan}, "score"),
        ({"score": math.inf}, "score"),
        ({"score": True}, "score"),
        ({"score": None}, "score"),
        ({"tags": "one"}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"recorded_at": "yesterday"}, "recorded_at"),
        ({"recorded_at": True}, "recorded_at"),
        ({"scores": 1}, "Did you mean score"),
    ],
)
async def test_bad_fields_are_named(lake: Lakehouse, wrong: dict[str, Any], said: str) -> None:
    """A-S17-10: nothing is recorded; in a batch the others are."""
    with pytest.raises(InvalidInput, match=said):
        await lake.playbook.record(given() | wrong)
    assert (await lake.playbook.lookup()).total == 0
    done = await lake.playbook.bulk([given() | wrong, given("another")])
    assert (done.recorded, done.failed) == (1, 1)
    assert done.results[0].error is not None and done.results[1].playbook_id is not None


async def test_a_batch(lake: Lakehouse) -> None:
    """A-S17-7: two recorded, one empty question told; an entry's own corpus beats the batch's."""
    batch: list[Any] = [
        given("alpha", "widget-a"),
        given("", "x"),
        given("bravo", "widget-b", corpus="w") | {"corpus": "other"},
        7,
    ]
    done = await lake.playbook.bulk(batch, corpus="mine")
    assert (done.recorded, done.failed) == (2, 2)
    assert [one.index for one in done.results] == [0, 1, 2, 3]
    assert done.results[0].playbook_id == id_of("alpha", "widget-a", "workers")
    assert "query_text" in str(done.results[1].error) and "object" in str(done.results[3].error)
    assert [one.name for one in await lake.vectors.list()] == ["mine", "other"]
    with pytest.raises(InvalidInput, match="empty"):
        await lake.playbook.bulk([])
    with pytest.raises(TooLarge, match="5000"):
        await lake.playbook.bulk([given()] * 5001)
    done = await lake.playbook.bulk([given(score=0.1), given(score=0.2)])
    assert done.recorded == 2 and await effects(lake) == {"w-7": 0.2}


async def test_every_entry_of_a_large_batch_is_found_again(lake: Lakehouse) -> None:
    """A-S17-8 (G3.7.A, G3.7.B): more than one group of texts, each found first by its question."""
    questions = [f"question {number} of {number % 13}" for number in range(600)]
    done = await lake.playbook.bulk([given(text, f"w-{n}") for n, text in enumerate(questions)])
    assert (done.recorded, done.failed) == (600, 0)
    assert (await lake.playbook.lookup()).total == 600
    for number in range(0, 600, 37):
        found = await lake.playbook.lookup(questions[number], limit=3)
        assert found.entries[0].answer_id == f"w-{number}"
        assert f"w-{number}" in await effects(lake, questions[number])


async def test_a_hundred_first_records_at_once(lake: Lakehouse) -> None:
    """The index is made once; nothing is lost, and the last word on one question is one of those said."""
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(lake.playbook.record, given(f"question {number % 50}", score=number / 100))
    assert (await lake.vectors.get("playbook_memory")).count == 50
    found = await lake.playbook.lookup(limit=100)
    assert found.total == 50 and all(
        round(one.score * 100) % 50 == int(one.query_text.split()[1]) for one in found.entries
    )


async def test_the_strongest_counts_and_nothing_stacks(lake: Lakehouse) -> None:
    """A-S17-3, A-S17-4: of several questions the highest effect, once; by the answer's id and corpus both."""
    for number, score in enumerate((0.3, 0.9, 0.6)):
        await lake.playbook.record(given(f"forklift driver IL {number}", score=score))
    await lake.playbook.record(given(corpus="elsewhere", score=0.2))
    vector = (await lake.embed.embed(["forklift driver IL"])).vectors[0]
    found = {one.answer_corpus: one.effect for one in await lake.playbook.endorsements(vector)}
    assert found == {"workers": 0.9, "elsewhere": 0.2}
    assert await effects(lake, max_distance=0.0001) == {"w-7": 0.2}
    assert await effects(lake, top_k=1) == {"w-7": 0.2}
    assert await effects(lake, "nothing like it at all", max_distance=0.1) == {}


async def test_an_entry_ages_by_whole_days(lake: Lakehouse) -> None:
    """A-S17-11: half after 90 days, whole on its day, and what claims to be of the future is of now."""
    await lake.playbook.record(given(answer="old", recorded_at=ago(90.5)))
    await lake.playbook.record(given(answer="today", recorded_at=ago(0.9)))
    await lake.playbook.record(given(answer="later", recorded_at=ago(-30)))
    assert await effects(lake) == {"old": 0.5, "today": 1.0, "later": 1.0}
    for one in (await lake.playbook.lookup()).entries:
        assert one.recorded_at <= moment.now()


async def test_without_a_half_life_nothing_ages(open_lake: Any) -> None:
    lake = await open_lake(half_life_days=0.0)
    await lake.playbook.record(given(recorded_at=ago(4000)))
    assert await effects(lake) == {"w-7": 1.0}


async def test_what_is_no_entry_is_skipped(lake: Lakehouse) -> None:
    """S17.5: empty and malformed metadata; an entry as others store it counts, as of nobody known."""
    await lake.playbook.record(given())
    vector = (await lake.embed.embed(["forklift driver IL"])).vectors[0]
    plain = given(answer="plain") | {"recorded_at": ago(0)}
    bad: list[Any] = [{}, [], "x", 3, {"query_text": 1}, plain | {"score": 2}, plain | {"recorded_at": "x"}]
    bad += [plain | {"polarity": 0}, plain | {"by": {"who": "x", "no": 1}}, plain | {"tags": 5}]
    items = [Item(f"bad-{n}", vector, meta) for n, meta in enumerate(bad)]
    await lake.vectors.add("playbook_memory", [*items, Item("none", vector), Item("plain", vector, plain)])
    assert await effects(lake) == {"w-7": 1.0, "plain": 1.0}
    found = {one.answer_id: one.by for one in (await lake.playbook.lookup("forklift driver IL")).entries}
    assert found["w-7"].trusted and (found["plain"].trusted, found["plain"].who) == (False, "")


async def test_cold_start_is_told_by_class(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S17-5, A-S17-6: only a missing index is a playbook without entries; whatever else fails is Upstream."""
    await lake.playbook.record(given())
    assert await effects(lake, corpus="none-yet") == {}
    with pytest.raises(Upstream, match="playbook playbook_memory"):
        await lake.playbook.endorsements([1.0, 0.0])
    with pytest.raises(Upstream, match="of hash-256"):
        await effects(lake, model="another/model")

    async def fail(*_: Any) -> Any:
        raise NotFound("the store says: no such index")

    monkeypatch.setattr(lake.vectors, "ask", fail)
    with pytest.raises(Upstream, match="no such index"):
        await effects(lake)


async def test_an_index_of_something_else_is_refused(lake: Lakehouse) -> None:
    await lake.vectors.create("corpus", 256, model="hash-256", builder={"dataset": "d"})
    await lake.vectors.create("small", 3)
    await lake.vectors.create("far", 256, "euclidean", model="hash-256")
    for name in ("corpus", "small", "far"):
        with pytest.raises(Conflict, match=name):
            await lake.playbook.record(given(), corpus=name)
    await lake.vectors.create("made-before", 256)  # as a client may that knows the dimension only
    await lake.playbook.record(given(), corpus="made-before")
    assert await effects(lake, corpus="made-before") == {"w-7": 1.0}
    with pytest.raises(InvalidInput, match="name"):
        await lake.playbook.record(given(), corpus="../up")


async def test_changes_are_in_the_journal(lake: Lakehouse) -> None:
    """A-S28-1: recording leaves an event, with what was there before; so do quarantine, release and forgetting."""
    id = await lake.playbook.record(given(score=0.5))
    await lake.playbook.record(given(score=1.0))
    held = await lake.playbook.quarantine(ids=[id])
    await lake.playbook.release(held.quarantine_id)
    await lake.playbook.bulk([given("a"), given("b")])
    await lake.playbook.forget(ids=[id])
    events = (await lake.journal.query(entity_type="playbook")).events[::-1]
    assert [one.action for one in events] == ["record", "record", "quarantine", "release", "record", "forget"]
    assert (events[0].entity_id, events[0].before, events[0].after["score"]) == (id, None, 0.5)
    assert (events[1].before["score"], events[1].after["score"]) == (0.5, 1.0)
    assert events[4].after["recorded"] == 2 and events[5].after["ids"] == [id]


async def test_clicks(lake: Lakehouse) -> None:
    """S17.9: the strongest of each answer, the later of equals; sent again, or weaker, by the same session: nothing."""

    def click(answer: str, kind: str, ts: Any = None) -> dict[str, Any]:
        return {"answer_id": answer, "answer_corpus": "workers", "kind": kind, "ts": ts}

    question = "forklift driver IL"
    now = time.time()
    clicks = [
        click("a", "shortlist", now),
        click("a", "open", now + 1),
        click("b", "rejected", ago(1 / DAY)),
        click("b", "placed", (now - 60) * 1000),
        click("c", "open", None),
        click("", "open"),
    ]
    done = await lake.playbook.clicks("s1", question, clicks)
    assert (done.recorded, done.failed, [one.index for one in done.results]) == (3, 1, [0, 2, 4, 5])
    assert await effects(lake) == {"a": 0.6, "b": -1.0, "c": 0.3}
    before = (await lake.journal.query(entity_type="playbook")).events
    again = await lake.playbook.clicks("s1", question, [*clicks[:5], click("a", "open", now + 2)])
    assert (again.recorded, again.failed) == (3, 0)
    assert len((await lake.journal.query(entity_type="playbook")).events) - len(before) <= 1
    assert await effects(lake) == {"a": 0.6, "b": -1.0, "c": 0.3}
    await lake.playbook.clicks("s1", question, [click("c", "placed")])
    await lake.playbook.clicks("s2", question, [click("a", "open")])
    assert await effects(lake) == {"a": 0.3, "b": -1.0, "c": 1.0}


@pytest.mark.parametrize(
    ("clicks", "said"),
    [
        ([], "empty"),
        ([{"answer_id": "a", "answer_corpus": "w", "kind": "opened"}], "clicks\\[0\\].kind"),
        ([{"answer_id": "a", "answer_corpus": "w", "kind": "open", "time": 1}], "clicks\\[0\\].time"),
        ([{"answer_id": "a", "answer_corpus": "w", "kind": "open", "ts": "soon"}], "clicks\\[0\\].ts"),
    ],
)
async def test_bad_clicks(lake: Lakehouse, clicks: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        await lake.playbook.clicks("s", "question", clicks)
    with pytest.raises(InvalidInput, match="session_id"):
        await lake.playbook.clicks(" ", "question", clicks)


async def test_a_failing_store_fails_each_entry_of_a_batch(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception leaves; what was stored before stays, and callers who record at the same time all hear of it."""
    await lake.playbook.record(given())

    async def fail(*_: Any) -> Any:
        raise Upstream("the bucket is gone.")

    monkeypatch.setattr(lake.vectors, "revise", fail)
    done = await lake.playbook.bulk([given("a"), given("b")])
    assert (done.recorded, done.failed) == (0, 2) and "the bucket is gone" in str(done.results[1].error)
    failed: list[str] = []

    async def one(number: int) -> None:
        try:
            await lake.playbook.record(given(f"q {number}"))
        except Upstream as error:
            failed.append(error.detail)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(one, number)
    assert failed == ["the bucket is gone."] * 8
    assert await effects(lake) == {"w-7": 1.0}


async def test_a_playbook_takes_any_vectors(lake: Lakehouse) -> None:
    """It is built over whatever has the store's methods."""

    class View:
        def __getattr__(self, name: str) -> Any:
            return getattr(lake.vectors, name)

    playbook = Playbook(lake.embed, View(), lake.config, lake.record)  # type: ignore[arg-type]
    await playbook.record(given())
    assert await effects(lake) == {"w-7": 1.0}
