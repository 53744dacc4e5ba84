"""`make`: what it lists, and that setting up picks a Python, works in any folder and happens once."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
TARGETS = {"setup", "demo", "check", "test", "conformance", "bench", "stress"}
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

# Answers the question for its version, and makes environments whose Python only writes down what it is asked.
PYTHON = """#!/bin/sh
case "$1 $2 $3" in
    "-c "*) exit {suits} ;;
    "--version "*) echo "Python of {name}" ;;
    "-m venv "*)
        mkdir -p .venv/bin
        printf '#!/bin/sh\\necho "$@" >> asked\\n' > .venv/bin/python
        chmod +x .venv/bin/python
        ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a space in its name, and beside it a PATH of little more than make."""
    place = tmp_path / "a check out"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "uv.lock"):
        shutil.copy(ROOT / name, place)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "awk", "mkdir", "chmod", "touch", "make"):
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    return place


def python(checkout: Path, name: str, *, suits: bool) -> None:
    path = checkout.parent / "bin" / name
    path.write_text(PYTHON.format(name=name, suits=0 if suits else 1), encoding="utf-8")
    path.chmod(0o755)


def make(checkout: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    assert MAKE
    return subprocess.run(
        [MAKE, "--no-print-directory", *targets],
        cwd=checkout,
        env={"PATH": str(checkout.parent / "bin")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_make_alone_lists_the_targets(checkout: Path) -> None:
    ran = make(checkout)
    assert ran.returncode == 0
    listed = dict(re.findall(r"^  make (\w+) +(.+)$", ran.stdout, re.MULTILINE))
    assert set(listed) == TARGETS


def test_setting_up_happens_once(checkout: Path) -> None:
    """And again when what to install has changed."""
    python(checkout, "python3", suits=True)
    for changed in (True, False, True):
        if changed and (stamp := checkout / ".venv" / ".ready").exists():
            os.utime(stamp, (0, 0))
        ran = make(checkout, "setup")
        assert ran.returncode == 0, ran.stderr
        assert ("Python of python3" in ran.stdout) is changed
    asked = (checkout / "asked").read_text(encoding="utf-8").splitlines()
    assert len(asked) == 2
    assert asked[0].endswith("-c constraints.txt -e .[dev]")


def test_a_python_that_suits_is_found(checkout: Path) -> None:
    python(checkout, "python3", suits=False)
    python(checkout, "python3.12", suits=True)
    assert "Python of python3.12" in make(checkout, "setup").stdout


def test_no_python_that_suits(checkout: Path) -> None:
    python(checkout, "python3", suits=False)
    ran = make(checkout, "setup")
    assert ran.returncode != 0
    assert "Lakehouse needs Python 3.11 or newer" in ran.stderr
    assert not (checkout / ".venv").exists()


def test_uv_is_used_where_there_is_one(checkout: Path) -> None:
    uv = checkout.parent / "bin" / "uv"
    uv.write_text('#!/bin/sh\nmkdir -p .venv\necho "$@" > asked\n', encoding="utf-8")
    uv.chmod(0o755)
    assert make(checkout, "setup").returncode == 0
    assert (checkout / "asked").read_text(encoding="utf-8") == "sync --locked --extra dev --quiet\n"


def test_a_failed_set_up_is_tried_again(checkout: Path) -> None:
    """Nothing says it is ready when it is not."""
    python(checkout, "python3", suits=True)
    uv = checkout.parent / "bin" / "uv"
    uv.write_text("#!/bin/sh\nmkdir -p .venv\nexit 2\n", encoding="utf-8")
    uv.chmod(0o755)
    assert make(checkout, "setup").returncode != 0
    uv.unlink()
    assert "Python of python3" in make(checkout, "setup").stdout


def test_without_npm_there_is_no_conformance_run(checkout: Path) -> None:
    python(checkout, "python3", suits=True)
    ran = make(checkout, "conformance")
    assert ran.returncode == 0 and "Skipped: " in ran.stdout and "npm" in ran.stdout


def test_clients_that_cannot_be_installed_are_an_error(checkout: Path) -> None:
    """And nothing says they are there: the next run tries again."""
    python(checkout, "python3", suits=True)
    pinned = checkout / "tests" / "conformance"
    pinned.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests" / "conformance" / name, pinned)
    copy = shutil.which("cp")
    assert copy
    (checkout.parent / "bin" / "cp").symlink_to(copy)
    npm = checkout.parent / "bin" / "npm"
    npm.write_text("#!/bin/sh\necho no registry >&2\nexit 1\n", encoding="utf-8")
    npm.chmod(0o755)
    for _ in range(2):
        ran = make(checkout, "conformance")
        assert ran.returncode != 0
        assert "no registry" in ran.stderr and "npm could not install the clients" in ran.stderr


@pytest.mark.parametrize(
    ("npm", "set_up", "ran"),
    [
        (True, True, ["test", "-s .conformance/.ready", "conformance"]),
        (True, False, ["test", "-s .conformance/.ready"]),
        (False, True, ["test", "conformance"]),
    ],
    ids=["all there", "npm cannot install", "no npm"],
)
def test_ci_runs_what_the_desk_runs(tmp_path: Path, npm: bool, set_up: bool, ran: list[str]) -> None:
    """Programs of others that cannot be installed are no failure of ours."""
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("the source archive has no CI")
    assert os.access(script, os.X_OK)
    ours = tmp_path / "checkout" / ".ci" / "run"
    ours.parent.mkdir(parents=True)
    shutil.copy(script, ours)
    tools = tmp_path / "bin"
    tools.mkdir()
    stand_ins = {
        "python3": "exit 0",
        "make": f'echo "$@" >> made; case "$*" in *.ready) exit {0 if set_up else 2} ;; esac',
    }
    if npm:
        stand_ins["npm"] = "exit 0"
    for name, line in stand_ins.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    for name in ("bash", "dirname"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    done = subprocess.run([tools / "bash", ours], env={"PATH": str(tools)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "checkout" / "made").read_text(encoding="utf-8").splitlines() == ran
    assert ("Skipped: make conformance" in done.stdout) is (ran[-1] != "conformance")
