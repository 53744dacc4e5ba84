"""Where capabilities come from: the shipped folders, the folders a config names, installed plugins."""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from lakehouse.declare import Capability, capabilities_in
from lakehouse.errors import Conflict, NotFound
from lakehouse.observe import log


def shipped(folder: str) -> Path:
    """`tools`, `modes`, `workflows` or `corpora`: in the wheel beside this file, in a checkout at the root."""
    package = Path(__file__).resolve().parent
    return package / folder if (package / folder).is_dir() else package.parents[1] / folder


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


def plugin_files(folders: Sequence[Path]) -> list[Path]:
    """The files the shipped and configured folders hold, in loading order."""
    places = [shipped("tools"), shipped("modes")]
    for project in folders:
        places += [project / "tools", project / "modes"]
    return [path for place in places for path in sorted(place.glob("[!_]*.py"))]


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
        self.groups: dict[str, str] = {}  # what each file says of itself, by the first part of its capabilities' names
        self.instructions: dict[
            str, str
        ] = {}  # a file's INSTRUCTIONS: what a model should know before it calls anything
        ours = set(plugin_files(()))
        for path in plugin_files(folders):
            if path in ours:
                self._take(load(path, f"lakehouse.{path.parent.name}.{path.stem}"), path.stem, builtin=True)
            else:
                self._try(str(path), partial(self._from_file, path))
        for plugin in installed_plugins():
            self._try(f"package entry point {plugin.name}", partial(self._from_package, plugin))
        self.by_mcp_name = {c.mcp_name: c for c in self.public()}

    def _from_file(self, path: Path) -> None:
        self._take(load(path, f"project.{path.parent.name}.{path.stem}"), path.stem)

    def _from_package(self, plugin: EntryPoint) -> None:
        self._take(plugin.load(), plugin.name)

    def _try(self, origin: str, add: Callable[[], None]) -> None:
        try:
            add()
        except Exception as error:
            reason = str(error) if isinstance(error, Conflict) else f"{type(error).__name__}: {error}"
            self.skipped.append(Skipped(origin, reason))
            log.warning("plugin.skipped %s: %s", origin, reason)

    def _take(self, module: ModuleType, prefix: str, *, builtin: bool = False) -> None:
        found = capabilities_in(module, prefix)
        taken = {c.mcp_name: c for c in self.public()}
        for capability in found:
            # Schemas are derived now, so that a plugin with types that have none is left out, not met at call time.
            if not builtin:
                _ = (capability.input_schema, capability.output_schema) if capability.public else None
            other = self.get(capability.name) or (taken.get(capability.mcp_name) if capability.public else None)
            if other is not None:
                raise Conflict(
                    f"two capabilities are called {capability.name}: {other.origin} and {capability.origin}.",
                    fix="Rename the file or the function.",
                )
        self.update({c.name: c for c in found})
        self.groups.setdefault(prefix, (inspect.getdoc(module) or "").partition("\n")[0])
        if said := getattr(module, "INSTRUCTIONS", ""):
            self.instructions.setdefault(prefix, str(said))

    def find(self, name: str) -> Capability:
        """A capability by its dotted name or its MCP name. Raises NotFound with the nearest names."""
        found = self.get(name) or self.by_mcp_name.get(name)
        if found is None:
            names = [*self, *self.by_mcp_name]
            near = difflib.get_close_matches(name, names, n=3)
            fix = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(sorted(self))}."
            raise NotFound(f"there is no capability called {name!r}.", fix=fix)
        return found

    def public(self) -> list[Capability]:
        """The tools, in order."""
        return [c for c in self.values() if c.facts.kind == "tool"]

    def of(self, kind: str) -> Iterator[Capability]:
        """The resources, prompts or modes, in order."""
        return (c for c in self.values() if c.facts.kind == kind)
