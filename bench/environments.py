"""Programs that are measured beside us and want other versions of what we use: each in `.bench`, apart from `.venv`."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".bench"


def program(package: str, name: str) -> Path | None:
    """Where a package's program is, installed when it is not yet; None, having said why, when it cannot be had."""
    found = environment(package, (package,))
    return None if found is None else found.parent / name


def environment(name: str, packages: Sequence[str]) -> Path | None:
    """The interpreter of an environment with these packages, made when it is not there; None, having said why not."""
    place = FOLDER / name
    python = place / "bin" / "python"
    if (place / "ready").exists():
        return python
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", "--clear", str(place)] if uv else [sys.executable, "-m", "venv", "--clear", str(place)]
    install = [uv, "pip", "install", "-q", "-p", str(python)] if uv else [str(python), "-m", "pip", "install", "-q"]
    for command in (make, [*install, *packages]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            print(f"skipped what needs {name}: it cannot be installed ({(done.stderr.splitlines() or ['?'])[-1]})")
            return None
    (place / "ready").touch()
    return python
