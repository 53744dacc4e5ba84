"""One graph that is checked, a workflow's or a loop group's, and what was found so far."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from lakehouse.engine.workflows.model import LoopGroup, Node, Workflow
from lakehouse.engine.workflows.ports import ModeFacts
from lakehouse.engine.workflows.problems import Problem
from lakehouse.engine.workflows.references.fields import schemas_of
from lakehouse.errors import did_you_mean

MAX_FINDINGS = 200
MAX_COMPARED = 20_000  # names, which are all compared with each that is not there: 10,000 take 0.3 s


class Modes(Protocol):
    """What modes there are. See ports.Door."""

    def mode(self, name: str) -> ModeFacts | None:
        """What a mode takes and gives. None: there is none."""

    def modes(self) -> list[str]:
        """Their names."""


class Findings:
    """What was found. `shell`: whether bash and scripts may run, None where that is not known."""

    def __init__(self, shell: bool | None = None) -> None:
        self.shell = shell
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._compared = 0

    def error(self, where: str, message: str, fix: str = "") -> None:
        """It cannot run because of this."""
        if len(self.errors) < MAX_FINDINGS:
            self.errors.append(Problem(where, message, fix))

    def warn(self, where: str, message: str, fix: str = "") -> None:
        """It can, but may not do what was meant."""
        if len(self.warnings) < MAX_FINDINGS:
            self.warnings.append(Problem(where, message, fix))

    def meant(self, word: str, known: Iterable[str], otherwise: str | None = None) -> str:
        """Advice about a name that is not there."""
        names = list(known)
        self._compared += len(names)
        return did_you_mean(word, names, otherwise) if self._compared <= MAX_COMPARED else ""


class Level:
    """A graph within a workflow, and the one around it."""

    def __init__(
        self,
        nodes: Sequence[Node],
        workflow: Workflow,
        modes: Modes,
        outer: "Level | None" = None,
        group: Node | None = None,
    ) -> None:
        """`group` is the loop group whose body it is."""
        self.nodes = nodes
        self.workflow = workflow
        self.modes = modes
        self.outer = outer
        self.group = group
        self.prefix = f"{outer.place(group.id)}.loop_group." if outer is not None and group is not None else ""
        self.by_id: dict[str, Node] = {}
        for node in nodes:
            self.by_id.setdefault(node.id, node)
        self._facts: dict[str, ModeFacts | None] = {} if outer is None else outer._facts

    def within(self, group: Node, nodes: Sequence[Node]) -> "Level":
        """The level of a loop group's body."""
        return Level(nodes, self.workflow, self.modes, self, group)

    def place(self, id: str, key: str = "") -> str:
        """Where in the file a node, or something of it, is."""
        return f"{self.prefix}nodes.{id}{f'.{key}' if key else ''}"

    def mode(self, name: str) -> ModeFacts | None:
        """What a mode takes and gives, asked for once."""
        if name not in self._facts:
            self._facts[name] = self.modes.mode(name)
        return self._facts[name]

    def holder(self, id: str) -> "Level | None":
        """The level a node is in: this one, or one around it."""
        level: Level | None = self
        while level is not None and id not in level.by_id:
            level = level.outer
        return level

    def names(self) -> list[str]:
        """The ids that can be referred to here."""
        return [*self.by_id, *(self.outer.names() if self.outer is not None else ())]

    @cached_property
    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """What nodes say of their outputs."""
        return schemas_of(self.nodes, self.mode)

    @cached_property
    def inner(self) -> Mapping[str, str]:
        """For the ids within loop groups, which group of this level they are in."""
        found: dict[str, str] = {}
        for node in self.nodes:
            waiting = [node.body]
            while waiting:
                body = waiting.pop()
                if isinstance(body, LoopGroup):
                    found |= dict.fromkeys((one.id for one in body.nodes), node.id)
                    waiting += [one.body for one in body.nodes]
        return found

    @cached_property
    def order(self) -> tuple[list[Node], list[Node]]:
        """The nodes after all they depend on, and those on a cycle or behind one."""
        waits = {node.id: {id for id in node.depends_on if id in self.by_id} for node in self.by_id.values()}
        after: dict[str, list[str]] = {}
        for id, needed in waits.items():
            for other in needed:
                after.setdefault(other, []).append(id)
        ready = [id for id, needed in waits.items() if not needed]
        left = {id: len(needed) for id, needed in waits.items()}
        for id in ready:
            for other in after.get(id, ()):
                left[other] -= 1
                if not left[other]:
                    ready.append(other)
        return [self.by_id[id] for id in ready], [self.by_id[id] for id, count in left.items() if count]

    @cached_property
    def _index(self) -> Mapping[str, int]:
        return {id: place for place, id in enumerate(self.by_id)}

    @cached_property
    def _above(self) -> Mapping[str, int]:
        """For each node all it waits for, as the bits of a number: 10,000 nodes are 12 MB so."""
        index, above = self._index, dict[str, int]()
        for node in self.order[0]:
            bits = 0
            for id in node.depends_on:
                if id in index:
                    bits |= above[id] | 1 << index[id]
            above[node.id] = bits
        return above

    def upstream(self, id: str, of: str) -> bool:
        """Whether a node has surely settled before another starts. Of nodes on a cycle that is not asked."""
        bits = self._above.get(of)
        return bits is None or bool(bits >> self._index[id] & 1)
