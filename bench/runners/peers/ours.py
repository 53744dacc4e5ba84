"""Lakehouse as an open lake has it: four nodes at once, each a checked call through the door.

Of each node a record is fsynced before anything that needs it starts (nodes that end together share a commit), and the
observer keeps an op. Checked and read anew for each run: the figure holds reading the file and checking the graph.
"""

import anyio
from bench.runners.graphs import Graph
from bench.runners.runner import Runner

import lakehouse
from lakehouse.engine.workflows.runs import Starter

PLUGIN = anyio.Path(__file__).parent.parent / "plugin"


class Adapter(Runner):
    """A lake, and a mode of a plugin for what a node does."""

    async def open(self) -> None:
        overrides = {"embed.provider": "hash", "plugins.folders": [str(PLUGIN)]}
        self.opened = lakehouse.open(self.home / "home", overrides=overrides)
        self.lake = await self.opened.__aenter__()

    async def run(self, graph: Graph) -> None:
        record = await self.lake.workflows.start("bench", Starter(), definition=_text(graph))
        await self._end(record.id)

    async def resume(self, graph: Graph) -> None:
        (left, _), *_ = await self.lake.workflows.runs(1)
        await self.lake.workflows.resume(left.id)
        await self._end(left.id)

    async def _end(self, run: str) -> None:
        state = await self.lake.workflows.wait(run, 600)
        assert state.status == "completed", state.record.error

    async def close(self) -> None:
        await self.opened.__aexit__(None, None, None)


def _text(graph: Graph) -> str:
    """The workflow's file."""
    lines = ["name: bench", "description: A benchmark.", "nodes:"]
    for number, needed in enumerate(needed for layer in graph for needed in layer):
        after = ", ".join(f"n{one}" for one in needed)
        lines.append(f"  - {{id: n{number}, mode: marked.node, with: {{number: {number}}}, depends_on: [{after}]}}")
    return "\n".join(lines)
