"""The workflow runner beside its peers: the same graphs, each peer in an environment and process of its own.

    python bench/runners/run.py            100 nodes as a chain and in layers, 1,000 in a fan, 1,000 killed
    python bench/runners/run.py --quick    fewer rounds, 200 in the fan and to resume
    python bench/runners/run.py --peers bare,ours

What a node of each does is nothing, so that all is overhead; how each is set, and what it keeps, its adapter says. CPU,
bytes and memory are those of a runner with the processes it starts. A step that took 20 s has no second round; one that
takes over 300 s is ended, and the peer with it. The disk and the load of the machine are those of the moment a peer
begins. To resume, a process is killed with SIGKILL as half the nodes have run, and a new one goes on: times are from
when it opens what is there. Times are of one run on this machine: compare them with each other only.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.environments import environment
from bench.peers import CAP_SECS, Child, spawned, table
from bench.runners.graphs import MARKS

PEERS = {
    "bare": (),
    "ours": (),
    "dbos_transact": ("dbos==3.4.0",),
    # Prefect 3.8.8 does not start with the newest FastAPI it allows.
    "prefect_flow": ("prefect==3.8.8", "fastapi==0.139.0"),
}


def started(peer: str, home: Path, *before: str, marks: Path | None = None) -> Child | None:
    """A fresh process of a peer; None where it cannot be installed, which is said."""
    python = environment(peer, PEERS[peer]) if PEERS[peer] else Path(sys.executable)
    if python is None:
        return None
    command = [*before, str(python), "-m", "bench.runners.drive", peer, str(home)]
    return spawned(command, {MARKS: str(marks)} if marks else {})


def measured(peer: str, folder: Path, quick: bool) -> dict[str, dict[str, Any]]:
    """Every figure of one peer."""
    found: dict[str, dict[str, Any]] = {}
    rounds = 1 if quick else 3
    child = started(peer, _home(folder))
    if child is None:
        return {}
    try:
        found["open"] = child.step("open")
        for graph, count in (("chain", 100), ("layered", 100), ("fan", 200 if quick else 1000)):
            if child.process.poll() is None:
                found[f"{graph} {count:,}"] = child.step("run", graph=graph, count=count, rounds=rounds)
    finally:
        child.end()
    if peer != "bare":
        found["fsync"] = synced(peer, _home(folder))
        found["resume"] = resumed(peer, _home(folder), 200 if quick else 1000)
    return found


def synced(peer: str, home: Path) -> dict[str, Any]:
    """How often it has the disk keep something, per node, as strace sees it; its times are not looked at."""
    trace = home / "trace"
    if shutil.which("strace") is None:
        return {"skipped": "there is no strace"}
    child = started(peer, home, "strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    assert child is not None
    found = {}
    try:
        child.step("open")
        for graph in ("chain", "layered"):
            before = _calls(trace)
            answer = child.step("run", graph=graph, count=100, rounds=1)
            found[graph] = (_calls(trace) - before) / 100
            if {"capped", "failed"} & set(answer):
                return answer
    finally:
        child.end()
    return found


def _calls(trace: Path) -> int:
    return sum("sync(" in line for line in trace.read_text().splitlines())


def resumed(peer: str, home: Path, count: int) -> dict[str, Any]:
    """A run that is killed in its middle, and gone on with."""
    marks = home / "marks"
    child = started(peer, home, marks=marks)
    assert child is not None
    ends = time.monotonic() + CAP_SECS
    child.ask("begin", graph="layered", count=count)
    while len(_marks(marks)) < count // 2:
        if child.process.poll() is not None or time.monotonic() > ends:
            child.end()
            return {"failed": "it did not get to the middle"}
        time.sleep(0.001)
    child.kill()
    before = _marks(marks)
    began = time.time()
    child = started(peer, home, marks=marks)
    assert child is not None
    try:
        answer = child.step("resume", graph="layered", count=count)
    finally:
        child.end()
    if "began" not in answer:
        return answer
    after = _marks(marks)[len(before) :]
    ran = {number for number, _ in before}
    return answer | {
        "ran": len(ran),
        "again": len(ran & {number for number, _ in after}),
        "missing": count - len(ran | {number for number, _ in after}),
        "start_ms": (after[0][1] - began) * 1e3,
        "first_ms": (after[0][1] - answer["began"]) * 1e3,
    }


def _marks(file: Path) -> list[tuple[int, float]]:
    """Which node ran when, in order."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(number), float(at)) for number, at in (line.split() for line in lines)]


def _home(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def shown(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """One line a figure."""
    lines: dict[str, str] = {}
    for step, answer in found.items():
        bad = next((f"{word}: {answer[word]}" for word in ("capped", "failed") if word in answer), None)
        if bad is not None:
            lines[step] = bad
        elif "skipped" in answer:
            continue
        elif step == "open":
            lines["fsync of 4 KiB, ms; load"] = f"{answer['fsync_ms']:.2f}; {answer['load']:.1f}"
            lines["open + first run, ms"] = f"{answer['open_ms']:.0f} + {answer['first_ms']:.0f}"
        elif step == "fsync":
            lines["fsyncs a node: chain, layered"] = f"{answer['chain']:.2f}, {answer['layered']:.2f}"
        elif step == "resume":
            lines["resume: ran before, twice, never"] = f"{answer['ran']}, {answer['again']}, {answer['missing']}"
            lines["  open, ms"] = f"{answer['open_ms']:.0f}"
            lines["  first node left, ms"] = f"{answer['first_ms']:.0f}"
            lines["  from the process's start, ms"] = f"{answer['start_ms']:.0f}"
            lines["  end, ms (CPU ms)"] = f"{answer['end_ms']:.0f} ({answer['cpu_ms']:.0f})"
        else:
            lines[f"{step}, ms a node (CPU)"] = f"{answer['wall_ms']:.3f} ({answer['cpu_ms']:.2f})"
            lines[f"  {step}: KiB a node, peak MB"] = f"{answer['written'] / 1024:.1f}, {answer['peak_mb']:.0f}"
    return lines


def ratios(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    """How much longer a node takes the peers than us, and how much we add to a bare task."""
    ours = found.get("ours", {})
    for step, answer in ours.items():
        if "wall_ms" not in answer:
            continue
        bare = found.get("bare", {}).get(step, {}).get("wall_ms")
        parts = [f"over a bare task {answer['wall_ms'] - bare:.3f} ms"] if bare is not None else []
        for peer, theirs in found.items():
            if peer not in ("ours", "bare") and "wall_ms" in theirs.get(step, {}):
                parts.append(f"{peer} takes {theirs[step]['wall_ms'] / answer['wall_ms']:.1f} x as long")
        if parts:
            print(f"{step}: {', '.join(parts)}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--peers", help="only these, with commas between")
    given = parser.parse_args()
    peers = given.peers.split(",") if given.peers else list(PEERS)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for peer in peers:
            answers = measured(peer, Path(folder), given.quick)
            print(json.dumps({"peer": peer} | answers), file=sys.stderr, flush=True)
            if answers:
                found[peer] = answers
    table({peer: shown(answers) for peer, answers in found.items()})
    ratios(found)


if __name__ == "__main__":
    main()
