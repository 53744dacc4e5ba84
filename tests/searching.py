"""Indexes of a few known items to search, and what a search must hold to."""

from functools import reduce
from operator import add
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.engine.matrix.shapes import Explained, Found
from lakehouse.engine.playbook import Endorsement
from lakehouse.engine.vectors import Item

WORDS = {
    "w1": "forklift driver in Chicago",
    "w2": "welder in Chicago",
    "w3": "forklift trainer",
    "w4": "night nurse",
    "w5": "day nurse and midwife",
}


def towards(distance: float) -> list[float]:
    """A vector of two components at this cosine distance from [1, 0]."""
    cosine = 1 - distance
    return [cosine, (1 - cosine**2) ** 0.5]


async def texts(lake: Lakehouse, name: str, held: dict[str, str], **facts: Any) -> None:
    """A corpus of these texts, embedded."""
    done = await lake.embed.embed(list(held.values()))
    await lake.vectors.create(name, done.dimension, model=facts.pop("model", done.model), **facts)
    rows = zip(held.items(), done.vectors, strict=True)
    await lake.vectors.add(name, [Item(id, row, {"text": text}) for (id, text), row in rows])


async def points(lake: Lakehouse, name: str, items: dict[str, float], **facts: Any) -> None:
    """An index of items at these distances from [1, 0]; their texts are their ids."""
    await lake.vectors.create(name, 2, **facts)
    await lake.vectors.add(name, [Item(id, towards(d), {"text": id, "d": d}) for id, d in items.items()])


def endorse(monkeypatch: pytest.MonkeyPatch, lake: Lakehouse, *known: tuple[str, str, float]) -> list[dict[str, Any]]:
    """Have the playbook know of these answers: id, corpus, effect. Returns what it was asked."""
    asked: list[dict[str, Any]] = []

    async def endorsements(vector: Any, **options: Any) -> list[Endorsement]:
        asked.append(options | {"vector": vector})
        return [Endorsement(f"pb-{id}", id, corpus, effect, 0.1, "asked then") for id, corpus, effect in known]

    monkeypatch.setattr(lake.playbook, "endorsements", endorsements)
    return asked


def told(found: Found) -> list[Explained]:
    """The explanation of each result."""
    return [hit.explain for hit in found.results if hit.explain is not None]


def check_sums(found: Found) -> None:
    """Each result's addends are exactly what it is ordered by, and that is what it shows."""
    assert len(told(found)) == found.count
    for hit, how in zip(found.results, told(found), strict=True):
        total = reduce(add, (addend.value for addend in how.addends), 0.0)
        assert total == (hit.distance if how.by == "distance" else hit.score)
        if how.lexical is not None and how.lexical.terms:
            assert sum(term.score for term in how.lexical.terms) == pytest.approx(how.lexical.score)
