"""Prefect: an async flow in this process, beside the ephemeral API server that Prefect starts, with its SQLite.

Telemetry, the server's pages and the sending of logs are off; no retries. Tasks of a layer are gathered, which is as
fast as submitting them with their futures. Results are kept as files, by a task's inputs and source, without fsync;
what became of tasks is sent to the server, which writes it later. A flow is not gone on with: it is run anew, and tasks
whose results are there are not.
"""

import asyncio
import os
from pathlib import Path

from bench.runners.graphs import Graph, work
from bench.runners.runner import Runner

HOME = Path(os.environ["BENCH_HOME"])  # Prefect reads its settings when it is imported
os.environ |= {
    "PREFECT_HOME": str(HOME / "prefect"),
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
}

from prefect import flow, task  # noqa: E402
from prefect.cache_policies import INPUTS, TASK_SOURCE  # noqa: E402


@task(persist_result=True, cache_policy=INPUTS + TASK_SOURCE)  # type: ignore[untyped-decorator]
async def node(number: int, turn: int) -> int:
    return work(number)


@flow(persist_result=False)  # type: ignore[untyped-decorator]
async def graph_of(layers: list[int], turn: int) -> None:
    """A graph whose layers have these sizes."""
    number = 0
    for size in layers:
        await asyncio.gather(*(node(each, turn) for each in range(number, number + size)))
        number += size


class Adapter(Runner):
    """One flow; `turn` tells its runs apart, so that none finds the results of another."""

    turn = 0

    async def open(self) -> None:
        await graph_of([], 0)  # starts the server

    async def run(self, graph: Graph) -> None:
        self.turn += 1
        await graph_of([len(layer) for layer in graph], self.turn)

    async def resume(self, graph: Graph) -> None:
        await self.run(graph)
