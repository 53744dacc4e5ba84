"""Where workflows, their commands and scripts are found: shipped, in project folders, in the data directory."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lakehouse.engine.workflows.language import Source
from lakehouse.errors import NotFound, did_you_mean


class Library:
    """The workflow files there are, later places winning over earlier ones of the same name. Its methods block."""

    def __init__(self, folders: Callable[[], Sequence[Path]]) -> None:
        """`folders` are those that hold `workflows/` or `.archon/workflows/`, the least important first."""
        self._folders = folders

    def files(self) -> dict[str, Path]:
        """The files by the name of their workflow: that of the file, until it is read."""
        return {path.stem: path for folder in self._folders() for path in _yaml_in(folder)}

    def find(self, name: str) -> Source:
        """The text of a workflow. Raises NotFound with the names that are like it."""
        files = self.files()
        path = files.get(name)
        if path is None:
            fix = did_you_mean(name, files, "There are none." if not files else None)
            raise NotFound(f"there is no workflow {name[:80]!r}.", fix=fix)
        return Source(name, path.read_text(encoding="utf-8-sig"), str(path))


class Surroundings:
    """What one workflow file may name. See language.Around."""

    def __init__(self, library: Library, path: str) -> None:
        self._library = library
        self._path = path

    def at(self, source: Source) -> "Surroundings":
        """What is around another workflow."""
        return Surroundings(self._library, source.path)

    def workflow(self, name: str) -> Source | None:
        """Another workflow's text."""
        try:
            return self._library.find(name)
        except NotFound:
            return None

    def command(self, name: str) -> Source | None:
        """A command's text."""
        return None

    def script(self, name: str) -> Source | None:
        """A named script's source."""
        return None

    def names(self, kind: str) -> list[str]:
        """What there is of a kind."""
        return list(self._library.files()) if kind == "workflow" else []


def _yaml_in(folder: Path) -> Iterator[Path]:
    for place in (folder / "workflows", folder / ".archon" / "workflows"):
        yield from sorted(place.glob("[!_.]*.yaml"))
