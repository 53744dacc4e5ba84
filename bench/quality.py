"""Retrieval quality on the Cranfield collection, built and searched as a user would: nDCG@10 and recall@10.

    bench/quality.py [FOLDER]        # with corpus.jsonl, queries.jsonl and qrels.tsv

By words (bm25), by meaning (dense) and by both (hybrid), which must beat its parts: else it ends with 1. Gains are the
grades themselves (linear), a query's figures are averaged over all queries, and a document counts once, at the rank of
its best chunk. The dense reference is one 512-token vector per document.
"""

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import anyio

import lakehouse
from lakehouse import Lakehouse

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LAKEHOUSE_TEST_DATA", ROOT.parent / "shared" / "data")) / "cranfield"
REFERENCE = {"bm25": None, "dense": (0.418, 0.454), "hybrid": (0.425, 0.458)}
RETRIEVAL = {"bm25": "lexical", "dense": "dense", "hybrid": "hybrid"}
DEPTH = 10
HITS = 5000


def scores(ranked: list[str], grades: dict[str, int]) -> tuple[float, float]:
    """nDCG and recall at 10 of one query's documents, best first."""
    gain = sum(grades.get(id, 0) / math.log2(place + 2) for place, id in enumerate(ranked[:DEPTH]))
    best = sorted(grades.values(), reverse=True)[:DEPTH]
    ideal = sum(grade / math.log2(place + 2) for place, grade in enumerate(best))
    return gain / ideal, len(set(ranked[:DEPTH]) & set(grades)) / len(grades)


async def search(lake: Lakehouse, question: str, retrieval: str) -> list[str]:
    """Documents by their best chunk, best first."""
    # No document gives more than three chunks, so that 30 hits hold at least ten documents.
    asked = {"query_text": question, "corpora": ["cranfield"], "k": 3 * DEPTH, "retrieval": retrieval}
    found = await lake.call("matrix.search", asked)
    return list(dict.fromkeys(hit["metadata"]["doc_id"] for hit in found["results"]))


async def measure(folder: Path, home: str) -> bool:
    """Build, ask, print. Says whether hybrid is better than both its parts."""
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, document, grade = line.split("\t")
        grades[query][document] = int(grade)
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    async with lakehouse.open(home) as lake:
        await lake.call("ingest.file", {"path": str(folder / "corpus.jsonl"), "name": "cranfield"})
        options = {"dataset": "cranfield", "text": ["title", "text"], "id": "id"}
        built = await lake.call("corpora.build", {"name": "cranfield"} | options)
        print(
            f"{built['scanned']} documents, {built['chunks']} chunks, {built['empty']} empty"
            f" ({', '.join(built['empty_ids'])}), {built['truncated']} cut by the model"
        )
        print(f"build    {built['wall_s']:8.1f} s   {built['docs_per_s']:.1f} documents/s (reference: 38.6 s, 36)")
        question = [queries[0]["text"]]
        figures = {}
        for name, retrieval in RETRIEVAL.items():
            figures[name] = await asked(lake, name, retrieval, queries, grades)
        began = time.perf_counter()
        for _ in range(HITS):
            await lake.embed.embed(question)
        hit = (time.perf_counter() - began) / HITS
    print(f"cache hit{hit * 1e6:8.1f} µs  one text embedded before (target 20)")
    better = all(
        both > one for part in ("bm25", "dense") for both, one in zip(figures["hybrid"], figures[part], strict=True)
    )
    print(f"hybrid is {'better than both its parts' if better else 'NOT better than both its parts'}")
    return better


async def asked(
    lake: Lakehouse, name: str, retrieval: str, queries: list[dict[str, str]], grades: dict[str, dict[str, int]]
) -> tuple[float, float]:
    """Ask every question one way and print the figures."""
    results, seconds = [], []
    for query in queries:
        began = time.perf_counter()
        ranked = await search(lake, query["text"], retrieval)
        seconds.append(time.perf_counter() - began)
        results.append(scores(ranked, grades[query["id"]]))
    gain, recall = (statistics.mean(values) for values in zip(*results, strict=True))
    known = REFERENCE[name]
    print(
        f"{name:9}nDCG@10 {gain:.4f}  recall@10 {recall:.4f}  median {statistics.median(seconds) * 1000:6.1f} ms"
        + (f"  reference {known[0]} {known[1]}" if known else "")
    )
    return gain, recall


def main() -> int:
    """Run it; 0 also where there is no data, which is said."""
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    folder = Path(given[0]) if given else DATA
    if not (folder / "corpus.jsonl").is_file():
        print(f"no {folder}/corpus.jsonl: name the folder of the Cranfield collection")
        return 0
    with tempfile.TemporaryDirectory() as home:
        return 0 if anyio.run(measure, folder, home) else 1


if __name__ == "__main__":
    sys.exit(main())
