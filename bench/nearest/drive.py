"""One peer taken through the steps, in an environment of its own: python -m bench.nearest.drive PEER DATA HOME.

Reads a JSON line {"step": ..., ...} from standard input for each step and writes one with what it measured; a step the
peer has no answer to is {"skipped": why}. What is timed is the peer's own call and nothing of ours around it. Needs
numpy and the peer, not Lakehouse.
"""

import importlib
import json
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench.nearest.data import SHARES, K, metadata
from bench.nearest.peer import Peer, Skipped


def _summary(times: Sequence[float]) -> dict[str, float]:
    ranked = sorted(times)
    last = len(ranked) - 1
    return {"p50": ranked[last // 2], "p10": ranked[last // 10], "p99": ranked[int(last * 0.99)]}


def _recall(found: Sequence[Sequence[str]], right: Sequence[Sequence[int]]) -> float:
    hits = sum(len(set(some) & {f"row-{row}" for row in rows}) for some, rows in zip(found, right, strict=True))
    return hits / sum(len(rows) for rows in right)


def _peak_mb() -> float:
    """The most memory this program has had; getrusage's figure is also that of the program which started it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Steps:
    """The steps, by name."""

    def __init__(self, peer: Peer, data: Path) -> None:
        self.peer, self.data = peer, data
        self.queries, self.far = np.load(data / "queries.npy"), np.load(data / "far.npy")
        self.right = json.loads((data / "right.json").read_text())

    def build(self) -> dict[str, Any]:
        vectors, meta = np.load(self.data / "vectors.npy"), metadata(self.data)
        ids = [f"row-{row}" for row in range(len(vectors))]
        cpu, began = _cpu(), time.perf_counter()
        self.peer.build(ids, vectors, meta)
        size = sum(file.stat().st_size for file in self.peer.home.rglob("*") if file.is_file())
        return {
            "s": time.perf_counter() - began,
            "cpu_s": _cpu() - cpu,
            "disk_mb": size / 1e6,
            "rss_mb": _peak_mb(),
        }

    def search(self) -> dict[str, Any]:
        calls = [partial(self.peer.search, query, K) for query in self.queries]
        self.peer.timed(calls[:20])
        times, found = self.peer.timed(calls)
        return _summary(times) | {"recall": _recall(found, self.right["all"])}

    def filter(self) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for field, queries in (("u", self.queries), ("p", self.far)):
            for share in SHARES:
                calls = [partial(self.peer.filtered, query, K, field, share) for query in queries[:60]]
                self.peer.timed(calls[:3])
                times, found = self.peer.timed(calls)
                answer[f"{field}{share}"] = _summary(times) | {
                    "recall": _recall(found, self.right[f"{field}{share}"][:60])
                }
        return answer

    def open(self) -> dict[str, Any]:
        began = time.perf_counter()
        self.peer.open()
        opened = time.perf_counter()
        self.peer.search(self.queries[0], K)
        return {"open_ms": (opened - began) * 1e3, "first_ms": (time.perf_counter() - opened) * 1e3}

    def add(self) -> dict[str, Any]:
        rng = np.random.default_rng(5)
        more = self.queries[rng.integers(0, len(self.queries), 1200)] + 0.01 * rng.standard_normal(
            (1200, self.queries.shape[1])
        ).astype(np.float32)
        ids = [f"new-{row}" for row in range(len(more))]
        meta = [{"u": row % 1000, "p": row % 1000, "text": "new"} for row in range(len(more))]
        ones = []
        for row in range(200):
            began = time.perf_counter()
            self.peer.add(ids[row : row + 1], more[row : row + 1], meta[row : row + 1])
            ones.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        self.peer.add(ids[200:], more[200:], meta[200:])
        return {"one": _summary(ones), "thousand_ms": (time.perf_counter() - began) * 1e3}

    def busy(self) -> dict[str, Any]:
        """Search while as many vectors are built into another index."""
        times = sorted(self.peer.while_rebuilding(np.load(self.data / "vectors.npy"), self.queries))
        return _summary(times) | {"max": times[-1], "searches": len(times)}


def main() -> None:
    """Answer steps until the input ends."""
    name, data, home = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    dimension = int(np.load(data / "vectors.npy", mmap_mode="r").shape[1])
    steps = Steps(importlib.import_module(f"bench.nearest.peers.{name}").Adapter(home, dimension), data)
    for line in sys.stdin:
        step = json.loads(line)["step"]
        try:
            answer = getattr(steps, step)()
        except Skipped as error:
            answer = {"skipped": str(error)}
        except Exception as error:  # a peer's own failure is its figure
            answer = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
        print("\x1e" + json.dumps(answer), flush=True)
    steps.peer.close()


if __name__ == "__main__":
    main()
