"""Where capabilities come from: the shipped folders, the folders a config names, installed plugins."""

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from lakehouse.declare import Capability, capabilities_in
from lakehouse.errors import Conflict, NotFound, did_you_mean
from lakehouse.observe import log
from lakehouse.sources import plugin_files

_MCP_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def load(path: Path, name: str) -> ModuleType:
    """Run a plugin file as a module of this name."""
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
    folder = hashlib.sha256(str(path.parents[1]).encode()).hexdigest()[:12]
    return f"lakehouse_project_{folder}.{path.parent.name}.{path.stem}"


def installed_plugins() -> list[EntryPoint]:
    """The packages that publish a `lakehouse` entry point, by name."""
    return sorted(entry_points(group="lakehouse"), key=lambda e: e.name)


@dataclass(frozen=True)
class Skipped:
    """A plugin that was left out, and why."""

    origin: str
    reason: str


class Catalogue(dict[str, Capability]):
    """Every capability by dotted name, in a fixed order.

    A shipped file that fails to load is fatal. A plugin that fails, or that claims a taken name, is left out and
    listed in `skipped`: it must not stop the server.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        super().__init__()
        self.skipped: list[Skipped] = []
        # By the first part of its capabilities' names, what each file says of itself, and its INSTRUCTIONS: what a
        # model should know before it calls any of them.
        self.groups: dict[str, str] = {}
        self.instructions: dict[str, str] = {}
        self.by_mcp_name: dict[str, Capability] = {}
        self._others: dict[str, Capability] = {}  # resources by URI, and prompts
        ours = set(plugin_files(()))
        for folder in folders:
            if not folder.is_dir():
                self._skip(str(folder), "there is no such folder; plugins.folders names it")
        for path in plugin_files(folders):
            if path in ours:
                self._take(load(path, f"lakehouse.{path.parent.name}.{path.stem}"), path.stem, builtin=True)
            else:
                self._try(str(path), partial(self._from_file, path))
        for plugin in installed_plugins():
            self._try(f"package entry point {plugin.name}", partial(self._from_package, plugin))

    def _from_file(self, path: Path) -> None:
        self._take(load(path, _project_module(path)), path.stem)

    def _from_package(self, plugin: EntryPoint) -> None:
        module = plugin.load()
        if not isinstance(module, ModuleType):
            raise TypeError(f"{plugin.value} is not a module")
        self._take(module, plugin.name)

    def _try(self, origin: str, add: Callable[[], None]) -> None:
        try:
            add()
        except (Exception, SystemExit) as error:  # whatever a stranger's module does while it is loaded
            self._skip(origin, str(error) if isinstance(error, Conflict) else f"{type(error).__name__}: {error}")

    def _skip(self, origin: str, reason: str) -> None:
        reason = " ".join(reason.split())[:500]
        self.skipped.append(Skipped(origin, reason))
        log.warning("plugin.skipped %s: %s", origin, reason)

    def _take(self, module: ModuleType, prefix: str, *, builtin: bool = False) -> None:
        names, tools, others = dict(self), dict(self.by_mcp_name), dict(self._others)
        for capability in capabilities_in(module, prefix):
            # What a plugin declares is derived now, so that a faulty one is left out here and not met at call time.
            if not builtin:
                _check(capability)
            _claim(names, capability.name, capability)
            if capability.public:
                _claim(tools, capability.mcp_name, capability)
            elif capability.facts.kind in ("prompt", "resource"):
                _claim(others, capability.facts.uri or f"prompt {capability.mcp_name}", capability)
        self._others = others
        self.update(names)
        self.by_mcp_name.update(tools)
        self.groups.setdefault(prefix, (inspect.getdoc(module) or "").partition("\n")[0])
        if said := getattr(module, "INSTRUCTIONS", ""):
            self.instructions.setdefault(prefix, str(said))

    def find(self, name: str) -> Capability:
        """A capability by its dotted name or its MCP name. Raises NotFound with the nearest names."""
        found = self.get(name) or self.by_mcp_name.get(name)
        if found is None:
            there = f"There are: {', '.join(sorted(self))}."
            fix = did_you_mean(name, [*self, *self.by_mcp_name], there)
            raise NotFound(f"there is no capability called {name[:100]!r}.", fix=fix)
        return found

    def public(self) -> list[Capability]:
        """The tools, in order."""
        return [c for c in self.values() if c.facts.kind == "tool"]

    def of(self, kind: str) -> Iterator[Capability]:
        """The resources, prompts or modes, in order."""
        return (c for c in self.values() if c.facts.kind == kind)


def _check(capability: Capability) -> None:
    _ = capability.arguments
    if capability.public:
        _ = (capability.input_schema, capability.output_schema)
        if not _MCP_NAME.fullmatch(capability.mcp_name):
            raise ValueError(f"{capability.mcp_name!r} is no tool name: a-z, then a-z, 0-9 and _, at most 64 in all")


def _claim(names: dict[str, Capability], name: str, capability: Capability) -> None:
    other = names.setdefault(name, capability)
    if other is not capability:
        raise Conflict(
            f"two capabilities are called {name}: {other.origin} and {capability.origin}.",
            fix="Rename the file or the function.",
        )
