"""Embedding through the door."""

from typing import Any

import pytest

from lakehouse import InvalidInput, Lakehouse, TooLarge

pytestmark = pytest.mark.anyio


async def test_embed_and_its_statistics(lake: Lakehouse) -> None:
    """A-S10-2: the answer names model and dimension."""
    done = await lake.call("embed.text", {"texts": ["a", "b", "a"]})
    assert (done["model"], done["dimension"], done["truncated"]) == ("hash-256", 256, 0)
    assert [len(v) for v in done["vectors"]] == [256] * 3
    assert done["vectors"][0] == done["vectors"][2] != done["vectors"][1]
    await lake.call("embed_text", {"texts": ["a"]})
    stats = await lake.call("embed_stats")
    assert stats == {
        "enabled": True,
        "hits": 2,
        "misses": 2,
        "hit_rate": 0.5,
        "size": 2,
        "capacity": 10_000,
        "disk": "ok",
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "texts"),
        ({"texts": []}, "texts"),
        ({"texts": "a bare text"}, "texts"),
        ({"texts": [1]}, "texts"),
        ({"texts": [None]}, "texts"),
        ({"texts": ["good", ""]}, r"texts\[1\]"),
        ({"texts": ["good", "\n "]}, r"texts\[1\]"),
        ({"texts": ["a"], "model": "gpt-4"}, "hash-256"),
        ({"texts": ["a"], "model": 7}, "model"),
        ({"texts": ["a"], "modle": "x"}, "Did you mean model"),
    ],
)
async def test_bad_arguments(lake: Lakehouse, arguments: dict[str, Any], named: str) -> None:
    """A-S10-2"""
    with pytest.raises(InvalidInput, match=named):
        await lake.call("embed.text", arguments)


async def test_too_many_texts(lake: Lakehouse) -> None:
    """A-S10-2: oversize is a client error."""
    with pytest.raises(TooLarge, match="1024"):
        await lake.call("embed.text", {"texts": ["a"] * 1025})
