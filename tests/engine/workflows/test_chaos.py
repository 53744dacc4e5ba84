"""Runs of random graphs that are answered, cancelled, resumed and interrupted at random come to their end."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from tests.flows import PATIENCE

import lakehouse
from lakehouse import Conflict, Lakehouse, NotFound, Unavailable
from lakehouse.engine.workflows.runs import Starter

pytestmark = pytest.mark.anyio


def graph(source: random.Random, prefix: str, *, outer: bool) -> list[dict[str, Any]]:
    """Nodes that are quick: modes, gates, groups, a child now and then, alone or one for each of two items."""
    nodes: list[dict[str, Any]] = []
    for n in range(source.randint(2, 6)):
        id = f"{prefix}{n}"
        before = source.sample([node["id"] for node in nodes], min(len(nodes), source.randint(0, 2)))
        node: dict[str, Any] = {"id": id, "mode": "fixture.echo", "with": {"value": id}, "depends_on": before}
        kind = source.random()
        if kind < 0.35:
            node = {"id": id, "approval": {"message": f"{id}?"}, "depends_on": before}
        elif kind < 0.5:
            inner = [{"id": f"{id}a", "mode": "fixture.echo", "with": {"value": id}}]
            inner.append({"id": f"{id}b", "depends_on": [f"{id}a"], "approval": {"message": "In it?"}})
            group = {"max_iterations": 3, "until_bash": "true", "nodes": inner}
            node = {"id": id, "loop_group": group, "depends_on": before}
        elif kind < 0.75 and outer:
            node = {"id": id, "workflow": "part", "depends_on": before}
        elif kind < 0.85 and outer:
            nodes.append({"id": f"{id}i", "bash": "echo '[1, 2]'"})
            each = {"items": f"${id}i.output", "max_parallel": source.randint(1, 2)}
            node = {"id": id, "workflow": "part", "depends_on": [*before, f"{id}i"], "fan_out": each}
        elif kind < 0.9:
            node["always_run"] = True
        nodes.append(node)
    return nodes


class Chaos:
    """One run, what is done to it, and what was acknowledged."""

    def __init__(self, home: Path, seed: int) -> None:
        self.source = random.Random(seed)
        self.home = home
        self.lake = lakehouse.open(home, overrides={"embed.provider": "hash"})
        self.graphs = {name: graph(self.source, name[0], outer=name == "main") for name in ("main", "part")}
        self.answered: list[tuple[str, str, str]] = []
        self.run = ""

    async def begin(self) -> None:
        (self.home / "workflows").mkdir(parents=True)
        for name, nodes in self.graphs.items():
            text = yaml.safe_dump({"name": name, "description": "It.", "nodes": nodes})
            (self.home / "workflows" / f"{name}.yaml").write_text(text)
        self.here = await self.opened()
        self.run = (await self.here.workflows.start("main", Starter())).id

    async def opened(self) -> Lakehouse:
        self.lake = lakehouse.open(self.home, overrides={"embed.provider": "hash"})
        here = await self.lake.__aenter__()
        await here.start()
        return here

    async def do(self, here: Lakehouse, what: str) -> None:
        """Whoever comes too late is told so; whoever is not has been heard for good."""
        flows = here.workflows
        with suppress(Conflict, Unavailable):
            if what == "resume":
                await flows.resume(self.run)
            elif what == "cancel":
                assert (await flows.cancel(self.run)).status == "cancelled"
            else:
                for run, node in await flows._present.gates(await flows.store.run(self.run)):
                    # A gate in a group that was seen to ask is not there when its lake closed before that was durable.
                    with suppress(Conflict, NotFound):
                        await flows.answer(run.id, node.path, "approve", text := f"{self.source.random()}")
                        self.answered.append((run.id, node.path, text))

    async def rage(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(self.source.randint(3, 12)):
                await anyio.sleep(self.source.choice([0, 0.002, 0.02]) * self.source.random())
                what = self.source.choice(["resume", "resume", "cancel", "answer", "answer", "answer", "close"])
                if what == "close":
                    await self.lake.__aexit__(None, None, None)
                    self.here = await self.opened()
                else:
                    group.start_soon(self.do, self.here, what)

    async def finish(self) -> None:
        flows = self.here.workflows
        with anyio.fail_after(PATIENCE):
            while (await flows.wait(self.run, 5)).status != "completed":
                await self.do(self.here, "resume")
                await self.do(self.here, "answer")
        with anyio.fail_after(PATIENCE):
            while flows._present.live:
                await anyio.lowlevel.checkpoint()
        assert not flows._present._claimed and not flows._present.broken

    async def judge(self) -> None:
        store = self.here.workflows.store
        nodes = [node for nodes in self.graphs.values() for node in nodes]
        before = {node["id"]: node.get("depends_on", []) for node in nodes}
        again = {node["id"] for node in nodes if node.get("always_run")}
        for run in (await store.run(self.run), *await store.below(self.run)):
            assert run.status == "completed", run
            kept = await store.nodes(run.id)
            for id, path, text in self.answered:
                assert id != run.id or text in [one["text"] for one in kept[path].extra["answers"]], (path, text)
            ended: set[str] = set()
            for _, event in await store.events(run.id, limit=-1):
                if event.kind in ("node_completed", "node_failed", "node_skipped"):
                    ended.add(event.path)
                elif event.kind == "node_started":
                    assert set(before.get(event.path, ())) <= ended, event
            completed = [event.path for event in await store.events_of(run.id, "node_completed")]
            assert {path for path in completed if completed.count(path) > 1} <= again


async def test_whatever_is_done_to_it_a_run_ends_and_nothing_is_lost(
    tmp_path: Path, seconds: Callable[[float], float]
) -> None:
    """No answer that was accepted is lost, nothing completes twice, nothing starts before what it waits for."""
    end, seed = time.monotonic() + seconds(3), 0
    while not seed or time.monotonic() < end:
        seed += 1
        chaos = Chaos(tmp_path / f"{seed}", seed)
        await chaos.begin()
        try:
            await chaos.rage()
            await chaos.finish()
            await chaos.judge()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            await chaos.lake.__aexit__(None, None, None)
