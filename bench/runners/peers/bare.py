"""Bare anyio: a task a node, which waits for those it needs. Nothing is kept, nothing is observed."""

import anyio
from bench.runners.graphs import Graph, work
from bench.runners.runner import Runner


class Adapter(Runner):
    """The floor."""

    async def run(self, graph: Graph) -> None:
        ended = [anyio.Event() for layer in graph for _ in layer]

        async def node(number: int, needed: list[int]) -> None:
            for one in needed:
                await ended[one].wait()
            work(number)
            ended[number].set()

        async with anyio.create_task_group() as group:
            for number, needed in enumerate(needed for layer in graph for needed in layer):
                group.start_soon(node, number, needed)
