"""How a stored object becomes a dataset, through the door."""

import hashlib
from typing import Any

import pytest

from lakehouse import Conflict, InvalidInput, Lakehouse, NotFound
from lakehouse.engine.datasets import EmptyFingerprint, SchemaChanged, dataset_id

pytest.importorskip("lakehouse.engine.ingest")
pytestmark = pytest.mark.anyio
GOLDEN = "916f5f59b41fe1bf3785e0e9d2fd6d6233b0a6bfb86da6241549582922a923a4"


async def put(lake: Lakehouse, text: str, key: str = "in/people.csv") -> None:
    await lake.call("storage_put", {"key": key, "text": text})


def asked(**more: Any) -> dict[str, Any]:
    return {"name": "people", "objects": [{"key": "in/people.csv"}], **more}


@pytest.mark.slow
async def test_an_object_becomes_a_dataset(lake: Lakehouse) -> None:
    """S6.3: new, then the same content, then other rows under the same schema; the caller's object stays."""
    await put(lake, "id,name\n1,Ann\n2,Bo\n")
    first = await lake.call("register_dataset", asked(schema_fingerprint=GOLDEN, row_count=2))
    assert first == {
        "dataset_id": dataset_id("people"),
        "name": "people",
        "version": 1,
        "schema_fingerprint": GOLDEN,
        "row_count": 2,
        "existing": False,
    }
    again = await lake.call("register_dataset", asked(schema_fingerprint=GOLDEN))
    assert again == {**first, "existing": True}
    before = await lake.call("get_manifest", {"name": "people"})
    assert before["provenance"]["object"] == "primary://in/people.csv"
    assert before["objects"][0]["key"].startswith(f"datasets/people/{GOLDEN}-")
    await put(lake, "id,name\n1,Ann\n2,Bo\n3,Cy\n")
    more = await lake.call("register_dataset", asked())
    assert (more["version"], more["row_count"], more["existing"]) == (2, 3, True)
    after = await lake.call("get_manifest", {"name": "people"})
    assert after["created_at"] == before["created_at"] and after["updated_at"] > before["updated_at"]
    assert (await lake.call("storage_get", {"key": "in/people.csv"}))["size"] == 24


NOT_AS_SAID: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"schema_fingerprint": "f" * 64}, Conflict),
    ({"row_count": 3}, Conflict),
    ({"schema_fingerprint": " "}, EmptyFingerprint),
    ({"objects": [{"key": "in/nothing.csv"}]}, NotFound),
    ({"objects": [{"key": "../people.csv"}]}, InvalidInput),
    ({"name": "_people"}, InvalidInput),
    ({"columns": [{"name": "id", "type": "int64"}]}, Conflict),
    ({"columns": [{"name": "id", "type": "int64"}], "schema_fingerprint": GOLDEN}, InvalidInput),
    ({"objects": [{"key": "in/people.csv", "size_bytes": 18}]}, Conflict),
    ({"objects": [{"key": "in/people.csv", "sha256": "0" * 64}]}, Conflict),
    ({"objects": [{"key": "in/people.csv", "sise_bytes": 18}]}, InvalidInput),
]


async def test_what_is_not_as_said_is_not_committed(lake: Lakehouse) -> None:
    """S6.3: 409 when schema or rows are not those given; nothing is registered then."""
    await put(lake, "id,name\n1,Ann\n2,Bo\n")
    for changes, error in NOT_AS_SAID:
        with pytest.raises(error):
            await lake.call("register_dataset", asked(**changes))
            pytest.fail(f"{changes} was taken")
        assert (await lake.call("list_datasets", {}))["total"] == 0
        assert [stored["key"] for stored in (await lake.call("storage_list", {}))["objects"]] == ["in/people.csv"]


async def test_everything_said_of_it_may_be_true(lake: Lakehouse) -> None:
    """S6.3: columns, and the facts of the object as a manifest names them."""
    text = "id,name\n1,Ann\n"
    await put(lake, text)
    facts = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "size_bytes": len(text)}
    columns = [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]
    objects = [{"key": "in/people.csv", **facts}]
    made = await lake.call("register_dataset", asked(objects=objects, columns=columns, schema_fingerprint=GOLDEN))
    assert (made["row_count"], made["schema_fingerprint"]) == (1, GOLDEN)


@pytest.mark.slow
async def test_another_schema_is_a_conflict(lake: Lakehouse) -> None:
    """A-S6-3 through the door."""
    await put(lake, "id,name\n1,Ann\n")
    await lake.call("register_dataset", asked())
    before = await lake.call("get_manifest", {"name": "people"})
    await put(lake, "id,name\nx,Ann\n")
    with pytest.raises(SchemaChanged, match="id was int64, is string"):
        await lake.call("register_dataset", asked())
    assert await lake.call("get_manifest", {"name": "people"}) == before
