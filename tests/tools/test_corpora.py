"""Corpora and search through the door, with the bundled model on real texts."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Lakehouse, Upstream

pytestmark = pytest.mark.anyio


def columns(path: Path) -> dict[str, list[str]]:
    """A tab-separated file by column."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.slow
async def test_plain_words_find_the_right_occupation(home: Path, data: Callable[[str], Path]) -> None:
    """A-S12-1, with real vectors: nothing in the question is in the title it looks for."""
    path = data("onet_occupations/occupations.tsv")
    async with lakehouse.open(home) as lake:
        await commit(lake, "occupations", await anyio.to_thread.run_sync(columns, path))
        options = {"dataset": "occupations", "text": ["Title", "Description"], "id": "O*NET-SOC Code"}
        built = await lake.call("build_corpus", {"name": "occupations"} | options)
        assert (built["count"], built["failed_batches"]) == (1110, 0)
        question = "someone certified to run a lift truck moving pallets"
        found = await lake.call("matrix_search", {"query_text": question, "k": 10})
        assert (found["count"], found["per_corpus_counts"]) == (10, {"occupations": 10})
        hit = next(hit for hit in found["results"] if hit["id"] == "53-7051.00")
        assert hit["corpus"] == "occupations"
        assert hit["metadata"]["text"].startswith("Industrial Truck and Tractor Operators. ")
        assert hit["metadata"]["O*NET-SOC Code"] == hit["metadata"]["doc_id"] == "53-7051.00"


async def test_listing_and_the_resource_agree(lake: Lakehouse) -> None:
    await commit(lake, "jobs", {"id": ["a"], "text": ["words"]})
    await lake.call("corpora.build", {"name": "jobs", "dataset": "jobs", "text": ["text"], "id": "id"})
    listed = await lake.call("matrix_corpora")
    assert listed["count"] == 1
    assert listed["corpora"][0]["builder"]["dataset"] == "jobs"
    capability = next(c for c in lake.catalogue.of("resource") if c.facts.uri == "lakehouse://corpora")
    assert await capability.run(lake) == listed


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("corpora.build", {}, "name: it is required"),
        ("corpora.build", {"name": "x", "dataset": "d", "text": "body", "id": "i"}, "text"),
        ("corpora.build", {"name": "x", "folder": 3}, "folder"),
        ("corpora.build", {"name": "x", "dateset": "d"}, "Did you mean dataset"),
        ("matrix.search", {"query_text": "x", "k": 0}, "k: "),
        ("matrix.search", {"query_text": "x", "k": "many"}, "k: "),
        ("matrix.search", {"query_vector": ["a"]}, "query_vector"),
        ("matrix.search", {"query": "x"}, "Did you mean query_"),
        ("matrix.search", {"query_text": "x", "corpora": []}, "corpora"),
    ],
)
async def test_bad_arguments(lake: Lakehouse, tool: str, arguments: dict[str, Any], said: str) -> None:
    """A-S13-1"""
    with pytest.raises(InvalidInput, match=said):
        await lake.call(tool, arguments)


async def test_a_missing_corpus(lake: Lakehouse) -> None:
    """A-S13-1"""
    with pytest.raises(Upstream, match="corpus nowhere"):
        await lake.call("matrix.search", {"query_text": "x", "corpora": ["nowhere"]})


async def test_one_dataset_under_two_prefixes(lake: Lakehouse) -> None:
    """A-S12-4: the ids of the two corpora are disjoint; `doc_id` is the row's own in both."""
    await commit(lake, "people", {"id": ["a", "b"], "text": ["words", "long words " * 300]})
    ids = {}
    options: dict[str, Any] = {"dataset": "people", "text": ["text"], "id": "id"}
    for name, prefix in (("workers", "w-"), ("ethereal_workers", "e-")):
        given = options | {"name": name, "id_prefix": prefix}
        built = await lake.call("corpora.build", given)
        assert (await lake.call("corpora.build", given))["unchanged"] == built["chunks"]
        found = (await lake.call("matrix.search", {"query_text": "words", "corpora": [name]}))["results"]
        ids[name] = {hit["id"] for hit in found}
        assert {hit["metadata"]["doc_id"] for hit in found} == {"a", "b"}
        assert {f"{prefix}a", f"{prefix}b#0"} < ids[name] and all(id.startswith(prefix) for id in ids[name])
    assert not ids["workers"] & ids["ethereal_workers"]
    rebuilt = await lake.call("corpora.build", options | {"name": "workers"})
    assert (rebuilt["removed"], rebuilt["added"]) == (len(ids["workers"]), len(ids["workers"]))
