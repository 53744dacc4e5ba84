"""Vectors with structure, what is beside them, questions and the right answers: made once, read by every peer.

A mixture of 3,000 groups of uneven size in 150 topics, off the origin and with a decaying spectrum, as embeddings are.
Each item has `u`, uniform over 0 to 999, and `p`, the permille its vector takes along one direction: a filter on `p`
is correlated with the question. Questions are of the same mixture; those for correlated filters lie at the far end.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

K = 10
SHARES = (500, 100, 10, 1)  # permille of the items a filter lets through


def clustered(count: int, dimension: int, seed: int = 1) -> Any:
    """Unit vectors, (count, dimension) float32."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, dimension + 1) ** -0.3
    topics = rng.standard_normal((150, dimension)) * spectrum
    groups = topics[rng.integers(0, 150, 3000)] + 0.7 * rng.standard_normal((3000, dimension)) * spectrum
    rng = np.random.default_rng(seed)
    out = np.empty((count, dimension), np.float32)
    for start in range(0, count, 50_000):  # 500,000 rows of double precision would be 1.5 GB
        part = out[start : start + 50_000]
        chosen = groups[(3000 * rng.random(len(part)) ** 2).astype(int)]
        rows = chosen + 0.5 * rng.standard_normal(part.shape) * spectrum + 0.3
        part[:] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return out


def make(folder: Path, count: int, dimension: int, questions: int = 200) -> None:
    """Write vectors.npy, queries.npy, far.npy, u.npy, p.npy and right.json into a folder."""
    data, queries = clustered(count, dimension), clustered(questions * 10, dimension, 2)
    rng = np.random.default_rng(3)
    u = rng.integers(0, 1000, count)
    direction = data[0] - data[:1000].mean(axis=0)
    along = data @ direction
    p = (np.argsort(np.argsort(along)) * 1000 // count).astype(np.int64)
    far = queries[np.argsort(queries @ direction)[-questions:]]
    queries = queries[:questions]
    for name, values in (("vectors", data), ("queries", queries), ("far", far), ("u", u), ("p", p)):
        np.save(folder / f"{name}.npy", values)
    right = {"all": _right(data, queries, None)}
    for share in SHARES:
        right[f"u{share}"] = _right(data, queries, np.flatnonzero(u < share))
        right[f"p{share}"] = _right(data, far, np.flatnonzero(p < share))
    (folder / "right.json").write_text(json.dumps(right))


def metadata(folder: Path) -> list[dict[str, Any]]:
    """What is stored beside each vector."""
    u, p = np.load(folder / "u.npy"), np.load(folder / "p.npy")
    return [
        {"u": int(a), "p": int(b), "text": f"Item {row}: " + "some words that are kept beside it. " * 4}
        for row, (a, b) in enumerate(zip(u, p, strict=True))
    ]


def _right(data: Any, queries: Any, rows: Any) -> list[list[int]]:
    """The exact nearest rows of each question, among some of the rows."""
    among = data if rows is None else data[rows]
    found = []
    for query in queries:
        scores = among @ query
        best = np.argpartition(-scores, 4 * K)[: 4 * K] if len(scores) > 4 * K else np.arange(len(scores))
        exact = among[best].astype(np.float64) @ query.astype(np.float64)
        chosen = best[np.argsort(-exact, kind="stable")][:K]
        found.append([int(row) for row in (chosen if rows is None else rows[chosen])])
    return found
