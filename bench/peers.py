"""Programs that are measured beside us and want other versions of what we use: each in `.bench`, apart from `.venv`."""

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".bench"


def program(package: str, name: str) -> Path | None:
    """Where a package's program is, installed when it is not yet; None, having said why, when it cannot be had."""
    place = FOLDER / package
    found = place / "bin" / name
    if found.exists():
        return found
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", str(place)] if uv else [sys.executable, "-m", "venv", str(place)]
    python = str(place / "bin" / "python")
    install = [uv, "pip", "install", "-q", "-p", python] if uv else [python, "-m", "pip", "install", "-q"]
    for command in (make, [*install, package]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            print(f"skipped what needs {package}: it cannot be installed ({(done.stderr.splitlines() or ['?'])[-1]})")
            return None
    return found
