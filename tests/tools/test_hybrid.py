"""Filters and SQL choose what a search of an index may find, through the door."""

from typing import Any

import numpy as np
import pytest

from lakehouse import Lakehouse, errors
from lakehouse.engine.vectors import hybrid
from lakehouse.engine.vectors.asking import Ask
from lakehouse.errors import Conflict, InvalidInput, NotFound, TooLarge

pytestmark = pytest.mark.anyio
COUNT = 12_000  # more than the rows of one answer of query_sql


def state(row: int) -> str:
    return "IL" if row % 3 else "WI"


async def workers(lake: Lakehouse, count: int) -> Any:
    """An index of workers w-0, w-1, …; their vectors."""
    data = np.random.default_rng(9).standard_normal((count, 4)).astype(np.float32)
    await lake.vectors.create("workers", 4)
    metas = [{"state": state(row), "certs": ["OSHA-30"] if row % 2 else []} for row in range(count)]
    await lake.vectors.add_matrix("workers", [f"w-{row}" for row in range(count)], data, metas)
    return data


def nearest(data: Any, query: Any, rows: Any, k: int) -> list[str]:
    """The ids of the nearest of some rows, by looking at each."""
    some = data[rows].astype(np.float64)
    far = 1 - some @ query / (np.linalg.norm(some, axis=1) * np.linalg.norm(query))
    return [f"w-{rows[at]}" for at in np.argsort(far)[:k]]


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["results"]]


@pytest.mark.slow
async def test_sql_chooses_and_vectors_rank(lake: Lakehouse) -> None:
    """A-S9-13: hybrid equals the exact ranking of what the SQL selects, none of its rows cut."""
    data = await workers(lake, COUNT)
    rows = "id,state,code\n" + "".join(f"{row},{state(row)},w-{row}\n" for row in range(COUNT))
    await lake.call("ingest_file", {"name": "people", "content": rows, "source": "csv"})
    asked = {"index": "workers", "query_vector": data[1].tolist(), "id_column": "id", "id_prefix": "w-", "k": 25}
    found = await lake.call("hybrid_search", asked | {"sql": "SELECT id FROM people WHERE id <> 1 ORDER BY id"})
    assert (found["allowed"], found["count"]) == (COUNT - 1, 25)
    assert ids(found) == nearest(data, data[1], np.delete(np.arange(COUNT), 1), 25)
    assert found["results"][0]["metadata"]["state"] in ("IL", "WI")
    some = np.array([row for row in range(COUNT) if row % 3 and row > 11_000])
    found = await lake.call("hybrid_search", asked | {"sql": "SELECT * FROM people WHERE state='IL' AND id > 11000"})
    assert ids(found) == nearest(data, data[1], some, 25)
    found = await lake.call(
        "hybrid_search",
        asked
        | {"sql": "SELECT code AS id FROM people WHERE id IN (3, 4) UNION ALL VALUES ('other'), (NULL)"}
        | {"id_prefix": ""},
    )
    assert (found["allowed"], sorted(ids(found))) == (3, ["w-3", "w-4"])
    empty = await lake.call("hybrid_search", asked | {"sql": "SELECT id FROM people WHERE state = 'none'"})
    assert empty == {"results": [], "count": 0, "allowed": 0}
    summed = await lake.call("hybrid_search", asked | {"sql": "SELECT sum(id) AS id FROM people WHERE id < 3"})
    assert ids(summed) == ["w-3"]

    refused: list[tuple[dict[str, Any], type[errors.LakehouseError], str]] = [
        ({"sql": "SELECT id FROM people", "id_column": "ids"}, InvalidInput, "id_column"),
        ({"sql": "SELECT id, random() AS x FROM people", "id_column": "x"}, InvalidInput, "id_column"),
        ({"sql": "SELECT id FROM nobody"}, InvalidInput, "nobody"),
        ({"sql": "DROP TABLE people"}, InvalidInput, ""),
        ({"sql": "SELECT id FROM people", "k": 0}, InvalidInput, "k"),
        ({"sql": "SELECT id FROM people", "k": 10_000}, InvalidInput, "max_k"),
        ({"sql": "SELECT id FROM people", "query_vector": [1, 2]}, InvalidInput, "vector"),
        ({"sql": "SELECT id FROM people", "query_vector": None}, InvalidInput, "query"),
        ({"sql": "SELECT id FROM people", "query_vector": None, "query_text": "lift"}, Conflict, "4"),
        ({"sql": "SELECT id FROM people", "index": "none"}, NotFound, "none"),
        ({"sql": "SELECT range AS id FROM range(1000001)"}, TooLarge, "1,000,000"),
    ]
    for more, kind, said in refused:
        with pytest.raises(kind) as caught:
            await lake.call("hybrid_search", asked | more)
        assert said in caught.value.detail


async def test_a_filter_comes_before_the_search(lake: Lakehouse) -> None:
    """S14.4: what is far from the query is found all the same when nothing nearer meets the filter."""
    data = await workers(lake, 1500)
    asked = {"index": "workers", "vector": data[0].tolist(), "k": 40}
    rows = np.array([row for row in range(1500) if row % 3 and row % 2])
    found = await lake.call("search_vectors", asked | {"filter": {"state": "IL", "certs": {"$contains": "OSHA-30"}}})
    assert ids(found) == nearest(data, data[0], rows, 40)
    assert ids(await lake.call("search_vectors", asked)) != ids(found)
    assert (await lake.call("search_vectors", asked | {"filter": {"none": 1}}))["results"] == []
    assert await lake.call("search_vectors", asked | {"filter": {}}) == await lake.call("search_vectors", asked)
    for filter in ({"state": {"$like": "I%"}}, {"state": {"$regex": "("}}, {"state": {"$gt": None}}):
        with pytest.raises(InvalidInput, match=r"filter\.state"):
            await lake.call("search_vectors", asked | {"filter": filter})


async def test_a_text_is_embedded_with_the_model_of_the_index(lake: Lakehouse) -> None:
    await lake.call("ingest_file", {"name": "notes", "content": "id,text\na,red apples\nb,blue sky\n", "source": "csv"})
    await lake.call("build_corpus", {"dataset": "notes", "name": "notes", "id": "id", "text": ["text"]})
    first = (await lake.call("matrix_search", {"query_text": "blue sky", "corpora": ["notes"]}))["results"][0]
    asked = {"index": "notes", "query_text": "blue sky", "sql": "SELECT id FROM notes", "id_column": "id"}
    prefix = first["id"].removesuffix("b")
    found = await lake.call("hybrid_search", asked | {"id_prefix": prefix})
    assert (found["results"][0]["id"], found["results"][0]["distance"]) == (first["id"], first["distance"])
    found = await lake.call("hybrid_search", asked | {"id_prefix": prefix, "sql": "SELECT 'a' AS id"})
    assert ids(found) == [f"{prefix}a"]
    with pytest.raises(InvalidInput, match="query"):
        await lake.call("hybrid_search", asked | {"query_text": " "})


async def test_metadata_of_ten_megabytes_is_refused(lake: Lakehouse) -> None:
    """The whole batch is, and nothing is stored."""
    await lake.call("create_index", {"name": "it", "dimension": 2})
    items = [{"id": "a", "vector": [1, 0]}, {"id": "b", "vector": [0, 1], "metadata": {"text": "x" * 10_000_000}}]
    with pytest.raises(TooLarge, match=r"items\[1\]\.metadata.*1048576"):
        await lake.call("add_vectors", {"index": "it", "items": items})
    assert (await lake.call("get_index", {"name": "it"}))["count"] == 0


async def test_a_choice_of_many_ids_may_use_the_graph(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S9-13: up to 50,000 ids each vector is looked at, whatever graphs there are."""
    await workers(lake, 4)
    asked, ask = [], lake.vectors.ask

    async def heard(name: str, what: Ask) -> Any:
        asked.append(what.exact)
        return await ask(name, what)

    monkeypatch.setattr(lake.vectors, "ask", heard)
    assert hybrid.EXACT_IDS == 50_000
    for most in (3, 2):
        monkeypatch.setattr(hybrid, "EXACT_IDS", most)
        sql = "SELECT 'w-' || range AS id FROM range(3)"
        await lake.call(
            "hybrid_search", {"index": "workers", "query_vector": [1, 0, 0, 0], "sql": sql, "id_column": "id"}
        )
    assert asked == [True, False]
