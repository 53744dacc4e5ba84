"""The branch that work in a checkout starts from: what `$BASE_BRANCH` stands for."""

import re
from pathlib import Path

NAMED = re.compile(r"ref: refs/remotes/origin/([A-Za-z0-9_][A-Za-z0-9_./-]*)")  # what stands in scripts as it is
MAX_PACKED = 2**20  # bytes read of a file of refs


def base_branch(folder: Path) -> str:
    """The default branch of the checkout a folder is in: as its remote says, else `main` or `master`; "": none.

    It reads files, and starts no program: what git is set up to run is the folder's to say.
    """
    git = next((place / ".git" for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if git is None:
        return ""
    try:
        if git.is_file():  # of a worktree: gitdir: PATH, and there the path of what all worktrees share
            git = folder / git.parent / git.read_text("utf-8").removeprefix("gitdir:").strip()
            shared = git / "commondir"
            git = git / shared.read_text("utf-8").strip() if shared.is_file() else git
        remote = git / "refs" / "remotes" / "origin" / "HEAD"
        if remote.is_file() and (said := NAMED.fullmatch(remote.read_text("utf-8").strip())):
            return said[1]
        packed, lines = git / "packed-refs", list[str]()
        if packed.is_file():
            with packed.open("rb") as file:
                lines = file.read(MAX_PACKED).decode("utf-8", "replace").split()
        for kind in ("refs/remotes/origin/", "refs/heads/"):
            for name in ("main", "master"):
                if kind + name in lines or (git / kind / name).is_file():
                    return name
    except (OSError, ValueError):
        return ""
    return ""
