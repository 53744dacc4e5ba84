"""What is built and installed: the wheel, the source archive, the pinned versions, and the wire from a clean place."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lakehouse
from lakehouse.catalogue import Catalogue

ROOT = Path(__file__).parents[1]
SHIPPED = ("tools", "modes", "workflows", "corpora")
NAME = f"lakehouse_mcp-{lakehouse.__version__}"
UV = shutil.which("uv")
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = (ROOT / "constraints.txt").read_text(encoding="utf-8")
EXPORT = "--no-dev --no-hashes --no-emit-project --no-annotate --no-header".split()
WIRE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "e2e" / "test_wire.py")]
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "darwin": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "win32": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}


pytestmark = pytest.mark.xdist_group("packaging")  # one process builds and installs


class Built(NamedTuple):
    """What `python -m build` makes, and the wheel made of the source archive."""

    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def run(*command: str | Path, **more: Any) -> str:
    """The output of a command; when it fails, the test does, with what it said."""
    ran: subprocess.CompletedProcess[str] = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, encoding="utf-8", **more
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """hatchling is a development dependency, so that nothing is downloaded for this."""
    straight, round_about = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sdist")
    build = (sys.executable, "-m", "build", "--no-isolation", ROOT, "--outdir")
    run(*build, straight, "--wheel")
    run(*build, round_about)
    (wheel,) = straight.iterdir()
    return Built(round_about / f"{NAME}.tar.gz", wheel, round_about / wheel.name)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_one_package_and_nothing_else(built: Built) -> None:
    """The four folders lie inside it; no tests, no benchmarks, no compiled files."""
    inside = contents(built.wheel)
    assert {name.split("/")[0] for name in inside} == {"lakehouse", f"{NAME}.dist-info"}
    package = ROOT / "server" / "lakehouse"
    expected = {f"lakehouse/{p.relative_to(package).as_posix()}": p for p in files_of(package)}
    for folder in SHIPPED:
        found = {f"lakehouse/{p.relative_to(ROOT).as_posix()}": p for p in files_of(ROOT / folder)}
        assert found, f"{folder} ships nothing"
        expected |= found
    assert {name for name in inside if name.startswith("lakehouse/")} == set(expected)
    assert all(inside[name] == path.read_bytes() for name, path in expected.items())
    assert "lakehouse/py.typed" in inside
    assert any(name.endswith(".onnx") for name in inside)


def files_of(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


@pytest.mark.slow
def test_the_wheel_says_what_it_is(built: Built) -> None:
    inside = contents(built.wheel)
    metadata = Parser().parsestr(inside[f"{NAME}.dist-info/METADATA"].decode())
    assert (metadata["Name"], metadata["Version"]) == ("lakehouse-mcp", lakehouse.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert f"{NAME}.dist-info/licenses/LICENSE" in inside
    scripts = inside[f"{NAME}.dist-info/entry_points.txt"].decode()
    assert "lakehouse = lakehouse.faces.cli:main" in scripts
    assert "lakehouse-mcp = lakehouse.faces.cli:main" in scripts


@pytest.mark.slow
def test_the_source_archive_makes_the_same_wheel(built: Built) -> None:
    straight, round_about = contents(built.wheel), contents(built.wheel_of_sdist)
    assert set(straight) == set(round_about)
    assert {n: c for n, c in straight.items() if not n.endswith("RECORD")} == {
        n: c for n, c in round_about.items() if not n.endswith("RECORD")
    }


@pytest.mark.slow
def test_the_source_archive_holds_what_is_needed_to_test_it(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    wanted = {"pyproject.toml", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "uv.lock"}
    assert wanted <= names
    assert {"mcp.json", "server/wheel.py", "tests/conftest.py", "tools/doctor.py", "modes/fixture.py"} <= names
    assert not any("__pycache__" in name or name.startswith(".venv") for name in names)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an empty environment with the wheel in it, and of all that is installed here only what the
    wheel says it needs: nothing for development, and nothing from the network.
    """
    place = tmp_path_factory.mktemp("installed") / "venv"
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    install = ("install", "--quiet", "--no-index", "--no-deps", built.wheel_of_sdist)
    if UV:
        run(UV, "venv", "--quiet", "--python", sys.executable, place)
        run(UV, "pip", *install, "--python", scripts / "python")
    else:
        run(sys.executable, "-m", "venv", place)
        run(scripts / "python", "-m", "pip", "--disable-pip-version-check", *install)
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(scripts / "python", "-I", "-c", purelib).strip())
    metadata = Parser().parsestr(contents(built.wheel)[f"{NAME}.dist-info/METADATA"].decode())
    for needed in closure(metadata.get_all("Requires-Dist") or []):
        for file in needed.files or ():
            lend(Path(str(needed.locate_file(file))), site / file)
    return scripts


def closure(requirements: list[str]) -> list[Distribution]:
    """The distributions of this environment that are needed for some requirements."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(text, "") for text in requirements]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if (text, extra) in seen or not (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add((text, extra))
        needed = found.setdefault(canonicalize_name(requirement.name), distribution(requirement.name))
        assert needed.version in requirement.specifier, f"{text}, and {needed.version} is installed"
        waiting += [(inner, wanted) for inner in needed.requires or () for wanted in ("", *requirement.extras)]
    return list(found.values())


def lend(file: Path, to: Path) -> None:
    """Link a file, and what it was compiled to; scripts, which lie elsewhere, start another Python and are no use."""
    if not file.exists() or ".." in to.parts:
        return
    compiled = Path(cache_from_source(str(file))) if file.suffix == ".py" else file
    for source, target in ((file, to), (compiled, to.parent / compiled.relative_to(file.parent))):
        if source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installation_has_the_capabilities_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, lakehouse.catalogue as c\n"
        "found = c.Catalogue()\n"
        "print(json.dumps([c.__file__, {n: [x.input_schema, x.description] for n, x in found.items()}]))\n"
    )
    place, found = json.loads(run(installed / "python", "-I", "-c", code, cwd=tmp_path))
    assert Path(place).is_relative_to(installed.parent)
    assert found == {n: [c.input_schema, c.description] for n, c in Catalogue().items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installation_is_sound(installed: Path, tmp_path: Path) -> None:
    """The doctor's own words on it; with every package imported from that environment."""
    home = tmp_path / "home"
    report = json.loads(run(installed / "lakehouse", "--home", home, "--json", "doctor", cwd=tmp_path))
    assert report["ok"], report
    assert "dev: not installed" in next(c["detail"] for c in report["checks"] if c["name"] == "extras")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wire_of_an_installation(installed: Path) -> None:
    """Some of the wire tests again, against the script in the empty environment: both eras, a file, flags, signals."""
    script = shlex.quote(str(installed / "lakehouse"))
    some = "initialize or era_without or file_to_rows or flags or signals"
    said = run(*WIRE, "-k", some, cwd=ROOT, env=os.environ | {"LAKEHOUSE_TEST_COMMAND": script})
    assert "6 passed" in said, said


@pytest.mark.slow
def test_the_wire_tests_start_what_they_are_told(tmp_path: Path) -> None:
    """Otherwise the test above would test this checkout."""
    asked = tmp_path / "asked"
    command = shlex.join([sys.executable, "-c", f"open({str(asked)!r}, 'w')"])
    ran = subprocess.run(
        [*WIRE, "-x"], cwd=ROOT, env=os.environ | {"LAKEHOUSE_TEST_COMMAND": command}, capture_output=True
    )
    assert ran.returncode == 1
    assert asked.exists()


def pins(environment: dict[str, str]) -> dict[str, str]:
    """What constraints.txt holds for a platform."""
    found: dict[str, str] = {}
    for line in PINNED.splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in found, f"{requirement.name} is pinned twice"
            found[requirement.name] = str(requirement.specifier).removeprefix("==")
    return found


def locked(environment: dict[str, str]) -> dict[str, str]:
    """What uv.lock would install on a platform, without the extras: everything reachable from us."""
    packages = {(p["name"], p["version"]): p for p in LOCK["package"]}
    versions: dict[str, list[str]] = {}
    for name, version in packages:
        versions.setdefault(name, []).append(version)
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [({"name": "lakehouse-mcp"}, "")]
    while waiting:
        edge, extra = waiting.pop()
        name = edge["name"]
        version = edge.get("version") or versions[name][0]
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[name] = version
        package = packages[name, version]
        edges = package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
        for inner in edges:
            if "marker" not in inner or Marker(inner["marker"]).evaluate(environment):
                waiting += [(inner, wanted) for wanted in ("", *inner.get("extra", ()))]
    del found["lakehouse-mcp"]
    return found


@pytest.mark.parametrize("python", ["3.11.9", "3.12.4", "3.13.1"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_constraints_are_the_lock(python: str, system: str) -> None:
    """Both set-ups install the same versions, on every platform."""
    version = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    environment = {k: str(v) for k, v in default_environment().items()} | SYSTEMS[system] | version
    assert pins(environment) == locked(environment)


def test_the_lock_is_of_this_project() -> None:
    """Whoever changes a dependency locks again."""
    (ours,) = (p for p in LOCK["package"] if p["name"] == "lakehouse-mcp")
    assert ours["version"] == PROJECT["version"]
    extras = PROJECT["optional-dependencies"]
    wanted = {
        (canonicalize_name((r := Requirement(text)).name), str(r.specifier), "") for text in PROJECT["dependencies"]
    }
    for extra, texts in extras.items():
        wanted |= {(canonicalize_name((r := Requirement(text)).name), str(r.specifier), extra) for text in texts}
    found = {
        (r["name"], r.get("specifier", ""), (r.get("marker", "").partition("extra == '")[2]).rstrip("'"))
        for r in ours["metadata"]["requires-dist"]
    }
    assert {(n, frozenset(s.split(",")), e) for n, s, e in found} == {
        (n, frozenset(s.split(",")), e) for n, s, e in wanted
    }


@pytest.mark.skipif(UV is None, reason="uv is not installed; the two tests above read the files instead")
def test_constraints_are_what_uv_exports() -> None:
    assert UV
    assert run(UV, "export", "--frozen", "--offline", *EXPORT, cwd=ROOT) == PINNED
