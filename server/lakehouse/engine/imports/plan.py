"""What a folder of Parquet files would become: read-only, and complete before anything is written."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lakehouse import config
from lakehouse.engine.ingest.matches import Match, Matches
from lakehouse.engine.ingest.source import local_file
from lakehouse.engine.manifests import check_name
from lakehouse.engine.places import check_place
from lakehouse.errors import InvalidInput, LakehouseError, NotFound, TooLarge

_SUFFIXES = (".parquet", ".pq")
_MARK = b"PAR1"
_VERSION = re.compile(r"\d{20}")
_MANIFEST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Plan:
    """One dataset and its files."""

    name: str
    files: Matches

    @property
    def bytes(self) -> int:
        """Their size; blocking."""
        return sum(match.path.stat().st_size for match in self.files.files)


class _Problem(Exception):
    """What is wrong with one file or dataset."""


Found = tuple[str, tuple[Match, ...]]


def planned(folder: Path, roots: Sequence[Path] | None, settings: config.Ingest) -> tuple[list[Plan], list[str]]:
    """The datasets a folder holds, sorted by name, and what is wrong with it; blocking.

    Raises Forbidden, NotFound and InvalidInput for the folder.
    """
    try:
        folder = folder.expanduser()
        real = Path(os.path.realpath(folder))
    except (OSError, ValueError, RuntimeError):  # no user of this name, half a character, a zero in it
        raise InvalidInput(f"folder: {str(folder)[:200]!r} is no path.", fix="Check the path.") from None
    if roots is not None:
        check_place(real, folder, roots, "ingest.roots")
    if not os.path.isdir(folder):
        raise NotFound(
            f"there is no folder {folder}.", fix="Check the path; relative ones start where the server runs."
        )
    plans: dict[str, Plan] = {}
    problems: list[str] = []
    for called, look in _found(folder, roots, settings):
        try:
            found = look()
            if found is None:
                continue
            name, files = found
            check_name(name)
            if name in plans:
                raise _Problem(f"another one is called {name!r}, too")
            plans[name] = Plan(name, Matches(files))
        except _Problem as problem:
            problems.append(f"{called}: {problem}")
        except LakehouseError as error:
            problems.append(f"{called}: {error.detail}")
    if not plans and not problems:
        raise NotFound(f"{folder} holds no Parquet file and no manifest.", fix="Name the folder that does.")
    return [plans[name] for name in sorted(plans)], problems


def _found(
    folder: Path, roots: Sequence[Path] | None, settings: config.Ingest
) -> Iterator[tuple[str, Callable[[], Found | None]]]:
    """What may be datasets: what each is called, and a function that answers its name and files."""
    manifests = _manifests(folder)
    for path in manifests:
        yield str(path.relative_to(folder)), partial(_of_manifest, path, folder, roots, settings)
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_")) or (manifests and entry.name == "datasets"):
            continue
        if entry.is_dir():
            if _inside(entry):
                yield entry.name, partial(_of_folder, entry, roots, settings)
        elif entry.suffix.lower() in _SUFFIXES:
            yield entry.name, partial(_of_file, entry, roots, settings)


def _inside(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += [Path(parent, n) for n in sorted(names) if n.lower().endswith(_SUFFIXES) and n[0] not in "._"]
    return found


def _of_file(path: Path, roots: Sequence[Path] | None, settings: config.Ingest) -> Found:
    return path.stem, (_match(path, path.name, roots, settings),)


def _of_folder(folder: Path, roots: Sequence[Path] | None, settings: config.Ingest) -> Found:
    paths = _inside(folder)
    if len(paths) > settings.max_files:
        raise TooLarge(f"{len(paths)} files are over the limit of {settings.max_files}.", fix="Raise ingest.max_files.")
    for path in paths:
        valued = next((part for part in path.relative_to(folder).parent.parts if "=" in part), None)
        if valued:
            raise _Problem(f"the folder name {valued[:60]!r} holds a column's value, which would be lost")
    return folder.name, tuple(_match(path, str(path.relative_to(folder)), roots, settings) for path in paths)


def _match(path: Path, called: str, roots: Sequence[Path] | None, settings: config.Ingest) -> Match:
    """A file that may be read and at least begins and ends like Parquet."""
    real = local_file(path, roots, settings.max_path_bytes)
    with real.open("rb") as file:
        begin = file.read(4)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4))
        if begin != _MARK or file.read(4) != _MARK:
            raise _Problem(f"{called} is not a Parquet file" if called != path.name else "it is not a Parquet file")
    return Match(real, called, "parquet")


def _manifests(folder: Path) -> list[Path]:
    """The newest manifest of each dataset: of a catalog folder, and JSON files that say they are one."""
    found = []
    catalog = folder / "_catalog"
    if catalog.is_dir():
        for entry in sorted(catalog.iterdir()):
            inside = sorted(entry.glob("*.json")) if entry.is_dir() else [entry] if entry.suffix == ".json" else []
            # Here each dataset has a folder of its versions; elsewhere each has a file.
            found += inside[-1:] if all(_VERSION.fullmatch(path.stem) for path in inside) else inside
    return found + [path for path in sorted(folder.glob("*.json")) if _is_manifest(path)]


def _is_manifest(path: Path) -> bool:
    try:
        fields = _read(path)
    except _Problem:
        return False
    return isinstance(fields.get("objects"), list) and "name" in fields


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if not path.is_file():  # a pipe would be waited for, and a device has no end
            raise _Problem("it is no regular file")
        if path.stat().st_size > _MANIFEST_BYTES:
            raise _Problem("it is too large for a manifest")
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _Problem(f"it cannot be read as a manifest ({type(error).__name__})") from error
    if not isinstance(fields, dict):
        raise _Problem("it is not a manifest")
    return fields


def _of_manifest(path: Path, folder: Path, roots: Sequence[Path] | None, settings: config.Ingest) -> Found | None:
    """The name a manifest gives and the files it names, relative to the folder; None for a dataset that was dropped."""
    local_file(path, roots, _MANIFEST_BYTES)
    fields = _read(path)
    name, objects = fields.get("name"), fields.get("objects")
    if not isinstance(name, str) or not isinstance(objects, list):
        raise _Problem("it has no name or no objects")
    if fields.get("dropped"):
        return None
    if not objects:
        raise _Problem(f"dataset {name!r} has no files")
    if any(isinstance(each, dict) and (each.get("role", "base") != "base" or each.get("lacks")) for each in objects):
        raise _Problem(f"dataset {name!r} has changes beside its rows; compact it first")
    found = []
    for each in objects:
        key = each.get("key") if isinstance(each, dict) else each
        if not isinstance(key, str) or not key or PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
            raise _Problem("an object's key is not a path below the folder")
        match = _match(folder / key, key, roots, settings)
        if isinstance(each, dict) and each.get("size_bytes") not in (None, match.path.stat().st_size):
            raise _Problem(f"{key} has another size than the manifest says")
        found.append(replace(match, sha256=each.get("sha256") if isinstance(each, dict) else None))
    return name, tuple(found)
