"""Entries as tests record them, and what the playbook makes of them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lakehouse import Lakehouse
from lakehouse.engine import moment
from lakehouse.engine.acting import Actor, acting

DAY = 86_400


def given(
    query: str = "forklift driver IL", answer: str = "w-7", corpus: str = "workers", **more: Any
) -> dict[str, Any]:
    return {"query_text": query, "answer_id": answer, "answer_corpus": corpus, "score": 1.0} | more


def ago(days: float) -> str:
    return moment.text_of(time.time() - days * DAY)


@contextmanager
def writer(name: str, *, local: bool = False) -> Iterator[None]:
    token = acting.set(Actor(name, f"call-of-{name}", "http", "eu", local))
    try:
        yield
    finally:
        acting.reset(token)


async def effects(lake: Lakehouse, query: str = "forklift driver IL", **options: Any) -> dict[str, float]:
    vector = (await lake.embed.embed([query])).vectors[0]
    return {one.answer_id: one.effect for one in await lake.playbook.endorsements(vector, **options)}
