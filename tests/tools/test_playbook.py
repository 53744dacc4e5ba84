"""The playbook through the door: recorded answers rank higher in the next search."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lakehouse import Conflict, InvalidInput, Lakehouse, NotFound, Upstream
from lakehouse.engine.vectors import Item
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio
QUESTION = "alpha bravo charlie delta"
WIDGETS = {
    "widget-a": "alpha bravo charlie",
    "widget-b": "alpha bravo and more words",
    "widget-c": "alpha with a few others beside",
}


async def fill(lake: Lakehouse, name: str = "widgets", texts: dict[str, str] = WIDGETS) -> None:
    done = await lake.embed.embed([*texts.values()])
    await lake.vectors.create(name, done.dimension, model=done.model)
    items = [Item(id, vector, {"text": text}) for (id, text), vector in zip(texts.items(), done.vectors, strict=True)]
    await lake.vectors.add(name, items)


async def search(lake: Lakehouse, query: str = QUESTION, **more: Any) -> tuple[dict[str, float], Any]:
    """Distances by id, in order, and how many the playbook moved."""
    given = {"query_text": query, "corpora": ["widgets"], "use_playbook": True} | more
    found = await lake.call("matrix_search", given)
    return {one["id"]: one["distance"] for one in found["results"]}, found.get("playbook_boosted")


def of(answer: str = "widget-c", corpus: str = "widgets", query: str = QUESTION, **more: Any) -> dict[str, Any]:
    return {"query_text": query, "answer_id": answer, "answer_corpus": corpus} | more


@pytest.fixture
async def widgets(lake: Lakehouse) -> AsyncIterator[Lakehouse]:
    await fill(lake)
    yield lake


async def test_playbook_smoke(widgets: Lakehouse) -> None:
    """A-S17-1, A-S17-5: the third of three is recorded, and its distance is exactly halved in the next search."""
    before, boosted = await search(widgets)
    assert [*before] == ["widget-a", "widget-b", "widget-c"] and not boosted
    made = await widgets.call("playbook_record", of(score=1.0))
    assert made == {"playbook_id": made["playbook_id"]}
    after, boosted = await search(widgets)
    assert boosted == 1
    assert after["widget-c"] / before["widget-c"] == 0.5
    assert [*after].index("widget-c") < 2
    assert {id: after[id] for id in ("widget-a", "widget-b")} == {id: before[id] for id in ("widget-a", "widget-b")}
    assert (await search(widgets, use_playbook=False))[0] == before
    assert (await search(widgets, without=[made["playbook_id"]]))[0] == before
    assert "playbook_memory" in [one["name"] for one in (await widgets.call("list_indexes"))["indexes"]]


@pytest.mark.parametrize("score", [0, 0.25, 0.5, 0.75, 1])
async def test_five_scores(widgets: Lakehouse, score: float) -> None:
    """A-S17-2: and a score of 0 counts as no boost."""
    before, _ = await search(widgets)
    await widgets.call("playbook_record", of(score=score))
    after, boosted = await search(widgets)
    assert after["widget-c"] == before["widget-c"] * (1 - 0.5 * score)
    assert bool(boosted) == (score > 0)


async def test_matches_are_of_id_and_corpus_and_do_not_stack(widgets: Lakehouse) -> None:
    """A-S17-3, A-S17-4: the same id in another corpus stays; of two entries the higher one counts, once."""
    await fill(widgets, "others")
    before, _ = await search(widgets, corpora=["others"])
    await widgets.call("playbook_record", of(score=0.5))
    await widgets.call("playbook_record", of(query=QUESTION + " once more", score=1.0))
    await widgets.call("playbook_record", of("not-there", score=1.0))
    assert (await search(widgets, corpora=["others"])) == (before, 0)
    after, boosted = await search(widgets)
    assert after["widget-c"] == before["widget-c"] * 0.5 and boosted == 1 and "not-there" not in after


async def test_a_rejection_pushes_down(widgets: Lakehouse) -> None:
    """A-S17-11: half as far again for a reject of weight 1; the newest verdict replaces it."""
    before, _ = await search(widgets)
    await widgets.call("playbook_feedback", of("widget-a", verdict="reject"))
    after, boosted = await search(widgets)
    assert after["widget-a"] == before["widget-a"] * 1.5 and boosted == 1
    await widgets.call("playbook_feedback", of("widget-a", verdict="accept"))
    assert (await search(widgets))[0]["widget-a"] == before["widget-a"] * 0.5


async def test_an_unreadable_playbook_fails_the_search(widgets: Lakehouse) -> None:
    """A-S17-6: an index that is there and does not answer is no cold start."""
    await widgets.call("create_index", {"name": "playbook_memory", "dimension": 3})
    await widgets.call("add_vectors", {"index": "playbook_memory", "items": [{"id": "x", "vector": [1, 0, 0]}]})
    with pytest.raises(Upstream, match="playbook"):
        await search(widgets)


async def test_a_question_is_embedded_once(widgets: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S17-12: the same vector searches the corpora and the playbook."""
    await widgets.call("playbook_record", of(score=1.0))
    asked: list[Any] = []
    embed = widgets.embed.embed

    async def counting(texts: Any, *rest: Any) -> Any:
        asked.append(texts)
        return await embed(texts, *rest)

    monkeypatch.setattr(widgets.embed, "embed", counting)
    _, boosted = await search(widgets)
    assert boosted == 1 and len(asked) == 1


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("playbook_record", of(score=-0.1), "score"),
        ("playbook_record", of(score=1.1), "score"),
        ("playbook_record", of(score=float("nan")), "score"),
        ("playbook_record", of(), "score: it is required"),
        ("playbook_record", of(score=1, answerid="x"), "Did you mean answer_id"),
        ("playbook_record", of("", score=1), "answer_id"),
        ("playbook_record_bulk", {"entries": []}, "empty"),
        ("playbook_record_bulk", {"entry": []}, "Did you mean entries"),
        ("playbook_feedback", of(verdict="accept", weight=2), "weight"),
        (
            "playbook_clicks",
            {"session_id": "s", "query_text": "q", "clicks": [{"answer": "a"}]},
            "Did you mean answer_id",
        ),
        ("playbook_lookup", {"query": "x"}, "Did you mean query_text"),
        ("playbook_quarantine", {"release": "q-1", "writer": "x"}, "alone"),
    ],
)
async def test_bad_arguments(lake: Lakehouse, tool: str, given: dict[str, Any], said: str) -> None:
    """A-S17-10: a score out of bounds or missing, a field that is not known."""
    with pytest.raises(InvalidInput, match=said):
        await lake.call(tool, given)


async def test_bulk(lake: Lakehouse) -> None:
    """A-S17-7: alpha and bravo recorded, the empty question told in place."""
    entries = [of("widget-a", query="alpha", score=1), of("widget-b", query="bravo", score=1), of(query="", score=1)]
    done = await lake.call("playbook_record_bulk", {"entries": entries})
    assert (done["recorded"], done["failed"]) == (2, 1)
    assert [sorted(one) for one in done["results"]] == [["index", "playbook_id"]] * 2 + [["error", "index"]]
    for entry in entries[:2]:
        found = await lake.call("playbook_lookup", {"query_text": entry["query_text"]})
        assert found["entries"][0]["answer_id"] == entry["answer_id"]


async def test_clicks_are_feedback(widgets: Lakehouse) -> None:
    """S17.9: what a page sends moves the next search."""
    before, _ = await search(widgets)
    clicks = [{"answer_id": "widget-c", "answer_corpus": "widgets", "kind": kind} for kind in ("open", "placed")]
    done = await widgets.call(
        "playbook_clicks",
        {"session_id": "s", "query_text": QUESTION, "clicks": [{**one, "ts": 1.7e12} for one in clicks]},
    )
    assert done["recorded"] == 1
    shown = (await widgets.call("playbook_lookup", {}))["entries"][0]
    assert (shown["score"], shown["session_id"], shown["recorded_at"][:10]) == (1.0, "s", "2023-11-14")
    after, _ = await search(widgets)
    assert before["widget-c"] * 0.5 < after["widget-c"] < before["widget-c"]  # it is of years ago


async def test_writers_are_told_apart(widgets: Lakehouse) -> None:
    """A token's entries are its own, wherever it connects from; the machine's callers are trusted."""
    eve = Caller(via="http", remote=True, name="eve")
    await widgets.call("playbook_record", of(score=1.0), caller=eve)
    shown = (await widgets.call("playbook_lookup", {"writer": "eve"}))["entries"][0]
    assert (shown["by"]["who"], shown["by"]["via"], shown["by"]["trusted"]) == ("eve", "http", False)
    assert (
        shown["by"]["call"]
        == (await widgets.call("journal_query", {"action": "record"}))["events"][0]["correlation_id"]
    )
    held = await widgets.call("playbook_quarantine", {"writer": "eve"})
    assert (await search(widgets))[1] == 0
    await widgets.call("playbook_quarantine", {"release": held["quarantine_id"]})
    assert (await search(widgets))[1] == 1
    assert (await widgets.call("playbook_forget", {"writer": "eve"}))["removed"] == 1
    for caller, trusted in (
        (Caller(via="mcp"), True),
        (Caller(via="http"), True),
        (Caller(via="http", name="x"), False),
    ):
        await widgets.call("playbook_record", of(score=1.0), caller=caller)
        assert (await widgets.call("playbook_lookup", {}))["entries"][0]["by"]["trusted"] == trusted
    with pytest.raises(NotFound):
        await widgets.call("playbook.entry", {"playbook_id": "pb-none"})
    one = await widgets.call("playbook.entry", {"playbook_id": shown["playbook_id"]})
    assert one["answer_id"] == "widget-c"


async def test_what_each_entry_is_worth(widgets: Lakehouse) -> None:
    """Left out in turn: who lifted the right answer helped, who lifted another harmed; and parts add up."""
    await fill(widgets, "even", {word: f"alpha bravo charlie {word}" for word in ("echo", "golf", "hotel")})
    ranked, _ = await search(widgets, corpora=["even"])
    _, other, right = ranked  # all three are about as far
    good = (await widgets.call("playbook_record", of(right, "even", score=0.5)))["playbook_id"]
    bad = (await widgets.call("playbook_record", of(other, "even", QUESTION + " x", score=1.0)))["playbook_id"]
    judged = {QUESTION: {"even": [right]}}
    report = await widgets.call("playbook_report", {"questions": judged})
    worth = {one["playbook_id"]: one for one in report["entries"]}
    assert (report["questions"], report["measured"], report["skipped"], report["searches"]) == (1, 1, 0, 3)
    assert [one["playbook_id"] for one in report["entries"]] == [good, bad]
    assert worth[good]["helped"] == 1 and worth[good]["mrr"] > 0 and worth[good]["elsewhere"] == 0
    assert worth[bad]["harmed"] == 1 and worth[bad]["mrr"] < 0 and worth[bad]["elsewhere"] == worth[bad]["mrr"]
    assert await widgets.call("playbook_report", {"questions": judged}) == report
    gone = (await widgets.call("playbook_record", of("w", "gone", query="zulu", score=1.0)))["playbook_id"]
    whole = await widgets.call("playbook_report")
    assert (whole["questions"], whole["measured"], whole["skipped"]) == (3, 3, 1) and "next" not in whole
    parts, after = [], None
    for _ in range(3):
        part = await widgets.call("playbook_report", {"limit": 1} | ({"after": after} if after else {}))
        after = part.get("next")
        parts.append(part)
    assert after is None
    for one in whole["entries"]:
        same = [e for part in parts for e in part["entries"] if e["playbook_id"] == one["playbook_id"]]
        assert sum(e["ndcg"] for e in same) == pytest.approx(one["ndcg"], abs=1e-12)
        assert sum(e["questions"] for e in same) == one["questions"]
    assert gone not in [one["playbook_id"] for one in whole["entries"]]
    assert (await widgets.call("playbook_report", {"corpus": "none"}))["questions"] == 0


async def test_a_profile_has_a_playbook_of_its_own(widgets: Lakehouse) -> None:
    """One that names no playbook has none; the one it names is written and read by its callers, and says so."""
    await widgets.call("playbook_record", of(score=1.0))
    eu = Caller(profile="eu")
    await widgets.call("set_profile", {"name": "eu", "bucket": "primary", "indexes": {"widgets": "widgets"}})
    with pytest.raises(NotFound, match="playbook_memory"):
        await widgets.call("playbook_record", of(score=1.0), caller=eu)
    assert (await widgets.call("playbook_lookup", {}, caller=eu))["total"] == 0
    indexes = {"widgets": "widgets", "playbook_memory": "eu_playbook"}
    await widgets.call("set_profile", {"name": "eu", "bucket": "primary", "indexes": indexes})
    await widgets.call("playbook_record", of("widget-b", score=1.0), caller=eu)
    shown = (await widgets.call("playbook_lookup", {}, caller=eu))["entries"]
    assert [(one["answer_id"], one["by"]["profile"]) for one in shown] == [("widget-b", "eu")]
    assert [one["answer_id"] for one in (await widgets.call("playbook_lookup", {}))["entries"]] == ["widget-c"]
    assert (await widgets.call("playbook_forget", {"writer": "python"}, caller=eu))["removed"] == 1
    assert (await widgets.call("playbook_lookup", {}))["total"] == 1


async def test_a_corpus_is_no_playbook(widgets: Lakehouse) -> None:
    await widgets.vectors.set_builder("widgets", {"dataset": "w"})
    with pytest.raises(Conflict, match="widgets"):
        await widgets.call("playbook_record", of(score=1.0) | {"corpus": "widgets"})
