"""Where capabilities come from: the shipped folders, the folders a config names, installed plugins."""

import hashlib
import importlib.util
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path
from types import ModuleType

from lakehouse.catalogue import queries, standards
from lakehouse.catalogue.loading import refuse_nesting, run_source, set_apart
from lakehouse.declare import Capability, capabilities_in
from lakehouse.errors import Conflict, LakehouseError, NotFound, did_you_mean
from lakehouse.observe import log
from lakehouse.sources import plugin_files, query_files, source_of, workflow_tools
from lakehouse.verified import parsed

GROUP = "lakehouse"  # of the entry points of installed plugins


def load(path: Path, name: str) -> ModuleType:
    """Run one of our own files as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _project_module(path: Path) -> str:
    """Two projects may each have a tools/orders.py; their modules must not take each other's name."""
    folder = hashlib.sha256(str(path.parents[1]).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"lakehouse_project_{folder}.{path.parent.name}.{path.stem}"


@dataclass(frozen=True)
class Skipped:
    """A plugin that was left out, and why."""

    origin: str
    reason: str


_told: set[Skipped] = set()  # by this process


@dataclass(frozen=True)
class Part:
    """What one file or package brings."""

    prefix: str
    capabilities: list[Capability]
    about: str = ""
    instructions: str = ""
    files: Sequence[str] = ()  # of a package: those it was loaded from


class Catalogue(dict[str, Capability]):
    """Every capability by dotted name, in a fixed order.

    A shipped file that fails to load is fatal. A plugin that fails, takes too long, or claims what is taken is left
    out whole and listed in `skipped`: it must not stop the server. Building one runs the plugins' modules: not on the
    event loop.
    """

    def __init__(self, folders: Sequence[Path] = (), home: Path | None = None) -> None:
        """`folders` are projects with tools, modes, queries and workflows; `home` a data directory with saved ones."""
        super().__init__()
        refuse_nesting()
        self.skipped: list[Skipped] = []
        # By the first part of its capabilities' names, what each file says of itself, and its INSTRUCTIONS: what a
        # model should know before it calls any of them.
        self.groups: dict[str, str] = {}
        self.instructions: dict[str, str] = {}
        self.by_mcp_name: dict[str, Capability] = {}
        self.watched: set[str] = set()  # the files of installed plugins
        self._files: set[str] = set()  # the workflow files that are tools
        self._claimed: dict[str, dict[str, Capability]] = {}
        self._words: dict[str, str] = {}  # who may use a first word of the command line: the prefix of its holder
        ours = plugin_files(())
        for folder in folders:
            if not folder.is_dir():
                self._skip(str(folder), "there is no such folder; plugins.folders names it")
        for path in plugin_files(folders):
            if path in ours:
                self._add(_shipped(path), builtin=True)
            else:
                self._try_file(path)
        for plugin in self._installed():
            self._try_package(plugin)
        for path in query_files(folders, home):
            self._try_query(path)
        for path in workflow_tools(folders, home):
            self._try_workflow(path, folders, home)

    def _try_file(self, path: Path) -> None:
        origin, name = str(path), _project_module(path)
        try:
            source = source_of(path)
            run = partial(_from_source, source, path, name)
            self._add(set_apart(origin, name, run, zlib.crc32(source)))
        except Exception as error:  # whatever a stranger's module does while it is loaded
            self._skip(origin, _reason(error))

    def _try_query(self, path: Path) -> None:
        try:
            query = parsed(source_of(path), path.stem)
            self._add(_examined(Part(queries.PREFIX, [queries.published(query, path, self[queries.RUN])])))
        except (LakehouseError, OSError, ValueError, TypeError) as error:
            self._skip(str(path), _reason(error))

    def _try_workflow(self, path: Path, folders: Sequence[Path], home: Path | None) -> None:
        from lakehouse.catalogue import workflows  # the language takes 20 ms to load: for those who have one
        from lakehouse.offered import offered

        try:
            found = offered(path, source_of(path), folders, home)
            if found is not None:
                tool = workflows.published(found, path, self[workflows.RUN])
                if (before := self.get(tool.name)) is not None and before.origin in self._files:
                    self._drop(before)  # a later place wins, as it does for runs by name
                self._add(_examined(Part(workflows.PREFIX, [tool])))
                self._files.add(tool.origin)
        except (LakehouseError, OSError, ValueError, TypeError) as error:
            self._skip(str(path), _reason(error))

    def _drop(self, capability: Capability) -> None:
        del self[capability.name], self.by_mcp_name[capability.mcp_name]
        for taken in self._claimed.values():
            for name in [name for name, holder in taken.items() if holder is capability]:
                del taken[name]

    def _try_package(self, plugin: EntryPoint) -> None:
        origin = f"package entry point {plugin.name}"
        try:
            self._add(set_apart(origin, plugin.module, partial(_from_package, plugin)))
        except Exception as error:  # as above
            self._skip(origin, _reason(error))

    def _installed(self) -> list[EntryPoint]:
        """The entry points of installed plugins, by name. A package whose own list cannot be read is left out alone."""
        try:
            found = list(entry_points(group=GROUP))
        except Exception:
            found = []
            for package in distributions():
                try:
                    found += [e for e in package.entry_points if e.group == GROUP]
                except Exception as error:
                    self._skip(f"package {package.name}", f"its entry points cannot be read: {error}")
        return sorted(found, key=lambda e: (e.name, e.value))

    def _skip(self, origin: str, reason: str) -> None:
        left_out = Skipped(origin, " ".join(reason.split())[:500])
        self.skipped.append(left_out)
        if left_out not in _told:  # a command line reads the catalogue twice
            _told.add(left_out)
            log.warning("plugin.skipped %s: %s", left_out.origin, left_out.reason)

    def _add(self, part: Part, *, builtin: bool = False) -> None:
        """Take a part in, whole or not at all. Raises Conflict where it claims what another has."""
        claimed: list[tuple[str, str, Capability]] = []
        for capability in part.capabilities:
            for kind, name in standards.claims(capability):
                self._free(kind, name, capability, part, builtin)
                claimed.append((kind, standards.shape(name), capability))
        own: dict[tuple[str, str], Capability] = {}
        for kind, name, capability in claimed:
            if own.setdefault((kind, name), capability) is not capability:
                raise _clash(kind, name, own[kind, name], capability)
        for kind, name, capability in claimed:
            self._claimed.setdefault(kind, {})[name] = capability
            if kind == "command":
                self._words[name] = part.prefix
            if kind == "tool":
                self.by_mcp_name[name] = capability
                self._words.setdefault(capability.command[0], part.prefix)
        self.update({c.name: c for c in part.capabilities})
        self.groups.setdefault(part.prefix, part.about)
        if part.instructions:
            self.instructions.setdefault(part.prefix, part.instructions)
        self.watched.update(part.files)

    def _free(self, kind: str, name: str, capability: Capability, part: Part, builtin: bool) -> None:
        """Raises Conflict unless this name may be taken."""
        taken = self._claimed.get(kind, {})
        if other := taken.get(standards.shape(name)):
            raise _clash(kind, name, other, capability)
        if builtin:
            return
        if kind in ("route", "resource"):
            # What a plugin answers at may not be an address of somebody else's, either.
            for held, other in taken.items():
                if standards.meet(held, name):
                    raise _clash(kind, f"{name} ({held})", other, capability)
        if kind == "route" and standards.meet(standards.OWN_PATH, capability.route):
            raise Conflict(f"{name} of {capability.name} is a route of the server's own.", fix="Choose another route.")
        words = {"tool": capability.command[0], "command": name}
        word = words.get(kind)
        if word in standards.OWN_COMMANDS:
            raise Conflict(f"`lakehouse {word}` is a command of its own.", fix="Rename the file.")
        if word is not None and self._words.get(word, part.prefix) != part.prefix:
            raise Conflict(f"`lakehouse {word}` is a command of {self._words[word]}.", fix="Rename it.")

    def find(self, name: str) -> Capability:
        """A capability by its dotted name or its MCP name. Raises NotFound with the nearest names."""
        found = self.get(name) or self.by_mcp_name.get(name)
        if found is None:
            there = f"There are: {', '.join(sorted(self))}."
            fix = did_you_mean(name, [*self, *self.by_mcp_name], there)
            raise NotFound(f"there is no capability called {name[:100]!r}.", fix=fix)
        return found

    def is_step(self, capability: Capability) -> bool:
        """Whether only workflows use it: a mode, unless a resource or a prompt completes its parameters with it."""
        if capability.facts.kind != "mode":
            return False
        return not any(capability.name in (c.facts.complete or {}).values() for c in self.values())

    def steps(self, name: str | None = None) -> list[Capability]:
        """What nodes of workflows can run; or the one of this name. Raises NotFound with the nearest names."""
        there = {one.name: one for one in self.values() if one.public or self.is_step(one)}
        if name is None:
            return list(there.values())
        found = self.get(name) or self.by_mcp_name.get(name)
        if found is None or found.name not in there:
            fix = did_you_mean(name, there, "workflow_modes lists them.")
            raise NotFound(f"there is no mode {name[:100]!r}.", fix=fix)
        return [found]

    def toolsets_of(self, capability: Capability) -> tuple[str, ...]:
        """The toolsets it is in; what is no tool is in those of the tools of its file, and in none beside none."""
        if capability.public:
            return capability.facts.toolsets
        file = capability.name.rpartition(".")[0]
        beside = (c.facts.toolsets for c in self.public() if c.name.rpartition(".")[0] == file)
        return tuple(sorted({toolset for toolsets in beside for toolset in toolsets}))

    def public(self) -> list[Capability]:
        """The tools, in order."""
        return [c for c in self.values() if c.facts.kind == "tool"]

    def of(self, kind: str) -> Iterator[Capability]:
        """The resources, prompts or modes, in order."""
        return (c for c in self.values() if c.facts.kind == kind)


def _part(module: ModuleType, prefix: str, files: Sequence[str] = ()) -> Part:
    about, instructions = standards.about(module), standards.instructions(module)
    return Part(prefix, capabilities_in(module, prefix), about, instructions, files)


@cache  # a process that opens several lakes pays for our own files once: 50 ms
def _shipped(path: Path) -> Part:
    return _part(load(path, f"lakehouse.{path.parent.name}.{path.stem}"), path.stem)


def _from_source(source: bytes, path: Path, name: str) -> Part:
    return _examined(_part(run_source(source, path, name), path.stem))


def _from_package(plugin: EntryPoint) -> Part:
    module = plugin.load()
    if not isinstance(module, ModuleType):
        raise TypeError(f"{plugin.value} is not a module")
    below = [m for name, m in list(sys.modules.items()) if f"{name}.".startswith(f"{module.__name__}.")]
    files = [file for m in below if isinstance(file := getattr(m, "__file__", None), str)]
    return _examined(_part(module, plugin.name, files))


def _examined(part: Part) -> Part:
    """What a plugin declares is derived now, so that a faulty one is left out here and not met at call time."""
    for capability in part.capabilities:
        standards.check(capability)
    return part


def _reason(error: Exception) -> str:
    if isinstance(error, LakehouseError):
        return f"{error.detail} {error.fix}"
    return f"{type(error).__name__}: {error}"


def _clash(kind: str, name: str, other: Capability, capability: Capability) -> Conflict:
    label = name if kind in ("capability", "tool") else f"{kind} {name}"
    return Conflict(
        f"two capabilities are called {label}: {other.origin} and {capability.origin}.",
        fix="Rename the file or the function.",
    )
