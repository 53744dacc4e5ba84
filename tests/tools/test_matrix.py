"""The matrix's tools through the door: search with SQL and the playbook, the relevance filter, the downgrade gate."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.searching import towards
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Lakehouse, NotInstalled
from lakehouse.engine.vectors import Item

pytestmark = pytest.mark.anyio
CASES = Path(__file__).parents[1] / "cases"
HASHED = {"embed.provider": "hash"}


async def workers(lake: Lakehouse) -> list[str]:
    """40 workers as a dataset and as an index, in which those without a certificate are nearest. Returns who fits."""
    skills = ["forklift", "welding", "nursing", "forklift"]
    states = ["IL", "WI", "IL", "WI", "IN"]
    count = 40
    columns: dict[str, list[Any]] = {
        "worker": list(range(count)),
        "skill": [skills[n % 4] for n in range(count)],
        "state": [states[n % 5] for n in range(count)],
        "certificate": ["OSHA-30" if n % 8 in (0, 3) else "none" for n in range(count)],
    }
    await commit(lake, "workers", columns)
    await lake.vectors.create("workers", 2)
    rows = [{name: values[n] for name, values in columns.items()} for n in range(count)]
    fits = [r["skill"] == "forklift" and r["certificate"] == "OSHA-30" and r["state"] == "IL" for r in rows]
    near = [0.5 + n / 1000 if fit else n / 1000 for n, fit in enumerate(fits)]
    items = [Item(f"w-{n}", towards(near[n]), row | {"text": f"a {row['skill']} worker"}) for n, row in enumerate(rows)]
    await lake.vectors.add("workers", items)
    return [f"w-{n}" for n, fit in enumerate(fits) if fit]


async def test_only_the_workers_that_sql_names(lake: Lakehouse) -> None:
    """A-S14-7, A-S14-1: qualified workers in IL though they are the farthest; plain search finds none of them."""
    fitting = await workers(lake)
    assert len(fitting) == 4
    asked: dict[str, Any] = {"query_vector": [1, 0], "query_text": "worker", "corpora": ["workers"], "k": 4}
    plain = await lake.call("matrix_search", asked)
    assert not {hit["id"] for hit in plain["results"]} & {*fitting}
    assert "prefilter_count" not in plain and plain["metadata_filter_dropped"] == 0
    sql = "SELECT worker FROM workers WHERE skill = 'forklift' AND certificate = 'OSHA-30'"
    prefilter = {"sql": sql, "id_column": "worker", "id_prefix": "w-"}
    for retrieval in ("dense", "lexical", "hybrid"):
        found = await lake.call(
            "matrix_search",
            asked | {"sql_prefilter": prefilter, "metadata_filter": {"state": "IL"}, "retrieval": retrieval},
        )
        assert sorted(hit["id"] for hit in found["results"]) == sorted(fitting)
        assert (found["prefilter_count"], found["metadata_filter_dropped"]) == (10, 10 - len(fitting))
    nobody = prefilter | {"sql": f"{sql} AND state = 'TX'"}
    found = await lake.call("matrix_search", asked | {"sql_prefilter": nobody, "explain": True})
    assert (found["results"], found["prefilter_count"]) == ([], 0)
    assert found["explain"]["stages"][0]["stage"] == "prefilter"
    for wrong in (prefilter | {"sql": "DROP TABLE workers"}, prefilter | {"id_column": "name"}, {"sql": sql}):
        with pytest.raises(InvalidInput):
            await lake.call("matrix_search", asked | {"sql_prefilter": wrong})


async def test_what_was_recorded_moves_a_result(lake: Lakehouse) -> None:
    """A-S17-1, A-S17-4, A-S17-5: half the distance exactly, of that corpus only; no playbook is no failure."""
    held = {"widget-a": "a widget of steel", "widget-b": "some widget of brass", "widget-c": "quite another thing"}
    done = await lake.embed.embed(list(held.values()))
    for name in ("widgets", "others"):
        await lake.vectors.create(name, done.dimension, model=done.model)
        rows = zip(held, done.vectors, strict=True)
        await lake.vectors.add(name, [Item(id, row, {"text": held[id]}) for id, row in rows])
    asked = {"query_text": "a widget", "corpora": ["widgets", "others"], "use_playbook": True, "explain": True}
    before = await lake.call("matrix_search", asked)
    assert before["playbook_boosted"] == 0
    entry = {"query_text": "a widget", "answer_id": "widget-c", "answer_corpus": "widgets", "score": 1.0}
    made = await lake.call("playbook_record", entry)
    after = await lake.call("matrix_search", asked)

    def distances(found: dict[str, Any]) -> dict[tuple[str, str], float]:
        return {(hit["corpus"], hit["id"]): hit["distance"] for hit in found["results"]}

    was, now = distances(before), distances(after)
    assert now["widgets", "widget-c"] == was["widgets", "widget-c"] * 0.5
    assert {key: value for key, value in now.items() if key != ("widgets", "widget-c")} == {
        key: value for key, value in was.items() if key != ("widgets", "widget-c")
    }
    assert after["playbook_boosted"] == 1
    boosted = next(hit for hit in after["results"] if "boosted_by" in hit)
    assert boosted["boosted_by"] == made["playbook_id"]
    assert boosted["explain"]["playbook"]["question"] == "a widget"
    plain = await lake.call("matrix_search", asked | {"without": [made["playbook_id"]]})
    assert distances(plain) == was and plain["playbook_boosted"] == 0
    hybrid = await lake.call("matrix_search", asked | {"retrieval": "hybrid"})
    lifted = next(hit for hit in hybrid["results"] if "boosted_by" in hit)
    fused = sum(addend["value"] for addend in lifted["explain"]["addends"][:-1])
    assert lifted["score"] == fused / 0.5


async def test_k_through_the_door(lake: Lakehouse) -> None:
    for k in (0, 10_000):
        with pytest.raises(InvalidInput, match="k"):
            await lake.call("matrix_search", {"query_vector": [1, 0], "k": k})
    await lake.vectors.create("a", 2)
    with pytest.raises(InvalidInput, match=r"vectors\.max_k"):
        await lake.call("matrix_search", {"query_vector": [1, 0], "corpora": ["a"], "k": 10_000})
    with pytest.raises(NotInstalled, match="no reranker"):
        await lake.call("matrix_search", {"query_text": "words", "corpora": ["a"], "rerank": True})


async def test_relevance_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S15-3: the variable replaces the default, a request both; switched off, everything is kept with its score."""
    cases = yaml.safe_load((CASES / "relevance.yaml").read_text(encoding="utf-8"))
    chunks = [{"id": one["id"], "text": one["text"]} for one in cases["headline"]]
    asked: dict[str, Any] = {"focus": cases["focus"], "chunks": chunks}

    async def kept(**options: Any) -> tuple[list[str], float]:
        async with lakehouse.open(home, overrides=HASHED) as lake:
            found = await lake.call("matrix_relevance", asked | options)
        assert found["count"] == len(found["kept"]) == len(chunks) - len(found["dropped"])
        return [chunk["id"] for chunk in found["kept"]], found["threshold"]

    assert await kept() == (["c1"], 0.3)
    assert await kept(threshold=0.7) == ([], 0.7)
    with pytest.raises(InvalidInput, match="chunks"):
        await kept(chunks=[])
    monkeypatch.setenv("LH_RELEVANCE_THRESHOLD", "0.7")
    assert await kept() == ([], 0.7)
    assert await kept(threshold=-1) == (["c1", "c2", "c3"], -1)
    for off in ("0", "false", "off"):
        monkeypatch.setenv("LH_RELEVANCE_FILTER", off)
        assert await kept() == (["c1", "c2", "c3"], 0.7)
    monkeypatch.setenv("LH_RELEVANCE_THRESHOLD", "much")
    with pytest.raises(InvalidInput, match="LH_RELEVANCE_THRESHOLD"):
        await kept()


@pytest.mark.parametrize(
    ("table", "settings", "environ"),
    [
        ("default", {}, ""),
        ("configured", {"models.weak_models": ["mine"]}, ""),
        ("emptied", {"models.weak_models": []}, ""),
        ("environment", {}, "1"),
        ("default", {}, "0"),
    ],
)
async def test_downgrade(
    home: Path, monkeypatch: pytest.MonkeyPatch, table: str, settings: dict[str, Any], environ: str
) -> None:
    """A-S16-1, A-S16-2, A-S16-3, A-S16-4, A-S16-5: the truth table, and what is missing."""
    monkeypatch.setenv("LH_FORCE_FULL_ENRICHMENT", environ)
    rows = yaml.safe_load((CASES / "downgrade.yaml").read_text(encoding="utf-8"))[table]
    async with lakehouse.open(home, overrides=HASHED | settings) as lake:
        for mode, model, options, expected in rows:
            found = await lake.call("matrix_downgrade", {"mode": mode, "model": model} | options)
            assert (found["mode"], found["original_mode"]) == (expected, mode), (mode, model, options)
            assert found["downgraded"] == (expected != mode) and found["reason"]
        for wrong in ({"mode": "x"}, {"model": "x"}, {"mode": " ", "model": "x"}, {"mode": "x", "model": ""}):
            with pytest.raises(InvalidInput, match=r"mode|model"):
                await lake.call("matrix_downgrade", wrong)


async def test_the_pieces_of_a_long_document_are_let_through_with_it(tmp_path: Path) -> None:
    """SQL knows documents; a corpus has their pieces. Sealed or fresh, also where an id has a `#` of its own."""
    settings = HASHED | {"corpora.max_chars": 200, "corpora.overlap": 0, "vectors.seal_rows": 12}
    async with lakehouse.open(tmp_path, overrides=settings) as lake:
        texts = {f"c#{n}": f"forklift {n} " + "and more about pallets " * (30 if n % 2 else 1) for n in range(10)}
        columns: dict[str, list[Any]] = {"id": [*texts], "about": [*texts.values()], "n": [*range(10)]}
        await commit(lake, "people", columns)
        for _ in ("sealed", "with fresh rows on top"):
            await lake.call("build_corpus", {"name": "p", "dataset": "people", "text": ["about"], "id": "id"})
            for retrieval in ("dense", "lexical", "hybrid"):
                asked = {"query_text": "forklift pallets", "corpora": ["p"], "retrieval": retrieval, "k": 50}
                prefilter = {"sql": "SELECT id FROM people WHERE n IN (3, 4)", "id_column": "id"}
                found = await lake.call("matrix_search", asked | {"sql_prefilter": prefilter})
                assert {hit["metadata"]["doc_id"] for hit in found["results"]} == {"c#3", "c#4"}
                assert found["count"] > 4 and found["prefilter_count"] == 2
            columns["about"][3] += "and a last word"
            await commit(lake, "people", columns)
        by_query = await lake.call(
            "hybrid_search",
            {"index": "p", "query_text": "pallets", "sql": "SELECT 'c#3' AS id", "id_column": "id", "k": 3},
        )
        assert [hit["metadata"]["doc_id"] for hit in by_query["results"]] == ["c#3"] * 3
        vector = by_query["results"] and (await lake.embed.embed(["x"])).vectors[0]
        await lake.vectors.create("raw", len(vector))
        await lake.vectors.add("raw", [Item("a", vector), Item("a#1", vector)])
        asked = {"index": "raw", "query_vector": vector.tolist(), "sql": "SELECT 'a' AS id", "id_column": "id"}
        assert [hit["id"] for hit in (await lake.call("hybrid_search", asked))["results"]] == ["a"]
