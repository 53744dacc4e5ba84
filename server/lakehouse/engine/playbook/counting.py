"""Which entries count for a question: the nearest that are neither left out nor put aside."""

from collections.abc import Collection
from typing import Any

from lakehouse.engine.playbook import holds as quarantine
from lakehouse.engine.playbook.influence import Influence, Near
from lakehouse.engine.playbook.memory import Memory

ROUNDS = (64, 512)  # entries looked at, where the nearest are put aside or crowded by one writer


async def counted(
    memory: Memory, influence: Influence, vector: Any, top_k: int, max_distance: float, without: Collection[str]
) -> list[Near]:
    """At most `top_k` entries, nearest first. Raises IndexNotFound for a playbook that is not there."""
    holds = await memory.holds()
    count: list[Near] = []
    chosen: list[Near] = []
    for size in (max(top_k, size) for size in ROUNDS):
        near, whole = await memory.near(vector, size, max_distance)
        count = quarantine.counted(near, holds, without)
        chosen, settled = influence.chosen(count, top_k)
        if settled or whole:
            return chosen
    if len(count) >= top_k:
        return chosen
    # Hundreds of the nearest do not count: the others are asked alone.
    every = await memory.every()
    rest = [id for id, entry in every.items() if id not in without and quarantine.standing(id, entry, holds)]
    if not rest:
        return []
    near, _ = await memory.near(vector, max(top_k, ROUNDS[0]), max_distance, rest)
    return influence.chosen(quarantine.counted(near, holds, without), top_k)[0]
