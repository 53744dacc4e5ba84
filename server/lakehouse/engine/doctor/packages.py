"""Whether Python and the packages Lakehouse needs are there, of the right versions, and load."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Sequence

import anyio
import anyio.to_thread
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lakehouse.engine.doctor.check import Check, bad, good

DISTRIBUTION = "lakehouse-mcp"
# litellm alone takes 4 to 10 s.
IMPORT_SECS = 120.0
_MODULES = {"pyyaml": "yaml"}
# Each name is told before its import, so that one that takes the process down is known.
_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("!", type(error).__name__, *str(error).split(), flush=True)
"""


def version() -> str:
    """The installed version of Lakehouse."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_python() -> list[Check]:
    """Whether this Python is one Lakehouse runs on."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"]
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return good("python", found)
    return bad("python", f"{found} is not {wanted}.", f"Install Lakehouse into a Python {wanted}.")


def _requirements(extra: str = "") -> list[Requirement]:
    """What this platform needs of other packages; with an extra, what that alone needs."""
    found = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or ()]
    always = [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [r for r in found if r not in always and r.marker and r.marker.evaluate({"extra": extra})]


def _installed(requirement: Requirement) -> str | None:
    try:
        return importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _mismatch(requirement: Requirement, version: str | None) -> str:
    """What is wrong with the installed version; empty when nothing is."""
    if version is None:
        return "it is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"version {version} is installed, {requirement.specifier} is needed"


async def check_packages(idle: Collection[str] = ()) -> list[Check]:
    """Whether every package this platform needs is there, of a version that fits, and can be imported.

    `idle` are modules that nothing configured uses: they are looked at, and not imported.
    """
    try:
        needed = await anyio.to_thread.run_sync(_requirements)
    except importlib.metadata.PackageNotFoundError:
        return bad("packages", f"{DISTRIBUTION} itself is not installed.", f"pip install {DISTRIBUTION}")
    modules = {_MODULES.get(r.name.lower(), r.name.replace("-", "_")): r for r in needed}
    versions = await anyio.to_thread.run_sync(lambda: {m: _installed(r) for m, r in modules.items()})
    wrong = {m: _mismatch(r, versions[m]) for m, r in modules.items() if _mismatch(r, versions[m])}
    wrong |= await _failed_imports([m for m in modules if m not in wrong and m not in idle])
    if not wrong:
        return good("packages", ", ".join(f"{r.name} {versions[m]}" for m, r in modules.items()))
    return [
        check
        for module, text in wrong.items()
        for check in bad(
            f"package {modules[module].name}", f"{text}.", f'pip install --force-reinstall "{modules[module]}"'
        )
    ]


async def _failed_imports(modules: Sequence[str]) -> dict[str, str]:
    """The modules that cannot be imported, and why. A child does it: a bad library may take its process down."""
    failed: dict[str, str] = {}
    rest = list(modules)
    while rest:
        with anyio.move_on_after(IMPORT_SECS) as limit:
            ran = await anyio.run_process(
                [sys.executable, "-I", "-c", _IMPORTS, *rest],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"},
            )
        if limit.cancelled_caught:
            return failed | {rest[-1]: f"importing it and those before it took over {IMPORT_SECS:g} s"}
        reached = ""
        for line in ran.stdout.decode(errors="replace").splitlines():
            if line in rest:
                reached = line
            elif line.startswith("! ") and reached:
                failed[reached] = f"it cannot be imported: {line[2:302]}"
        if ran.returncode == 0:
            break
        failed[reached or rest[0]] = f"importing it ends the process (exit status {ran.returncode})"
        rest = rest[rest.index(reached or rest[0]) + 1 :]
    return failed


def check_extras() -> list[Check]:
    """Which optional parts are installed. None of them has to be."""
    try:
        names = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
        absent = {n: any(_mismatch(r, _installed(r)) for r in _requirements(n)) for n in names}
    except importlib.metadata.PackageNotFoundError:
        return []  # the check of packages says so
    words = ", ".join(f"{name}: {'not installed' if absent[name] else 'installed'}" for name in names)
    fixes = " ".join(f"For {name}: pip install '{DISTRIBUTION}[{name}]'." for name in names if absent[name])
    return [Check(name="extras", ok=True, required=False, detail=words or "there are none", fix=fixes)]
