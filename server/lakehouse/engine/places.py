"""Which places of this machine a caller at a distance may have read."""

import os
from collections.abc import Sequence
from pathlib import Path

from lakehouse.errors import Forbidden


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
