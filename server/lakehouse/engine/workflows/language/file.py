"""One file while it is understood, and what it shares with those it includes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.engine.workflows.language.findings import Findings
from lakehouse.engine.workflows.language.reading import MAX_BYTES
from lakehouse.engine.workflows.language.source import Around, Source
from lakehouse.engine.workflows.model import Agent
from lakehouse.errors import did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.workflows.language.include import Block
    from lakehouse.engine.workflows.model import Workflow

MAX_NODES = 10_000


@dataclass
class Shared:
    """What a file and those it includes have in common.

    `children` are the workflows that runs of it start: at which depth each was read, and what came of it. A text says
    why it cannot run, None that it is being read just now.
    """

    used: dict[tuple[str, str], Source] = field(default_factory=dict)
    blocks: "dict[str, Block]" = field(default_factory=dict)
    children: "dict[str, tuple[int, Workflow | str | None]]" = field(default_factory=dict)
    deeper: "list[tuple[str, Around]]" = field(default_factory=list)  # children below those, still to be looked for
    depth: int = 0  # of runs below runs
    nodes: int = 0


@dataclass
class File:
    """A file that is being understood. `owner` is "" for the one that was asked for, else the workflow's name.

    `chain` are the names of the files that include one another, down to this one; `agent` what its prompts have where
    they say nothing themselves.
    """

    source: Source
    around: Around
    owner: str = ""
    chain: tuple[str, ...] = ()
    shared: Shared = field(default_factory=Shared)
    findings: Findings = field(default_factory=Findings)
    agent: Agent = field(default_factory=Agent)
    primaries: dict[str, str] = field(default_factory=dict)  # of includes at the top, the node that is their output
    height: int = 0  # how many levels of files it includes

    def counted(self, where: str, nodes: int = 1) -> bool:
        """Count more nodes; False, and an error the first time, when there are too many."""
        before = self.shared.nodes
        self.shared.nodes += nodes
        if before <= MAX_NODES < self.shared.nodes:
            self.findings.error(where, f"there are more than {MAX_NODES:,} nodes.", "Run parts of it as children.")
        return self.shared.nodes <= MAX_NODES

    def command(self, name: str, where: str) -> str | None:
        """The body of a command; None with an error where there is none."""
        source = self._named("command", name, where)
        return body_of(source.text) if source is not None else None

    def script(self, name: str, where: str) -> Source | None:
        """A named script; None with an error where there is none."""
        return self._named("script", name, where)

    def workflow(self, name: str, where: str) -> Source | None:
        """Another workflow; None with an error where there is none."""
        return self._named("workflow", name, where)

    def _named(self, kind: str, name: str, where: str) -> Source | None:
        if kind != "workflow" and (bad := bad_name(name)):
            self.findings.error(where, f"{name[:60]!r} is not a {kind}'s name: {bad}.", "Write a bare name.")
            return None
        if self.findings.full:
            return None
        find = {"command": self.around.command, "script": self.around.script, "workflow": self.around.workflow}[kind]
        source = find(name)
        if source is None:
            known = self.around.names(kind)
            fix = did_you_mean(name, known, None if known else f"There is no {kind} here at all.")
            self.findings.error(where, f"there is no {kind} {name[:60]!r}.", fix)
            self.findings.lacks(f"{kind}s", name)
            return None
        if len(source.text) > MAX_BYTES:
            self.findings.error(where, f"the {kind} {name[:60]!r} is over {MAX_BYTES:,} bytes.", "Split it.")
            return None
        if not _is_text(source.text):
            self.findings.error(where, f"the {kind} {name[:60]!r} is not UTF-8.", "Save it as UTF-8.")
            return None
        mark = f"{self.owner}/" if self.owner and kind != "workflow" else ""
        self.shared.used[kind, mark + name] = source
        return source


def bad_name(name: str) -> str:
    """What is wrong with the name of a command or script; "" if nothing is."""
    if "/" in name or "\\" in name:
        return "it holds a path separator"
    if name.startswith("."):
        return "it begins with a dot"
    if ".." in name:
        return "it holds two dots"
    return "it holds a character that is not printed" if not name.isprintable() else ""


def body_of(text: str) -> str:
    """A command without its front matter."""
    if text.replace("\r\n", "\n").startswith("---\n"):
        lines = text.splitlines(keepends=True)
        ends = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
        if ends is not None:
            text = "".join(lines[ends + 1 :])
    return text.strip()


def _is_text(text: str) -> bool:
    return text.isascii() or text.encode("utf-8", "ignore").decode() == text
