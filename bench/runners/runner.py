"""What every runner answers to."""

from abc import ABC, abstractmethod
from pathlib import Path

from bench.runners.graphs import Graph


class Skipped(Exception):
    """The runner has no such thing."""


class Runner(ABC):
    """A runner whose files are below `home`. Importing its module imports all that a run needs."""

    def __init__(self, home: Path) -> None:
        self.home = home

    async def open(self) -> None:  # noqa: B027  (most have nothing)
        """Be ready to run."""

    @abstractmethod
    async def run(self, graph: Graph) -> None:
        """Run a graph from its start until it has ended, each node kept as the runner keeps it."""

    async def resume(self, graph: Graph) -> None:
        """In a new process: go on with the graph that a killed one ran, to its end."""
        raise Skipped("it keeps nothing")

    async def close(self) -> None:  # noqa: B027
        """Let go."""
