"""Vector indexes through the door."""

from typing import Any

import numpy as np
import pytest

import lakehouse
from lakehouse import Lakehouse
from lakehouse.errors import Conflict, InvalidInput, NotFound

pytestmark = pytest.mark.anyio


async def test_an_index_from_creation_to_deletion(lake: Lakehouse) -> None:
    """A-S9-1, S9.2-S9.8: the shapes of the answers, by MCP name and by dotted name."""
    made = await lake.call("create_index", {"name": "it", "dimension": 3})
    assert made == {
        "name": "it",
        "dimension": 3,
        "distance": "cosine",
        "count": 0,
        "generation": 1,
    }
    rows = np.random.default_rng(4).standard_normal((200, 3)).tolist()
    items = [{"id": f"v{i}", "vector": row, "metadata": {"n": i}} for i, row in enumerate(rows)]
    assert await lake.call("add_vectors", {"index": "it", "items": items}) == {"added": 200, "updated": 0}
    assert await lake.call("vectors.add", {"index": "it", "items": items[:5]}) == {"added": 0, "updated": 5}
    found = await lake.call("search_vectors", {"index": "it", "vector": rows[7], "k": 3})
    assert found["count"] == len(found["results"]) == 3
    first = found["results"][0]
    assert (first["id"], first["metadata"], first["distance"] <= 1e-6) == ("v7", {"n": 7}, True)
    stored = await lake.call("get_vector", {"index": "it", "id": "v7"})
    assert stored == {"id": "v7", "vector": [float(np.float32(x)) for x in rows[7]], "metadata": {"n": 7}}
    assert await lake.call("delete_vector", {"index": "it", "id": "v7"}) == {"removed": "v7"}
    listed = await lake.call("list_indexes")
    assert listed == {"indexes": [made | {"count": 199}], "count": 1, "damaged": []}
    shown = await lake.call("get_index", {"name": "it"})
    (live,) = shown.pop("generations")
    assert shown == made | {"count": 199}
    assert (live["generation"], live["live"], live["count"]) == (1, True, 199)
    assert await lake.call("vectors.indexes") == listed
    assert await lake.call("delete_index", {"name": "it"}) == {"removed": "it"}
    assert await lake.call("list_indexes") == {"indexes": [], "count": 0, "damaged": []}


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("create_index", {"name": "it", "dimension": 2}, Conflict),
        ("create_index", {"name": "new", "dimension": 0}, InvalidInput),
        ("create_index", {"name": "new", "dimension": 2, "distance": "dot"}, InvalidInput),
        ("create_index", {"name": "../up", "dimension": 2}, InvalidInput),
        ("create_index", {"name": "new", "dimension": 2, "size": 1}, InvalidInput),
        ("get_index", {"name": "none"}, NotFound),
        ("delete_index", {"name": "none"}, NotFound),
        ("search_vectors", {"index": "none", "vector": [1, 2]}, NotFound),
        ("search_vectors", {"index": "it", "vector": [1]}, InvalidInput),
        ("search_vectors", {"index": "it", "vector": [1, 2], "k": 0}, InvalidInput),
        ("search_vectors", {"index": "it", "vector": [1, 2], "k": 1001}, InvalidInput),
        ("search_vectors", {"index": "it", "vector": [0, 0]}, InvalidInput),
        ("search_vectors", {"index": "it", "vector": "north"}, InvalidInput),
        ("search_vectors", {"index": "it", "vector": [float("nan"), 1]}, InvalidInput),
        ("add_vectors", {"index": "it", "items": []}, InvalidInput),
        ("add_vectors", {"index": "it", "items": [{"id": "", "vector": [1, 2]}]}, InvalidInput),
        ("add_vectors", {"index": "it", "items": [{"id": "a", "vector": [1, "x"]}]}, InvalidInput),
        ("add_vectors", {"index": "it", "items": [{"id": "a"}]}, InvalidInput),
        ("add_vectors", {"index": "it", "items": [{"id": "a", "vector": [1, 2, 3]}]}, InvalidInput),
        ("add_vectors", {"index": "it", "items": "[{]"}, InvalidInput),
        ("add_vectors", {"index": "it", "items": [{"id": "a", "vector": [1, 2], "metdata": {"n": 1}}]}, InvalidInput),
        ("get_vector", {"index": "it", "id": "none"}, NotFound),
        ("delete_vector", {"index": "it", "id": "none"}, NotFound),
    ],
)
async def test_bad_calls_are_refused(lake: Lakehouse, name: str, arguments: dict[str, Any], kind: type) -> None:
    """A-S9-1, A-S9-4, A-S9-5: dimension mismatches, unknown names, empty and malformed items; nothing is stored."""
    await lake.call("create_index", {"name": "it", "dimension": 2})
    with pytest.raises(kind):
        await lake.call(name, arguments)
    assert (await lake.call("list_indexes"))["indexes"][0]["count"] == 0


async def test_items_survive_a_restart(home: Any) -> None:
    """A-S9-8: same count, distance and metadata in the next process; a deleted index stays deleted."""
    for again in (False, True):
        async with lakehouse.open(home) as lake:
            if not again:
                for name in ("kept", "gone"):
                    await lake.call("create_index", {"name": name, "dimension": 2})
                    batch = [{"id": "a", "vector": [1, 2], "metadata": [1]}, {"id": "b", "vector": [2, 1]}]
                    await lake.call("add_vectors", {"index": name, "items": batch})
                await lake.call("delete_index", {"name": "gone"})
            listed = await lake.call("list_indexes")
            assert [(i["name"], i["count"]) for i in listed["indexes"]] == [("kept", 2)]
            first = (await lake.call("search_vectors", {"index": "kept", "vector": [1, 2]}))["results"][0]
            assert (first["id"], first["metadata"], abs(first["distance"]) <= 1e-6) == ("a", [1], True)


async def test_a_hit_without_metadata_says_so(lake: Lakehouse) -> None:
    """S9.8, S13.2: `metadata` is there, null; the output schema requires it, and clients check against that."""
    await lake.call("create_index", {"name": "bare", "dimension": 2})
    await lake.call("add_vectors", {"index": "bare", "items": [{"id": "a", "vector": [1, 0]}]})
    for tool, query in (
        ("search_vectors", {"index": "bare", "vector": [1, 0]}),
        ("matrix_search", {"corpora": ["bare"], "query_vector": [1, 0]}),
    ):
        hit = (await lake.call(tool, query))["results"][0]
        assert hit["metadata"] is None and hit["id"] == "a"
        schema = (await lake.load()).find(tool).output_schema["properties"]["results"]["items"]
        assert {"metadata"} <= set(schema["required"]) <= set(hit), tool
