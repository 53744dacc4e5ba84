"""README.md holds: what it shows runs, what it lists is all there is.

LAKEHOUSE_UPDATE=1 writes its generated tables anew.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import anyio
import pytest
from mcp import Client
from tests.doubles.s3 import S3
from tests.e2e.serving import free_port, serving

import lakehouse
from lakehouse import config
from lakehouse.catalogue import Catalogue
from lakehouse.declare import TOOLSETS
from lakehouse.engine.workflows.language import FEATURES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PLACES = {"root": "at the top", "kind": "a kind of node", "node": "of a node"}
UPDATE = bool(os.environ.get("LAKEHOUSE_UPDATE"))
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


def blocks(language: str, document: Path = README) -> list[tuple[str, str]]:
    """The fenced blocks of a language, each with the file it is meant for, if any."""
    found = BLOCK.findall(document.read_text(encoding="utf-8"))
    return [(file, text) for kind, file, text in found if kind == language]


def commands() -> list[str]:
    """What is typed into a shell, but for the requests to a server that must run."""
    lines = [line for _, text in blocks("console") for line in text.splitlines()]
    return [line.removeprefix("$ ") for line in lines if not line.startswith("$ curl")]


def requests(port: int) -> list[str]:
    """The requests to a server, at the port where it is."""
    lines = [line.removeprefix("$ ") for _, text in blocks("console") for line in text.splitlines()]
    return [line.replace(":3110", f":{port}") for line in lines if line.startswith("curl")]


def in_shell(line: str, folder: Path, scripts: Path, **environment: str) -> str:
    path = os.pathsep.join([str(scripts), os.environ["PATH"]])
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path, scripts: Path, command: list[str]) -> None:
    """A file becomes a table, a question rows, and plain words find the right record.

    After the first search a server owns the data, and the commands ask it: each alone would load the model anew.
    """
    (definition,) = [text for file, text in blocks("yaml") if file == "corpora/titles.yaml"]
    owned = tmp_path / "default-home"
    path = owned / "corpora" / "titles.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(definition, encoding="utf-8")
    lines = commands()
    assert len(lines) == 20
    said = [in_shell(line, tmp_path, scripts) for line in lines[:5]]
    for some in (lines[5:14], lines[14:]):  # a saved query is a command from the next start on
        with serving(command, owned, free_port(), LAKEHOUSE_EMBED__PROVIDER="bundled"):
            said += [in_shell(line, tmp_path, scripts) for line in some]
    assert json.loads(said[2])["rows"] == [["29-1141.00", "Nurse"], ["53-7051.00", "Forklift driver"]]
    assert [hit["id"] for hit in json.loads(said[4])["results"]] == ["53-7051.00"]
    assert "added: 1" in said[8] and json.loads(said[9])["rows"] == [[3 * 2]]
    assert (tmp_path / "jobs.parquet").exists() and "row_count: 2" in said[12]
    assert json.loads(said[14])["rows"] == [["53-7051.00", "Forklift driver", "Moves pallets with a lift truck"]]
    assert "titles" in said[15]
    assert "count: 2" in said[16] and "count: 1" in said[17]
    assert json.loads(said[19])["playbook_boosted"] == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="the text's commands are curl")
def test_the_server_answers(tmp_path: Path, scripts: Path, command: list[str], home: Path) -> None:
    """Over HTTP: SQL, a file, MCP, and what is said of tokens and of 421."""
    for line in commands()[:2]:
        in_shell(line, tmp_path, scripts, LAKEHOUSE_HOME=str(home))
    port, token = free_port(), "it-is-me"
    server = f"http://127.0.0.1:{port}"
    asked = requests(port)

    async def toolset() -> list[str]:
        async with Client(f"{server}/mcp?toolsets=sql") as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    with serving(command, home, port):
        rows, more, listed = [
            json.loads(in_shell(line, tmp_path, scripts, LAKEHOUSE_AUTH__TOKEN=token)) for line in asked
        ]
        assert rows["rows"] == [[2]] and more["row_count"] == 2
        assert [entry["name"] for entry in listed["manifests"]] == ["jobs", "more"]
        assert "query_sql" in anyio.run(toolset) and "storage_put" not in anyio.run(toolset)
        for path in ("openapi.json", "health", "ready", "metrics"):
            in_shell(f"curl -fsS {server}/{path}", tmp_path, scripts)
        status = "curl -s -o answer -w '%{http_code}' "
        assert in_shell(f"{status} -H 'Host: evil' {server}/v1/catalog/list", tmp_path, scripts) == "421"
        assert "server.allowed_hosts" in (tmp_path / "answer").read_text("utf-8")
    with serving(command, home, port, LAKEHOUSE_AUTH__TOKEN=token):
        assert in_shell(f"{status} {server}/v1/catalog/list", tmp_path, scripts) == "401"
        assert json.loads(in_shell(asked[2], tmp_path, scripts, LAKEHOUSE_AUTH__TOKEN=token)) == listed


@pytest.mark.slow
def test_the_data_lives_in_s3(tmp_path: Path, scripts: Path, moto: S3) -> None:
    """The two files as they are shown, with the address and the keys of a server of this machine."""
    files = {file: text for file, text in blocks("toml") if file}
    place = moto.place()
    settings = files["lakehouse.toml"].replace("s3://my-bucket/lake", place)
    settings = settings.replace('"https://s3.example.com"', f'"{moto.endpoint}"\nallow_http = true')
    (tmp_path / "lakehouse.toml").write_text(settings + 'secrets = "secrets.toml"\n', encoding="utf-8")
    (tmp_path / "secrets.toml").write_text(files["secrets.toml"].replace("…", "x"), encoding="utf-8")
    (tmp_path / "secrets.toml").chmod(0o600)
    in_shell(commands()[0], tmp_path, scripts)
    in_shell("lakehouse --config lakehouse.toml --home here ingest jobs.csv --name jobs", tmp_path, scripts)
    said = in_shell("lakehouse --config lakehouse.toml --home there --json sql 'FROM jobs'", tmp_path, scripts)
    assert json.loads(said)["row_count"] == 2
    assert not (tmp_path / "here" / "objects").exists()


def test_the_settings_of_an_open_server_are_settings(tmp_path: Path) -> None:
    (shown,) = [text for file, text in blocks("toml") if not file and "[auth]" in text]
    (tmp_path / "lakehouse.toml").write_text(shown, encoding="utf-8")
    read = config.read(tmp_path).config
    assert [each.name for each in read.auth.tokens] == ["agents", "loader"] and read.server.bind == "0.0.0.0:3110"


@pytest.mark.slow
def test_the_program_runs(tmp_path: Path, scripts: Path) -> None:
    in_shell(commands()[0], tmp_path, scripts)
    ((_, program),) = [(file, text) for file, text in blocks("python") if not file]
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert ran.stdout.splitlines() == ["[['29-1141.00', 'Nurse'], ['53-7051.00', 'Forklift driver']]"]


def test_the_tool_works(tmp_path: Path, home: Path) -> None:
    ((file, text),) = [(file, text) for file, text in blocks("python") if file]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text, encoding="utf-8")

    async def call() -> object:
        async with lakehouse.open(home, overrides={"plugins.folders": [tmp_path]}) as lake:
            assert lake.catalogue.find("greet_hello").command == ["greet", "hello"]
            return await lake.call("greet.hello", {"name": "you"})

    assert anyio.run(call) == {"text": "Hello, you."}


@pytest.mark.slow
def test_the_query_works(tmp_path: Path, home: Path) -> None:
    ((file, text),) = [block for block in blocks("yaml") if block[0].startswith("queries/")]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text, encoding="utf-8")

    async def call() -> object:
        async with lakehouse.open(home, overrides={"plugins.folders": [tmp_path]}) as lake:
            await lake.call("verify_query", {"name": "squares"})
            return (await lake.call("queries_squares", {"most": 3}))["rows"]

    assert anyio.run(call) == [[1], [4], [9]]


def settled(text: str) -> str:
    """What is printed of a run, without what depends on how quick the machine is."""
    return re.sub(r"\d+ ms|\d\.\d s", "… ms", re.sub(r"^▶.*\n", "", text, flags=re.MULTILINE))


@pytest.mark.slow
def test_the_workflow_runs(tmp_path: Path, scripts: Path) -> None:
    """It is examined, rehearsed, run up to its gate, approved and shown."""
    ((file, text),) = [block for block in blocks("yaml") if block[0].startswith("workflows/")]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text, encoding="utf-8")
    ((_, shown),) = blocks("sh")
    lines = shown.splitlines()
    for line in commands()[:2]:
        in_shell(line, tmp_path, scripts)
    assert "ok" in in_shell(lines[0], tmp_path, scripts)
    assert "[advert]" in in_shell(lines[1], tmp_path, scripts)
    (printed,) = [text for _, text in blocks("text") if "ask asks" in text]
    told = in_shell(f"{lines[2]} 2>&1 || test $? = 4", tmp_path, scripts)
    assert settled(printed) in settled(told)
    paused = json.loads(in_shell("lakehouse workflow runs --status paused --json", tmp_path, scripts))["runs"][0]
    assert (
        in_shell(lines[3].replace("RUN", paused["run_id"]), tmp_path, scripts) == "Wanted: Nurse. Cares for the sick.\n"
    )
    told = json.loads(in_shell(lines[4].replace("RUN", paused["run_id"]), tmp_path, scripts))
    assert told["status"] == "completed" and told["timeline"]["waits"]
    assert len(lines) == 5


def test_the_host_entry_is_the_file() -> None:
    assert [json.loads(text) for _, text in blocks("json")] == [json.loads((ROOT / "mcp.json").read_text("utf-8"))]


@pytest.mark.parametrize("page", sorted(p.name for p in ROOT.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    for target in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def capabilities(catalogue: Catalogue) -> list[str]:
    """The tools by toolset, and the resources and prompts, as Markdown tables."""
    lines = [
        "A capability is `lakehouse` and its name as two words in the shell, its name in Python, a tool over MCP, and",
        "a route over HTTP, where `POST /v1/call/` and its name does, too; `/openapi.json` has the arguments.",
        "",
        row("toolsets", "capability", "MCP tool", "route", "effect", "what it does"),
        row(*["---"] * 6),
    ]
    for toolset in TOOLSETS:
        for c in sorted((c for c in catalogue.public() if c.facts.toolsets[0] == toolset), key=lambda c: c.name):
            toolsets = " ".join(c.facts.toolsets)
            route = f"`{c.method} {c.route.replace(':path}', '}')}`"
            about = first_sentence(c.description)
            lines.append(row(toolsets, f"`{c.name}`", f"`{c.mcp_name}`", route, c.effect, about))
    others = [(c.facts.uri, c) for c in catalogue.of("resource")]
    others += [(f"prompt `{c.mcp_name}`", c) for c in catalogue.of("prompt")]
    lines += ["", row("resource or prompt", "what it is"), row("---", "---")]
    for name, c in others:
        lines.append(row(name if name.startswith("prompt") else f"`{name}`", first_sentence(c.description)))
    return lines


def settings_table() -> list[str]:
    lines = [row("setting", "default", "meaning"), row(*["---"] * 3)]
    for entry in config.listing(config.defaults("/")):
        lines.append(row(f"`{entry['setting']}`", f"`{json.dumps(entry['value'])}`", entry["meaning"]))
    return lines


def language_table() -> list[str]:
    """What there is of the language of workflows, keys of one kind and tier beside each other."""
    lines = [row("where", "what", "tier", ""), row(*["---"] * 4)]
    for (where, tier, about), found in groupby(FEATURES, lambda one: (one.name.partition(".")[0], one.tier, one.about)):
        names = ", ".join(f"`{one.name.partition('.')[2]}`" for one in found)
        lines.append(row(PLACES.get(where, f"`{where}`"), names, f"`{tier}`", about))
    return lines


@pytest.mark.parametrize("name", ["capabilities", "settings", "language"])
def test_the_tables_are_current(name: str) -> None:
    document = ROOT / "workflows" / "README.md" if name == "language" else README
    made = {"capabilities": lambda: capabilities(Catalogue()), "settings": settings_table, "language": language_table}
    lines = made[name]()
    text = document.read_text(encoding="utf-8")
    begin, end = re.search(rf"<!-- {name}:.*?-->\n", text), f"<!-- /{name} -->"
    assert begin
    before, rest = text[: begin.end()], text[begin.end() :]
    wanted = "\n".join(["", *lines, "", ""]) + rest[rest.index(end) :]
    if UPDATE:
        document.write_text(before + wanted, encoding="utf-8")
    assert rest == wanted or UPDATE, "run LAKEHOUSE_UPDATE=1 pytest tests/test_readme.py"


def test_the_example_of_the_package() -> None:
    """`import lakehouse` says how it is used; the capability it names is there."""
    named = re.findall(r'lake\.call\("([\w.]+)"', lakehouse.__doc__ or "")
    assert named and set(named) <= set(Catalogue())
