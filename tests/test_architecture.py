"""The rules of the house, checked by reading the source."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.observe import EVENTS
from lakehouse.sources import plugin_files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "server" / "lakehouse"
FOLDERS = ("server", "tools", "modes", "corpora", "bench", "tests")
SOURCES = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))]
OURS = sorted(PACKAGE.rglob("*.py"))
PLUGINS = plugin_files(())
LEVELS = "debug|info|warning|error|exception|critical"
# What takes long to load, and the faces' own libraries: none of it before somebody needs it.
HEAVY = (
    "duckdb pyarrow numpy usearch numkong litellm onnxruntime tokenizers obstore sqlite_utils httpx mcp starlette "
    "uvicorn yaml rich click"
).split()
# What a part may import of ours, by the first folder or file below lakehouse/. `lakehouse` itself is the public names.
ARROWS = {
    "errors": set(),
    "sources": {"errors"},
    "config": {"config", "errors", "sources"},
    "schema": set(),
    "preview": set(),
    "observe": set(),
    "transfer": {"config"},
    "declare": {"config", "schema", "transfer"},
    "attach": {"attach", "errors", "observe", "preview", "transfer"},
    "stdout": set(),
    "verified": {"errors"},
    "offered": {"engine", "errors", "sources"},
    "catalogue": {"catalogue", "declare", "errors", "observe", "offered", "sources", "stdout", "verified"},
    "rendered": {"", "catalogue", "declare", "errors", "observe", "sources"},
    "engine": {"engine", "config", "errors", "verified"},
    "lake": {
        *("lake", "attach", "catalogue", "declare", "config", "observe", "errors", "engine", "preview", "sources"),
        "transfer",
    },
    # What faces show beside the catalogue: uses of the open lake, not faces.
    "project": {"errors"},
    "demo": {"catalogue", "errors", "lake", "sources"},
    "staffing": {"catalogue", "engine", "errors", "lake", "sources"},
    "measure": {"", "demo", "lake"},
    "faces": {
        *("faces", "lake", "catalogue", "declare", "errors", "config", "observe", "schema", ""),
        *("rendered", "sources", "preview", "project", "demo", "measure", "transfer", "stdout"),
    },
    "__init__": {"declare", "errors", "lake", "transfer"},
    "__main__": {"faces"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Every module a file names in an import, wherever in the file it stands; `from lakehouse import x` as both."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            if node.module == "lakehouse":
                yield from (_submodule(name.name) for name in node.names)
            else:
                yield node.module or ""


def _submodule(name: str) -> str:
    is_module = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    return f"lakehouse.{name}" if is_module else "lakehouse"


def parts(path: Path) -> set[str]:
    """The parts of ours a file imports; "" is the public names."""
    found = [name.split(".") for name in imports(path)]
    return {name[1] if len(name) > 1 else "" for name in found if name[0] == "lakehouse"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_fits_in_the_head_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring or (path.name == "__init__.py" and not text), "the first line says what the file is for"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_are_nouns(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "manager", "base", "misc", "core"}


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_arrows(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in ARROWS, f"{part} is new: say here what it may import"
    wrong = parts(path) - ARROWS[part]
    assert not wrong, f"{name_of(path)} may not import {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("path", PLUGINS, ids=name_of)
def test_plugins_import_public_names_and_the_engine(path: Path) -> None:
    """Tools and modes are loaded by file and cannot import each other; what they share belongs in the engine."""
    assert parts(path) <= {"", "engine"}
    assert not {name.split(".")[0] for name in imports(path)} & {"tools", "modes", "workflows", "corpora"}


def test_faces_name_no_capability() -> None:
    """A face shows whatever the catalogue holds; it is not written for one tool."""
    for path in sorted((PACKAGE / "faces").rglob("*.py")):
        assert not any(
            name.startswith(("lakehouse.engine", "lakehouse.tools", "lakehouse.modes")) for name in imports(path)
        )


def undocumented(path: Path) -> Iterator[str]:
    """Public functions and classes without a docstring; properties and overrides of libraries' hooks included."""
    for node in _public(ast.parse(path.read_text(encoding="utf-8")).body):
        if not ast.get_docstring(node):
            yield node.name
        for inner in _public(node.body) if isinstance(node, ast.ClassDef) else ():
            if len(inner.body) > 1 and not ast.get_docstring(inner):
                yield f"{node.name}.{inner.name}"


def _public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("path", [*OURS, *PLUGINS], ids=name_of)
def test_public_names_are_documented(path: Path) -> None:
    """One-line methods may speak for themselves; functions and classes say what they do."""
    assert list(undocumented(path)) == []


def test_log_events_are_declared() -> None:
    """Every log line begins with a name from observe.EVENTS, and every name there is used."""
    emitted: set[str] = set()
    for path in OURS:
        text = path.read_text(encoding="utf-8")
        calls = re.findall(rf"\blog\.({LEVELS})\(\s*(.{{0,40}})", text)
        for _, start in calls:
            named = re.match(r'f?"([a-z_]+\.[a-z_]+)[ "]', start)
            assert named, f"{name_of(path)}: log line without an event name: {start}"
            emitted.add(named[1])
    assert emitted == set(EVENTS)


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after running some code."""
    tail = "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    ran = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_declarations_load_nothing_heavy() -> None:
    """A-S1-5. The lake, every tool and every schema, without a database, a model or a server library."""
    code = (
        "import lakehouse.lake\n"
        "from lakehouse.catalogue import Catalogue\n"
        "for c in Catalogue().values():\n"
        "    c.arguments\n"
        "    if c.public: c.input_schema, c.output_schema\n"
    )
    assert loaded_by(code) & set(HEAVY) == set()


def test_the_tools_of_workflows_load_no_runner() -> None:
    """A third of what their package takes to load; every command that runs no workflow would wait for it."""
    loaded_by(
        "import sys\n"
        "from lakehouse.catalogue import Catalogue\n"
        "for c in Catalogue().values():\n"
        "    c.arguments\n"
        "    if c.public: c.output_schema\n"
        "parts = {'part', 'language', 'checks', 'processes', 'running.kinds', 'running.live', 'triggers.due'}\n"
        "found = {part for part in parts if f'lakehouse.engine.workflows.{part}' in sys.modules}\n"
        "assert not found, found\n"
    )


def test_help_loads_next_to_nothing() -> None:
    """`lakehouse --help` is a matter of a tenth of a second; pydantic or mcp alone would double it.

    The first run renders the catalogue and keeps it; the second one is what people meet.
    """
    code = (
        "import sys\n"
        "from lakehouse.faces.cli import main\n"
        "sys.argv = ['lakehouse', '--help']\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code, done.code\n"
    )
    loaded_by(code)
    assert loaded_by(code) & {"pydantic", "mcp", "anyio", "duckdb", "pyarrow", "numpy", "litellm"} == set()


def test_imports_are_seen_wherever_they_stand(tmp_path: Path) -> None:
    """In functions, for the type checker only, and as a name of the package."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "from typing import TYPE_CHECKING\n"
        "from lakehouse import Lakehouse, config\n"
        "if TYPE_CHECKING:\n    from lakehouse.engine.sql import Sql\n"
        "def f():\n    import lakehouse.lake\n",
        encoding="utf-8",
    )
    assert parts(probe) == {"", "config", "engine", "lake"}
