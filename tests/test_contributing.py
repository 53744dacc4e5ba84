"""CONTRIBUTING.md holds: whoever follows it line by line has a tool on every face, in a folder and as a package.

Its files are written and its commands run as they stand there; only the port is one that is free.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.e2e.serving import free_port, serving

import lakehouse

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> list[tuple[str, str, str]]:
    """The blocks below a heading: language, file, contents."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^##+ )", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return [(kind, file, text) for kind, file, text in BLOCK.findall(found[1])]


class Reader:
    """Somebody who follows the text in a folder, with the scripts of this installation on the PATH."""

    def __init__(self, folder: Path, scripts: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        path = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
        self.environment["HOME"] = str(folder / "home")  # a client hands no other variable on to what it starts

    def follow(self, blocks: list[tuple[str, str, str]]) -> list[str]:
        """Write the files, run the commands; what these said."""
        said = []
        for kind, file, text in blocks:
            if file:
                path = self.folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            for line in text.splitlines() if kind == "console" else ():
                said.append(self.run(line.removeprefix("$ ").replace(":3110", f":{self.port}")))
        return said

    def run(self, line: str) -> str:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


@pytest.fixture
def reader(tmp_path: Path, scripts: Path) -> Reader:
    folder = tmp_path / "reader"
    (folder / "home").mkdir(parents=True)
    return Reader(folder, scripts, free_port())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("curl"), reason="the text's commands are bash and curl")
def test_a_tool_in_five_minutes(reader: Reader, command: list[str], home: Path) -> None:
    """A tool and a mode in a folder that the config names: command line, MCP, HTTP, Python."""
    blocks = section("Write a tool in five minutes")
    over_http = next(i for i, (_, _, text) in enumerate(blocks) if "curl" in text)
    said = reader.follow(blocks[:over_http])
    assert re.search(r"to\s+2\n", said[1]) and re.search(r"be\s+2\n", said[1])
    assert json.loads(said[3]) == {"text": "loud"}
    assert "tidy.lower" in said[4]
    names, answer = said[6].splitlines()
    assert names == "['words_count', 'words_keep']"
    assert answer == "{'words': [{'word': 'to', 'times': 2}]}"
    configured = [*command, "--config", str(reader.folder / "words" / "lakehouse.toml")]
    with serving(configured, home, reader.port):
        counted, kept = reader.follow(blocks[over_http : over_http + 1])
        server = f"http://127.0.0.1:{reader.port}"
        described = reader.run(f"curl -fsS {server}/openapi.json")
        refused = reader.run(
            f"curl -s {server}/v1/call/tidy.lower -H 'Content-Type: application/json' -d '{{\"text\": \"LOUD\"}}'"
        )
    assert json.loads(counted)["words"][0] == {"word": "to", "times": 2}
    assert json.loads(kept) == {"key": "words/a"}
    assert json.loads(refused)["title"] == "not_found"
    assert list(json.loads(described)["paths"]["/v1/words"]) == ["post"] and "/v1/words/keep" in described
    (tested,) = reader.follow(blocks[over_http + 1 :])
    assert "1 passed" in tested


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the text's commands are bash")
def test_as_a_package(reader: Reader, command: list[str], home: Path) -> None:
    """A-S21-7: a real wheel, built and installed into a folder of its own; its tool and its mode are on every face."""
    for _, file, text in section("Write a tool in five minutes"):
        if file.startswith("words/"):
            (reader.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (reader.folder / file).write_text(text, encoding="utf-8")
    said = reader.follow(section("As a package"))
    assert json.loads(said[-1])["words"][0] == {"word": "to", "times": 2}
    site = str(reader.folder / "site")
    reader.environment["PYTHONPATH"] = site
    assert json.loads(reader.run('lakehouse call tidy.lower \'{"text": "LOUD"}\'')) == {"text": "loud"}
    assert "tidy.lower" in reader.run("lakehouse workflow modes --json")
    see = next(text for _, file, text in section("Write a tool in five minutes") if file == "see.py")
    started = f'args=["stdio"], env={{"PYTHONPATH": {site!r}}}'
    see = see.replace('args=["--config", "words/lakehouse.toml", "stdio"]', started)
    (reader.folder / "see.py").write_text(see, encoding="utf-8")
    assert reader.run("python see.py").splitlines()[0] == "['words_count', 'words_keep']"
    with serving(command, home, reader.port, PYTHONPATH=site):
        url = f"http://127.0.0.1:{reader.port}/v1/words"
        answer = reader.run(f"curl -fsS {url} -H 'Content-Type: application/json' -d '{{\"texts\": [\"a\"]}}'")
    assert json.loads(answer) == {"words": [{"word": "a", "times": 1}]}


def test_the_tool_of_the_repository_passes_its_test(tmp_path: Path, home: Path) -> None:
    """As told there: a file below tools/, and a test that goes through the door."""
    (_, tool, text), (_, _, test) = section("Into this repository")
    (tmp_path / tool).parent.mkdir(parents=True)
    (tmp_path / tool).write_text(text, encoding="utf-8")
    told: dict[str, Any] = {}
    exec(test, told)

    async def follow() -> None:
        async with lakehouse.open(home, overrides={"plugins.folders": [tmp_path]}) as lake:
            assert lake.catalogue.find("census_take").command == ["census", "take"]
            await told["test_it_counts_datasets_and_rows"](lake)

    anyio.run(follow)
