"""A graph measured against exact search: what is on record, and what a target changes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lakehouse
from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors
from lakehouse.engine.vectors.calibration import Calibration
from lakehouse.errors import Conflict, InvalidInput

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def vectors(tmp_path: Path) -> AsyncIterator[Vectors]:
    made = Vectors(tmp_path, Storage(tmp_path, config.Storage()), config.Vectors(graph_rows=1000))
    rng = np.random.default_rng(1)
    await made.create("noise", 24, m=4, ef_construction=8, ef_search=2)
    rows = rng.standard_normal((2000, 24)).astype(np.float32)
    await made.add_matrix("noise", [f"r{i}" for i in range(2000)], rows, [{}] * 2000)
    await made.optimise("noise")
    yield made
    await made.aclose()


async def test_a_trial_says_how_good_the_graph_is_and_stays_on_record(tmp_path: Path, vectors: Vectors) -> None:
    """S9.14: recall against exact search, percentiles, the graph's parameters; newest first, over restarts."""
    calibration = Calibration(tmp_path, vectors)
    [poor] = await calibration.calibrate("noise", sample=60)
    assert poor.scanned == "graph" and poor.n == 60 and poor.k == 10 and poor.count == 2000
    assert poor.generation == (await vectors.get("noise")).generation
    assert poor.recall_at_k < 0.95
    # The number that is read as noise@1, however often its files were published since.
    assert poor.generation == (await vectors.get("noise")).generation == 1
    assert poor.params["m"] == 4 and poor.params["ef_search"] == 2
    assert 0 < poor.p50_ms <= poor.p95_ms and poor.build_s > 0
    [better] = await calibration.calibrate("noise", sample=60, ef_search=400)
    assert better.recall_at_k > poor.recall_at_k
    await calibration.aclose()
    again = await Calibration(tmp_path, vectors).trials()
    assert again == [better, poor]
    assert await calibration.trials(index="other") == []


async def test_a_target_sets_the_least_effort_that_reaches_it(tmp_path: Path, vectors: Vectors) -> None:
    """The index keeps it: its searches are as good from then on, and after it is opened again."""
    calibration = Calibration(tmp_path, vectors)
    trials = await calibration.calibrate("noise", sample=60, target=0.9)
    assert trials[-1].recall_at_k >= 0.9 and all(trial.recall_at_k < 0.9 for trial in trials[:-1])
    fresh = Vectors(tmp_path, Storage(tmp_path, config.Storage()), config.Vectors())
    [now] = await Calibration(tmp_path, fresh).calibrate("noise", sample=60)
    assert now.params["ef_search"] == trials[-1].params["ef_search"] and now.recall_at_k >= 0.9
    await fresh.aclose()


async def test_without_a_graph_every_search_is_exact(tmp_path: Path, vectors: Vectors) -> None:
    await vectors.create("few", 2)
    with pytest.raises(Conflict, match="no vectors"):
        await Calibration(tmp_path, vectors).calibrate("few")
    await vectors.add("few", [Item("a", [1, 0]), Item("b", [0, 1]), Item("blind", None)])
    [trial] = await Calibration(tmp_path, vectors).calibrate("few", k=1)
    assert trial.recall_at_k == 1 and trial.scanned == "scan" and trial.build_s == 0 and trial.n == 2


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path, Storage(tmp_path, config.Storage()), config.Vectors())
    await vectors.create("noise", 2)
    wrong: list[dict[str, Any]] = [{"target": 0}, {"target": 1.5}, {"target": 0.9, "ef_search": 10}, {"sample": 0}]
    for each in [*wrong, {"queries": []}, {"queries": [[1, 0]], "k": 0}]:
        with pytest.raises(InvalidInput):
            await Calibration(tmp_path, vectors).calibrate("noise", **each)
    await vectors.aclose()


@pytest.mark.slow
async def test_the_graph_of_a_corpus_of_documents_and_code(home: Path) -> None:
    """A-S9-14: this project's own text, by heading and symbol: recall@10 of 0.98 and more against exact search.

    Texts of few words have few large components, which 8-bit codes of one scale must not cut short.
    """
    async with lakehouse.open(home, overrides={"embed.provider": "hash", "vectors.graph_rows": 1000}) as lake:
        inside = [f"server/lakehouse/engine/{part}/" for part in ("vectors", "corpora", "sql", "ingest")]
        built = await lake.corpora.build("lakehouse_arch_v1", folder=str(ROOT), include=["*.md", *inside])
        assert built.count >= 1086
        await lake.vectors.optimise("lakehouse_arch_v1")
        answer = await lake.call("calibrate_index", {"index": "lakehouse_arch_v1", "sample": 200})
        [trial] = answer["trials"]
        assert (trial["scanned"], trial["n"], trial["count"]) == ("graph", 200, built.count)
        assert trial["recall_at_k"] >= 0.98
        assert (await lake.call("hnsw_trials", {"index": "lakehouse_arch_v1"}))["trials"] == [trial]
