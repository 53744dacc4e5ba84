"""Which places of this machine a caller at a distance may have read."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from lakehouse.errors import Forbidden, InvalidInput

# What the running call may not read, for callers from outside: the data directory, then the buckets, then credentials.
shut: ContextVar[tuple[Path, ...]] = ContextVar("lakehouse_shut", default=())
# Within a data directory, where what came with a request lies until it is read.
_PASSING = ("tmp", "uploads")
_PATTERN = re.compile(r"[*?\[{]")


def check_named(path: Path) -> None:
    """Raises Forbidden for a path, or a pattern of paths, that a caller names and that is shut, or leads there.

    It blocks.
    """
    base = path.expanduser()
    while _PATTERN.search(str(base)):
        base = base.parent
    real = Path(os.path.realpath(base))
    # By the folder itself, too: whatever the file system takes for the same name.
    inside = [p for p in (real, *real.parents) if p.exists()]
    for folder in shut.get():
        if not folder.exists():
            continue
        leads = folder.is_dir() and Path(os.path.realpath(folder)).is_relative_to(real) and real.is_dir()
        if leads or any(folder.samefile(p) for p in inside):
            raise forbidden(path)


def check_open(real: Path, given: str | Path) -> None:
    """Raises Forbidden for a file, a path without links, that is shut; not for what came with the request itself."""
    passing = [Path(os.path.realpath(home), name) for home in shut.get()[:1] for name in _PASSING]
    if any(real.is_relative_to(folder) for folder in passing):
        return
    for folder in shut.get():
        if real.is_relative_to(os.path.realpath(folder)):
            raise forbidden(given)


def forbidden(given: str | Path) -> Forbidden:
    """The error for a place that is Lakehouse's own."""
    return Forbidden(
        f"{given} is Lakehouse's own: files there are not read by name.",
        fix="Query the datasets, or name a file elsewhere.",
    )


def check_apart(real: Path, given: str | Path, own: Sequence[Path]) -> None:
    """Raises InvalidInput for a file to write, its folder without links, that would lie among Lakehouse's own."""
    above = [parent for parent in real.parents if parent.exists()]
    for place in own:
        if real.is_relative_to(os.path.realpath(place)) or (place.exists() and any(map(place.samefile, above))):
            raise InvalidInput(f"path: {given} is in the data directory itself.", fix="Name a file elsewhere.")


def written_at(given: Path) -> Path:
    """Where a file that is to be written would lie, its folder without links. It blocks.

    Raises InvalidInput for what is no path: one with a NUL, an unknown ~user.
    """
    try:
        path = Path(os.path.realpath(given.expanduser().parent)) / given.name
        with suppress(OSError):  # that nothing is there yet, or who may see it, is not asked
            os.lstat(path)  # a NUL is an error to it, not to os.path.lexists and Path.is_dir
        return path
    except (ValueError, RuntimeError):
        raise InvalidInput(f"path: {str(given)[:200]!r} is no path.", fix="Name a file.") from None


def check_remote(
    given: str | Path, roots: Sequence[Path], setting: str, instead: str = "Send the contents with the request"
) -> None:
    """Raises Forbidden unless there are `roots`: without them no file is open to somebody at another machine.

    `instead` is what to do without a path.
    """
    if not roots:
        raise Forbidden(
            f"{given} is a path of the server's machine, and none of those may be named from another.",
            fix=f"{instead}, or have {setting} name the folder on the server.",
        )


def check_place(real: Path, given: str | Path, roots: Sequence[Path], setting: str, use: str = "read") -> None:
    """Raises Forbidden unless `real`, a path without links, lies below one of `roots`.

    With no roots it may lie anywhere below the home directory that is not hidden: keys, tokens and the settings of
    programs lie in hidden folders, and an agent may be talked into reading them. `setting` is the one that names roots,
    `use` what the place is wanted for.
    """
    if roots:
        if any(real.is_relative_to(os.path.realpath(root.expanduser())) for root in roots):
            return
    else:
        home = Path(os.path.realpath(Path.home()))
        if real.is_relative_to(home) and not any(part.startswith(".") for part in real.relative_to(home).parts):
            return
    raise Forbidden(
        f"{given} is not in a place that may be {use} from here.",
        fix=f"Move it to a folder below your home directory, add its folder to {setting}, or use the command line.",
    )
