"""`lakehouse install`: the entry each client reads, in the file it reads, and nothing else changed there."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from lakehouse.errors import Conflict, InvalidInput
from lakehouse.faces import install as installing
from lakehouse.faces.cli import root
from lakehouse.faces.install import Wish, clients, install, shown
from lakehouse.faces.install.clients import CLIENTS


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home directory of the test's own."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    for name in ("XDG_CONFIG_HOME", "APPDATA", "CLAUDE_CONFIG_DIR", "LAKEHOUSE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


PLACES = {
    ("claude-desktop", "linux"): ".config/Claude/claude_desktop_config.json",
    ("claude-desktop", "darwin"): "Library/Application Support/Claude/claude_desktop_config.json",
    ("claude-desktop", "win32"): "AppData/Roaming/Claude/claude_desktop_config.json",
    ("claude-code", "linux"): ".claude.json",
    ("claude-code", "darwin"): ".claude.json",
    ("claude-code", "win32"): ".claude.json",
    ("cursor", "linux"): ".cursor/mcp.json",
    ("cursor", "darwin"): ".cursor/mcp.json",
    ("cursor", "win32"): ".cursor/mcp.json",
    ("vscode", "linux"): ".config/Code/User/mcp.json",
    ("vscode", "darwin"): "Library/Application Support/Code/User/mcp.json",
    ("vscode", "win32"): "AppData/Roaming/Code/User/mcp.json",
}


@pytest.mark.parametrize(("client", "system"), PLACES, ids=lambda value: value)
def test_the_file_each_client_reads(user: Path, monkeypatch: pytest.MonkeyPatch, client: str, system: str) -> None:
    monkeypatch.setattr(clients.sys, "platform", system)  # type: ignore[attr-defined]
    assert CLIENTS[client].file() == user / PLACES[client, system]


def test_folders_that_are_elsewhere(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(user / "claude"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user / "settings"))
    monkeypatch.setattr(clients.sys, "platform", "linux")  # type: ignore[attr-defined]
    assert CLIENTS["claude-code"].file() == user / "claude" / ".claude.json"
    assert CLIENTS["claude-desktop"].file() == user / "settings" / "Claude" / "claude_desktop_config.json"


def entry_in(file: Path, client: str, name: str = "lakehouse") -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8"))[CLIENTS[client].key][name])


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_written_starts(scripts: Path, user: Path, home: Path, tmp_path: Path, client: str) -> None:
    """Exactly the written command, as a desktop program starts it: without this shell's PATH and variables."""
    line = [
        str(scripts / "lakehouse"),
        "--home",
        "home",
        "install",
        client,
        "--toolsets",
        "sql",
        "--read-only",
        "--json",
    ]
    ran = await anyio.run_process(line, cwd=tmp_path, env=os.environ | {"HOME": str(user)})
    told = json.loads(ran.stdout)
    entry = entry_in(Path(told["file"]), client)
    assert told["written"] and told["next"] and Path(entry["command"]).is_absolute()
    assert entry["args"] == ["--home", str(tmp_path / "home"), "stdio", "--toolsets", "sql", "--read-only"]
    assert ("type" in entry) == (client != "claude-desktop")
    environment = {"PATH": "/nowhere", "HOME": str(user), "LAKEHOUSE_CACHE": str(tmp_path / "cache")}
    started = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment, cwd="/")
    with anyio.fail_after(60):
        async with Client(stdio_client(started)) as session:
            tools = {tool.name for tool in (await session.list_tools()).tools}
            assert "query_sql" in tools and "add_vectors" not in tools
            assert not (await session.call_tool("list_datasets", {})).is_error
    assert (tmp_path / "home").is_dir()


def test_the_python_of_this_installation_where_there_is_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/lakehouse/__main__.py"])
    assert shown("cursor", Wish())["mcpServers"]["lakehouse"]["command"] == os.path.abspath(sys.executable)
    assert shown("cursor", Wish())["mcpServers"]["lakehouse"]["args"] == ["-m", "lakehouse", "stdio"]


def test_a_command_that_will_be_gone_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`uvx` runs from a cache."""
    script = tmp_path / "uv" / "archive-v0" / "x1" / "bin" / "lakehouse"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    with pytest.raises(InvalidInput, match="uv's cache"):
        install("cursor", Wish())


def test_a_data_directory_that_only_the_shell_knows_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desktop program has none of the shell's variables: it would open another directory."""
    monkeypatch.setenv("LAKEHOUSE_HOME", "/data/lake")
    monkeypatch.setenv("LAKEHOUSE_CONFIG", "/data/lake.toml")
    monkeypatch.setattr(sys, "argv", ["-c"])
    arguments = shown("cursor", Wish())["mcpServers"]["lakehouse"]["args"]
    assert arguments == ["-m", "lakehouse", "--home", "/data/lake", "--config", "/data/lake.toml", "stdio"]


HTTP = {
    "claude-code": {"type": "http", "url": "URL", "headers": {"Authorization": "Bearer ${LAKEHOUSE_TOKEN}"}},
    "cursor": {"url": "URL", "headers": {"Authorization": "Bearer ${env:LAKEHOUSE_TOKEN}"}},
    "vscode": {"type": "http", "url": "URL", "headers": {"Authorization": "Bearer ${input:lakehouse-http-token}"}},
}


@pytest.mark.parametrize("client", HTTP)
def test_a_running_server(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is named where one is wanted, and written nowhere."""
    key = CLIENTS[client].key
    plain = shown(client, Wish(http=""))[key]["lakehouse-http"]
    assert plain == {k: v for k, v in HTTP[client].items() if k == "type"} | {"url": "http://127.0.0.1:3110/mcp"}
    monkeypatch.setenv("LAKEHOUSE_AUTH__TOKEN", "s3cret-token")
    ours = shown(client, Wish(http="", toolsets="sql,core", read_only=True))
    assert ours[key]["lakehouse-http"] == HTTP[client] | {
        "url": "http://127.0.0.1:3110/mcp?toolsets=sql,core&read_only=true"
    }
    assert "s3cret" not in str(ours)
    monkeypatch.delenv("LAKEHOUSE_AUTH__TOKEN")
    told = install(client, Wish(http="https://lake.example.com"))
    assert told["entry"] == HTTP[client] | {"url": "https://lake.example.com/mcp"}
    written = json.loads(Path(told["file"]).read_text("utf-8"))
    assert written == shown(client, Wish(http="https://lake.example.com"))
    if client == "vscode":
        assert [(i["id"], i["password"]) for i in written["inputs"]] == [("lakehouse-http-token", True)]
    else:
        assert "LAKEHOUSE_TOKEN" in told["next"]
    before = Path(told["file"]).read_bytes()
    assert not install(client, Wish(http="https://lake.example.com"))["written"]
    assert Path(told["file"]).read_bytes() == before


def test_claude_desktop_takes_no_http_but_a_gateway() -> None:
    with pytest.raises(InvalidInput, match="--gateway URL"):
        install("claude-desktop", Wish(http=""))
    arguments = shown("claude-desktop", Wish(gateway="http://127.0.0.1:3110"))["mcpServers"]["lakehouse"]["args"]
    assert arguments[-3:] == ["stdio", "--gateway", "http://127.0.0.1:3110"]
    for wrong in (
        Wish(gateway="127.0.0.1"),
        Wish(http="", gateway="http://x"),
        Wish(name="a b"),
        Wish(http="x"),
        Wish(toolsets="sql,cor"),
    ):
        with pytest.raises(InvalidInput):
            install("cursor", wrong)


@pytest.mark.parametrize(("client", "file"), [(n, c.project_file) for n, c in CLIENTS.items() if c.project_file])
def test_for_one_project(tmp_path: Path, user: Path, client: str, file: str) -> None:
    told = install(client, Wish(project=str(tmp_path)))
    assert told["file"] == str(tmp_path / file)
    assert entry_in(tmp_path / file, client)["args"][-1] == "stdio" and not any(user.iterdir())
    with pytest.raises(InvalidInput, match="there is no folder"):
        install(client, Wish(project=str(tmp_path / "absent")))


def test_claude_desktop_has_no_projects(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--project"):
        install("claude-desktop", Wish(project=str(tmp_path)))


@pytest.fixture
def file(user: Path) -> Path:
    """Cursor's file, with another server in it."""
    path = user / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_bytes(
        b'{\r\n\t"mcpServers": {\r\n\t\t"other": {"command": "x",  "args": []}\r\n\t},\r\n\t"n": 1.50\r\n}'
    )
    return path


def test_what_the_file_holds_stays(file: Path) -> None:
    os.chmod(file, 0o640)
    before = file.read_bytes()
    install("cursor", Wish())
    after = file.read_bytes()
    head, _, tail = before.partition(b"\r\n\t},")
    assert after.startswith(head + b',\r\n\t\t"lakehouse": {\r\n\t\t\t"type"') and after.endswith(b"\r\n\t}," + tail)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [p.name for p in file.parent.iterdir()] == ["mcp.json"]


def test_a_second_time_nothing_is_written(file: Path) -> None:
    install("cursor", Wish())
    before, state = file.read_bytes(), file.stat()
    told = install("cursor", Wish())
    assert not told["written"] and "already" in told["next"]
    assert file.read_bytes() == before and file.stat().st_mtime_ns == state.st_mtime_ns


def test_what_another_server_keeps_secret_is_not_shown(file: Path) -> None:
    other = {"command": "x", "env": {"KEY": "env-secret"}, "headers": {"Authorization": "header-secret"}}
    file.write_text(json.dumps({"mcpServers": {"lakehouse": other}}), "utf-8")
    with pytest.raises(Conflict) as refused:
        install("cursor", Wish())
    assert "secret" not in refused.value.detail and '"KEY"' in refused.value.detail and '"x"' in refused.value.detail


def test_another_server_of_the_name_is_kept_unless_told(file: Path) -> None:
    install("cursor", Wish())
    before = file.read_bytes()
    with pytest.raises(Conflict, match="has another server called lakehouse"):
        install("cursor", Wish(read_only=True))
    assert file.read_bytes() == before
    assert install("cursor", Wish(read_only=True, force=True))["written"]
    assert (
        entry_in(file, "cursor")["args"][-1] == "--read-only"
        and "other" in json.loads(file.read_text("utf-8"))["mcpServers"]
    )
    assert install("cursor", Wish(name="second"))["written"]
    assert list(json.loads(file.read_bytes())["mcpServers"]) == ["other", "lakehouse", "second"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_stays_a_link(file: Path, user: Path) -> None:
    file.rename(user / "kept.json")
    file.symlink_to(user / "kept.json")
    install("cursor", Wish())
    assert file.is_symlink() and "lakehouse" in (user / "kept.json").read_text("utf-8")
    (user / "kept.json").unlink()
    install("cursor", Wish())
    assert file.is_symlink() and list(json.loads((user / "kept.json").read_bytes())) == ["mcpServers"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"mcpServers": {},}',
        b'{"mcpServers": {} /* mine */}',
        b"{",
        b"\xff\xfe{\x00}\x00",
        b"[]",
        b'{"mcpServers": []}',
        b'{"mcpServers": null}',
        b'{"mcpServers": {}, "mcpServers": {}}',
    ],
)
def test_a_file_that_is_not_plain_is_left_alone(file: Path, content: bytes) -> None:
    """The error holds what to paste."""
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        install("cursor", Wish())
    assert str(file) in raised.value.detail
    snippet = raised.value.fix.partition("yourself: ")[2]
    assert json.loads("{" + snippet + "}") == shown("cursor", Wish())["mcpServers"]
    assert file.read_bytes() == content and [p.name for p in file.parent.iterdir()] == ["mcp.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_what_is_no_file_is_left_alone(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(InvalidInput, match="cannot be read"):
        install("cursor", Wish())
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InvalidInput, match="not a plain file"):
        install("cursor", Wish())
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way", "utf-8")
    with pytest.raises(InvalidInput):
        install("cursor", Wish())


def test_a_file_that_changes_meanwhile_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claude Code writes its own file at any time."""
    flush = os.fsync

    def changed(handle: int) -> None:
        flush(handle)
        file.write_bytes(b'{"newer": true}')

    monkeypatch.setattr(installing.os, "fsync", changed)  # type: ignore[attr-defined]
    with pytest.raises(Conflict, match="changed meanwhile"):
        install("cursor", Wish())
    assert file.read_bytes() == b'{"newer": true}' and [p.name for p in file.parent.iterdir()] == ["mcp.json"]


def test_on_the_command_line(user: Path) -> None:
    """What is printed can be pasted; an unknown client is a bad request that names the known ones."""
    ran = CliRunner().invoke(root, ["install", "vscode", "--print", "--http", "--name", "lake"])
    assert json.loads(ran.stdout) == {"servers": {"lake": {"type": "http", "url": "http://127.0.0.1:3110/mcp"}}}
    assert not any(user.iterdir())
    unknown = CliRunner().invoke(root, ["install", "notepad"])
    assert unknown.exit_code == 65 and all(name in unknown.output for name in CLIENTS)
    listed = subprocess.run(
        [sys.executable, "-m", "lakehouse", "install", "--help"], capture_output=True, text=True, check=True
    )
    assert all(name in listed.stdout for name in CLIENTS)
