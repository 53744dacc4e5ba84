"""The vector store beside its peers: the same data, the same steps, each peer in an environment and process of its own.

    python bench/nearest/run.py                    100,000 x 384 and x 768 with all peers, 500,000 x 384 ours
    python bench/nearest/run.py --quick            10,000 x 64
    python bench/nearest/run.py --peers ours,lance --sizes 100000x384

A step that takes over 300 s is ended, and the peer with it; that is printed. Times are of one run on this machine:
compare them with each other only. "u" filters let through that many permille of the items at random; "p" filters do so
at the far end from the question.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.environments import environment
from bench.nearest import data
from bench.peers import Child, spawned, table

PEERS = {
    "ours": (),
    "usearch_raw": ("usearch==2.26.6",),
    "faiss_hnsw": ("faiss-cpu",),
    "hnsw_lib": ("hnswlib",),
    "lance": ("lancedb",),
    "chroma": ("chromadb",),
    "qdrant_local": ("qdrant-client",),
}
WIDE = ("ours", "usearch_raw", "faiss_hnsw", "lance")  # those that are compared at 768 dimensions, too
STEPS = ("build", "search", "filter", "busy", "open", "add")


def started(python: Path, peer: str, folder: Path, home: Path) -> Child:
    """A fresh process of a peer."""
    command = [str(python), "-m", "bench.nearest.drive", peer, str(folder), str(home)]
    return spawned(command, {"OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"})


def measured(peer: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Every step of one peer; a fresh process opens what the first one wrote."""
    python = Path(sys.executable) if peer == "ours" else environment(peer, PEERS[peer])
    if python is None:
        return {}
    home = Path(tempfile.mkdtemp(dir=folder))
    answers: dict[str, dict[str, Any]] = {}
    child = started(python, peer, folder, home)
    try:
        for step in STEPS:
            if step == "open":
                child.end()
                child = started(python, peer, folder, home)
            answers[step] = child.step(step)
            if {"capped", "failed"} & set(answers[step]) and (step == "build" or child.process.poll() is not None):
                break
    finally:
        child.end()
        shutil.rmtree(home, ignore_errors=True)
    return answers


def shown(answers: dict[str, dict[str, Any]]) -> dict[str, str]:
    """One line a figure."""
    lines: dict[str, str] = {}
    for step, answer in answers.items():
        bad = next((f"{word}: {answer[word]}" for word in ("capped", "failed") if word in answer), None)
        if bad is not None:
            lines[step] = bad
        elif "skipped" in answer:  # it has no such thing, which its adapter says
            continue
        elif step == "build":
            lines["build, s (CPU s)"] = f"{answer['s']:.1f} ({answer['cpu_s']:.1f})"
            lines["disk, RSS, MB"] = f"{answer['disk_mb']:.0f}, {answer['rss_mb']:.0f}"
        elif step == "search":
            lines["search p50 / p99, ms"] = f"{answer['p50']:.2f} / {answer['p99']:.2f}"
            lines["  recall@10"] = f"{answer['recall']:.4f}"
        elif step == "filter":
            for name, part in answer.items():
                lines[f"filter {name[0]} {int(name[1:]) / 10:g} %, ms (recall)"] = (
                    f"{part['p50']:.2f} ({part['recall']:.3f})"
                )
        elif step == "busy":
            lines["search in a rebuild p50 / p99 / max"] = (
                f"{answer['p50']:.2f} / {answer['p99']:.2f} / {answer['max']:.0f}"
            )
        elif step == "open":
            lines["cold open + first query, ms"] = f"{answer['open_ms']:.1f} + {answer['first_ms']:.1f}"
        elif step == "add":
            lines["durable add of 1 p50 / p99, ms"] = f"{answer['one']['p50']:.2f} / {answer['one']['p99']:.2f}"
            lines["durable add of 1,000, ms"] = f"{answer['thousand_ms']:.0f}"
    return lines


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 x 64, all peers")
    parser.add_argument("--peers", help="only these, with commas between")
    parser.add_argument("--sizes", help="as 100000x384,100000x768")
    given = parser.parse_args()
    sizes = (given.sizes or ("10000x64" if given.quick else "100000x384,100000x768,500000x384")).split(",")
    for size in sizes:
        count, dimension = map(int, size.split("x"))
        peers = tuple(PEERS) if dimension <= 384 else WIDE
        peers = ("ours",) if count > 100_000 else peers
        peers = tuple(given.peers.split(",")) if given.peers else peers
        print(f"{count:,} x {dimension}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            data.make(Path(folder), count, dimension)
            found = {}
            for peer in peers:
                answers = measured(peer, Path(folder))
                print(json.dumps({"peer": peer, "size": size} | answers), file=sys.stderr, flush=True)
                if answers:
                    found[peer] = shown(answers)
            table(found)


if __name__ == "__main__":
    main()
