"""DBOS Transact with SQLite: a workflow in this process whose nodes are steps, a layer of the graph after the other.

No retries, no admin server, no tracing. The file is in WAL mode, in which it is faster than as DBOS makes it (a
rollback journal), and stays as durable: synchronous is SQLite's FULL, so that a step's result is fsynced, in a commit
of its own, before the step returns. Steps of a layer are begun together; those of one workflow must begin in the same
order whenever it runs, so a layer waits for the one before. A workflow that was ended is recovered by the next launch.
"""

import asyncio
import os
import sqlite3
from contextlib import nullcontext

from bench.runners.graphs import MARKS, Graph, work
from bench.runners.runner import Runner
from dbos import DBOS, SetWorkflowID

LEFT = "left"  # the id of the run that is killed


@DBOS.step()  # type: ignore[untyped-decorator]
async def node(number: int) -> int:
    return work(number)


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def graph_of(layers: list[int]) -> int:
    """A graph whose layers have these sizes; of what a layer needs the sizes tell enough."""
    number = 0
    for size in layers:
        if size == 1:
            await node(number)
        else:
            await asyncio.gather(*(node(each) for each in range(number, number + size)))
        number += size
    return number


class Adapter(Runner):
    """One workflow, which is recovered by its id."""

    async def open(self) -> None:
        file = sqlite3.connect(self.home / "dbos.sqlite")
        file.execute("PRAGMA journal_mode = WAL")
        file.close()
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{self.home / 'dbos.sqlite'}",
                "run_admin_server": False,
                "enable_otlp": False,
                "log_level": "CRITICAL",
            }
        )
        DBOS.launch()

    async def run(self, graph: Graph) -> None:
        with SetWorkflowID(LEFT) if MARKS in os.environ else nullcontext():
            await graph_of([len(layer) for layer in graph])

    async def resume(self, graph: Graph) -> None:
        handle = await DBOS.retrieve_workflow_async(LEFT)
        await handle.get_result(polling_interval_sec=0.01)

    async def close(self) -> None:
        DBOS.destroy()
