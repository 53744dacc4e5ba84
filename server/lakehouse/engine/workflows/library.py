"""Where workflows, their commands and scripts are found: shipped, in project folders, in the data directory.

Under a folder's `workflows/` or `.archon/workflows/` lie files, folders of files, and packages: folders two levels down
that hold one file with `commands/` and `scripts/` of its own, which are all it sees.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lakehouse.engine.workflows.language import Loaded, Problem, Source, load
from lakehouse.engine.workflows.language.reading import MAX_BYTES, read
from lakehouse.engine.workflows.runs.record import Starter
from lakehouse.errors import NotFound, Unprocessable, did_you_mean

YAML = frozenset({".yaml", ".yml"})
SCRIPTS = ("", ".py", ".ts", ".js", ".mjs")
MAX_LISTINGS = 8  # one for each folder that callers stand in
OWN = frozenset({"commands", "scripts"})  # folders that hold no workflows
Stamp = tuple[int, int, int]  # of a file: inode, nanoseconds, bytes


@dataclass(frozen=True)
class Entry:
    """A workflow file. `name` is what it calls itself; where it cannot be read, that of the file."""

    name: str
    path: Path
    stamp: Stamp
    readable: bool = True


class Library:
    """The workflow files there are, later places winning over earlier ones of the same name. Its methods block.

    `beside`, where a method takes it, is the working folder of a caller on this machine: its `.archon/` wins over all
    places. Nobody else's may be given.
    """

    def __init__(self, folders: Callable[[], Sequence[Path]]) -> None:
        """`folders` are those that hold `workflows/` or `.archon/workflows/`, the least important first."""
        self.folders = folders
        self._names: dict[Path, Entry] = {}
        self._listings: dict[Path | None, tuple[object, list[Loaded]]] = {}

    def entries(self, beside: Path | None = None) -> list[Entry]:
        """The workflows by name, and those that cannot be read: they hide none that can."""
        found: dict[str, Entry] = {}
        broken: list[Entry] = []
        for path, stamp in self._paths(beside):
            entry = self._entry(path, stamp)
            if entry.readable:
                found.pop(entry.name, None)
                found[entry.name] = entry
            else:
                broken.append(entry)
        return sorted((*found.values(), *broken), key=lambda entry: (entry.name, not entry.readable))

    def names(self, beside: Path | None = None) -> list[str]:
        """The names of all that can be read."""
        return [entry.name for entry in self.entries(beside) if entry.readable]

    def find(self, name: str, beside: Path | None = None, base: Path | None = None) -> Source:
        """The text of a workflow, as it is now; with a `base`, also by the path of a file, meant from there.

        Raises NotFound with the names that are like it, and Unprocessable for a file that cannot be read.
        """
        entries = self.entries(beside)
        entry = next((one for one in entries if one.name == name), None)
        if entry is not None:
            return _read(entry.path, name)
        if base is not None and (path := _as_path(name, base)) is not None:
            return _read(path, self._entry(path, _stamp(path) or (0, 0, 0)).name)
        fix = did_you_mean(name, [one.name for one in entries], None if entries else "There are none.")
        raise NotFound(f"there is no workflow {name[:80]!r}.", fix=fix)

    def listing(self, beside: Path | None = None) -> list[Loaded]:
        """All workflows as they are understood. Cheap while no file changes: nothing is read again then."""
        entries = self.entries(beside)
        as_of = (tuple((entry.path, entry.stamp) for entry in entries), tuple(self._parts(beside)))
        known = self._listings.get(beside)
        if known is not None and known[0] == as_of:
            return list(known[1])
        index = {entry.name: entry for entry in entries if entry.readable}
        loaded = [self._load(entry, beside, index) for entry in entries]
        while len(self._listings) >= MAX_LISTINGS:
            self._listings.pop(next(iter(self._listings)), None)
        self._listings[beside] = (as_of, loaded)
        return list(loaded)

    def around(self, source: Source, beside: Path | None = None) -> "Surroundings":
        """What a workflow may name."""
        return Surroundings(self, source.path, beside)

    def bases(self, path: str, beside: Path | None) -> list[Path]:
        """The folders whose `commands/` and `scripts/` a workflow file sees, the most important first."""
        places = [place for folder in self._all(beside) for place in (folder, folder / ".archon")]
        places.reverse()
        if not path:
            return places
        file = Path(path)
        inside = next((place for place in places if file.is_relative_to(place / "workflows")), None)
        if inside is None:
            return [file.parent, file.parent.parent, *places]
        deep = len(file.relative_to(inside / "workflows").parts)
        return [file.parent] if deep == 3 else places

    def siblings(self, path: str, beside: Path | None) -> list[Entry]:
        """The workflows around a file that was given by its path, where it lies in a `workflows/` of its own."""
        parents = Path(path).parents[:3] if path else ()
        place = next((one for one in parents if one.name == "workflows"), None)
        if place is None or any(
            place in (one / "workflows", one / ".archon" / "workflows") for one in self._all(beside)
        ):
            return []
        found = [self._entry(one, stamp) for one, stamp in _workflows(place)]
        return [entry for entry in found if entry.readable]

    def _all(self, beside: Path | None) -> list[Path]:
        return [*self.folders(), *([beside] if beside is not None else [])]

    def _paths(self, beside: Path | None) -> Iterator[tuple[Path, Stamp]]:
        for folder in self.folders():
            yield from _workflows(folder / "workflows")
            yield from _workflows(folder / ".archon" / "workflows")
        if beside is not None:
            yield from _workflows(beside / ".archon" / "workflows")

    def _parts(self, beside: Path | None) -> Iterator[tuple[Path, Stamp]]:
        """All commands and scripts."""
        for folder in self._all(beside):
            for place in (folder, folder / ".archon"):
                yield from _files(place / "commands")
                yield from _files(place / "scripts")
                for package in place.glob("workflows/*/*/"):
                    yield from _files(package / "commands")
                    yield from _files(package / "scripts")

    def _entry(self, path: Path, stamp: Stamp) -> Entry:
        known = self._names.get(path)
        if known is not None and known.stamp == stamp:
            return known
        try:
            found, _, _ = read(_read(path, path.stem))
        except Unprocessable:
            found = None
        name = found.get("name") if found is not None else None
        readable = isinstance(name, str) and bool(name.strip())
        entry = Entry(str(name).strip() if readable else path.stem, path, stamp, readable)
        self._names[path] = entry
        return entry

    def _load(self, entry: Entry, beside: Path | None, index: Mapping[str, Entry]) -> Loaded:
        try:
            source = _read(entry.path, entry.name)
        except Unprocessable as error:
            source = Source(entry.name, "", str(entry.path))
            return Loaded(None, (Problem("file", error.detail, error.fix),), source=source)
        return load(source, Surroundings(self, source.path, beside, index), deep=False)


class Surroundings:
    """What one workflow file may name. See language.Around."""

    def __init__(
        self, library: Library, path: str, beside: Path | None = None, index: Mapping[str, Entry] | None = None
    ) -> None:
        """`index` are the workflows by name; without it they are looked for, once."""
        self._library = library
        self._path = path
        self._beside = beside
        self._index = index
        self._bases = library.bases(path, beside)
        self._packaged = len(self._bases) == 1 and bool(path) and self._bases[0] == Path(path).parent

    def at(self, source: Source) -> "Surroundings":
        """What is around another workflow."""
        return Surroundings(self._library, source.path, self._beside, self._workflows())

    def workflow(self, name: str) -> Source | None:
        """Another workflow's text."""
        entry = self._workflows().get(name)
        try:
            return _read(entry.path, name) if entry is not None else None
        except Unprocessable:
            return None

    def command(self, name: str) -> Source | None:
        """A command's text."""
        return self._part("commands", name, (".md",))

    def script(self, name: str) -> Source | None:
        """A named script's source, named with its suffix or without."""
        return self._part("scripts", name, SCRIPTS)

    def names(self, kind: str) -> list[str]:
        """What there is of a kind."""
        if kind == "workflow":
            return list(self._workflows())
        files = [path for base in self._bases for path, _ in _files(base / f"{kind}s")]
        return sorted({path.stem for path in files if kind == "script" or path.suffix == ".md"})

    def _workflows(self) -> Mapping[str, Entry]:
        if self._index is None:
            found = [one for one in self._library.entries(self._beside) if one.readable]
            found += self._library.siblings(self._path, self._beside)
            self._index = {one.name: one for one in found}
        return self._index

    def _holds(self, base: Path, path: Path) -> bool:
        """Whether a file may be taken for a part: no link leads out of a package, which others wrote."""
        return not self._packaged or path.resolve().is_relative_to(base.resolve())

    def _part(self, folder: str, name: str, suffixes: Sequence[str]) -> Source | None:
        for base in self._bases:
            for suffix in suffixes:
                path = base / folder / f"{name}{suffix}"
                if _stamp(path) is not None and self._holds(base, path):
                    try:
                        return _read(path, name)
                    except Unprocessable:
                        return None
        return None


def places_of(starter: Starter | None) -> tuple[Path | None, Path | None]:
    """Where the paths of somebody on this machine are meant from, and the folder whose `.archon/` they have.

    Programs do not have the latter: they are started in the folders of strangers.
    """
    if starter is None or not starter.shell:
        return None, None
    base = Path(starter.folder) if starter.folder else Path.cwd()
    return base, base if starter.via == "cli" else None


def _as_path(name: str, base: Path) -> Path | None:
    if "\0" in name or not (Path(name).suffix in YAML or os.sep in name):
        return None
    path = base / name
    return path.resolve() if _stamp(path) is not None else None


def _workflows(place: Path) -> Iterator[tuple[Path, Stamp]]:
    """The workflow files under a place: in it, in its folders, and in the packages in these."""
    yield from _files(place, YAML)
    for group in _folders_of(place):
        yield from _files(group, YAML)
        for package in _folders_of(group):
            alone = list(_files(package, YAML))
            if len(alone) == 1:
                yield from alone


def files_under(folder: Path) -> list[Path]:
    """The workflow files of a folder: in `workflows/` and `.archon/workflows/`, else in itself."""
    places = [place for place in (folder / "workflows", folder / ".archon" / "workflows") if place.is_dir()]
    return [path for place in places or [folder] for path, _ in _workflows(place)]


def _folders_of(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as found:
            names = [one.name for one in found if one.is_dir()]
    except OSError:
        return []
    return [place / name for name in sorted(names) if name[0] not in "_." and name not in OWN]


def _files(place: Path, suffixes: frozenset[str] | None = None) -> list[tuple[Path, Stamp]]:
    """The ordinary files in a folder that may not be there, in the order of their names."""
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return []
    paths = [place / name for name in names if name[0] not in "_."]
    wanted = [path for path in paths if suffixes is None or path.suffix in suffixes]
    return [(path, stamp) for path in wanted if (stamp := _stamp(path)) is not None]


def _stamp(path: Path) -> Stamp | None:
    """What tells a file apart from itself once it has changed; None: it is no ordinary file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _read(path: Path, name: str) -> Source:
    """A file's text, no more of it than shows that it is too long. Raises Unprocessable."""
    try:
        with path.open("rb") as file:
            return Source.of(name, file.read(MAX_BYTES + 8), str(path))
    except OSError as error:
        raise Unprocessable(f"{path.name} cannot be read: {error.strerror}.", fix="Mend its permissions.") from error
