"""Who said it, how much of it counts, what is put aside, left out and rolled back."""

from typing import Any

import pytest
from tests.engine.playing import ago, effects, given, writer

from lakehouse import InvalidInput, Lakehouse, NotFound
from lakehouse.engine import moment

pytestmark = pytest.mark.anyio


async def test_who_said_it(lake: Lakehouse) -> None:
    """Provenance: the token, its face, call and profile; whether it is trusted is for the settings to say."""
    with writer("ann"):
        id = await lake.playbook.record(given())
    shown = await lake.playbook.get(id)
    assert shown.by.model_dump(exclude={"at"}) == {
        "who": "ann",
        "via": "http",
        "call": "call-of-ann",
        "profile": "eu",
        "trusted": False,
    }
    assert shown.by.at <= moment.now()
    with pytest.raises(NotFound, match="no entry"):
        await lake.playbook.get("pb-none")
    with pytest.raises(NotFound):
        await lake.playbook.get(id, corpus="none")


async def test_trust_is_a_matter_of_settings(open_lake: Any) -> None:
    lake = await open_lake(untrusted_weight=0.25)
    with writer("ann"):
        await lake.playbook.record(given(answer="a"))
    await lake.playbook.record(given(answer="b"))
    assert await effects(lake) == {"a": 0.25, "b": 1.0}
    lake = await open_lake(untrusted_weight=0.0)
    assert await effects(lake) == {"b": 1.0}
    lake = await open_lake(untrusted_weight=0.0, trusted=["ann"])
    assert await effects(lake) == {"a": 1.0, "b": 1.0}


async def test_one_writer_moves_only_so_much(lake: Lakehouse) -> None:
    """Four answers of one token share two whole boosts; what another token says too is not cut; one answer is exact."""
    with writer("ann"):
        await lake.playbook.record(given(answer="a"))
        assert await effects(lake) == {"a": 1.0}
        for answer in "bcd":
            await lake.playbook.record(given(answer=answer))
    assert await effects(lake) == dict.fromkeys("abcd", 0.5)
    with writer("ben"):
        await lake.playbook.record(given("forklift driver in IL", answer="a"))
    with_ben = await effects(lake, top_k=8)
    assert with_ben["a"] == 1.0 and with_ben["b"] == 2 / 3
    with writer("ann", local=True):  # of this machine: no limit
        for answer in "abcd":
            await lake.playbook.record(given(answer=answer))
    assert await effects(lake, top_k=8) == dict.fromkeys("abcd", 1.0)


async def test_one_writer_does_not_take_every_place(lake: Lakehouse) -> None:
    """A hundred entries nearer than the honest one leave it its place; alone they may have all of them."""
    with writer("spam"):
        await lake.playbook.bulk([given(answer=f"s{n}", score=0.1) for n in range(100)])
        assert len(await effects(lake)) == 5
    await lake.playbook.record(given("forklift driver in IL", answer="honest"))
    found = await effects(lake)
    assert found.pop("honest") == 1.0 and len(found) == 4


async def test_quarantine_by_writer(lake: Lakehouse) -> None:
    """What a writer says, now and later, moves nothing and stays visible; what it had replaced counts meanwhile."""
    with writer("ann"):
        await lake.playbook.record(given(score=0.5))
    with writer("eve"):
        await lake.playbook.record(given(score=1.0))
        await lake.playbook.record(given(answer="bad"))
    assert await effects(lake) == {"w-7": 1.0, "bad": 1.0}
    held = await lake.playbook.quarantine(writer="eve", reason="spam")
    assert (held.entries, held.reason) == (2, "spam")
    assert await effects(lake) == {"w-7": 0.5}
    with writer("eve"):
        await lake.playbook.record(given(answer="new"))
    assert await effects(lake) == {"w-7": 0.5}
    found = await lake.playbook.lookup(writer="eve")
    assert found.total == 3 and all(one.quarantined for one in found.entries)
    assert [one.quarantine_id for one in found.quarantine] == [held.quarantine_id]
    assert (await lake.playbook.quarantine(writer="eve")).quarantine_id == held.quarantine_id
    assert (await lake.playbook.release(held.quarantine_id)).entries == 3
    assert await effects(lake) == dict.fromkeys(("w-7", "bad", "new"), 2 / 3)  # two whole boosts, of three answers
    with pytest.raises(NotFound, match="quarantine_id"):
        await lake.playbook.release(held.quarantine_id)
    assert (await lake.playbook.lookup()).quarantine == []


async def test_quarantine_by_id_and_time(open_lake: Any) -> None:
    """Ids and times of writing, which are the server's; it outlives a restart. Nothing given is refused."""
    lake = await open_lake()
    first = await lake.playbook.record(given(answer="a", recorded_at=ago(50)))
    between = moment.now()
    await lake.playbook.record(given(answer="b"))
    held = await lake.playbook.quarantine(ids=[first])
    assert await effects(lake) == {"b": 1.0}
    await lake.playbook.quarantine(since=between)
    lake = await open_lake()
    assert await effects(lake) == {}
    await lake.playbook.release(held.quarantine_id)
    assert list(await effects(lake)) == ["a"]
    for call in (lake.playbook.quarantine, lake.playbook.forget):
        with pytest.raises(InvalidInput, match="none is given"):
            await call()
        with pytest.raises(InvalidInput, match="since"):
            await call(since="then")
    with pytest.raises(NotFound):
        await lake.playbook.quarantine(writer="x", corpus="none")


async def test_a_flood_in_quarantine_hides_nothing(lake: Lakehouse) -> None:
    """More entries nearer than any that counts than are looked at in one go."""
    with writer("eve"):
        await lake.playbook.bulk([given(answer=f"s{n}") for n in range(700)])
    await lake.playbook.record(given("forklift driver in IL", answer="honest"))
    await lake.playbook.quarantine(writer="eve")
    assert await effects(lake) == {"honest": 1.0}


async def test_left_out(lake: Lakehouse) -> None:
    """without=[ids]: as if they were not there; the next nearest takes the place."""
    ids = [await lake.playbook.record(given(answer=str(number))) for number in range(6)]
    nearest = await effects(lake, top_k=2)
    left = [id for id, number in zip(ids, range(6), strict=True) if str(number) in nearest]
    other = await effects(lake, top_k=2, without=left)
    assert len(other) == 2 and not set(other) & set(nearest)
    assert await effects(lake, without=ids) == {}


async def test_forgetting_gives_back_what_was_replaced(lake: Lakehouse) -> None:
    """Rollback of a writer: its own entries are gone, those it had put its word in the place of stand again."""
    with writer("ann"):
        await lake.playbook.record(given(score=0.5))
        kept = await lake.playbook.record(given(answer="kept", score=0.5))
    with writer("eve"):
        await lake.playbook.feedback({k: v for k, v in given().items() if k != "score"}, "reject")
        await lake.playbook.record(given(answer="bad"))
    shown = (await lake.playbook.lookup(writer="eve")).entries
    assert sorted(one.replaced for one in shown) == [0, 1]
    done = await lake.playbook.forget(writer="eve")
    assert (done.removed, done.restored) == (1, 1)
    assert await effects(lake) == {"w-7": 0.5, "kept": 0.5}
    assert (await lake.playbook.lookup(writer="eve")).total == 0
    assert (await lake.playbook.forget(ids=[kept, "pb-none"])).removed == 1
    assert (await lake.playbook.forget(until=moment.now())).removed == 1
    assert await effects(lake) == {}
    assert (await lake.playbook.forget(writer="x", corpus="none")).removed == 0
