"""The command line: derived commands, short words, the options of the whole line, exit codes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from lakehouse.catalogue import Catalogue
from lakehouse.errors import InvalidInput, LakehouseError, NotFound
from lakehouse.faces import cli, terminal
from lakehouse.faces.commands import Invocation, derived
from lakehouse.rendered import render

Run = Callable[..., Result]


@pytest.fixture
def run(home: Path, trial: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process, on a fresh data directory, with the trial tools loaded."""
    monkeypatch.setenv("LAKEHOUSE_PLUGINS__FOLDERS", str(trial))
    monkeypatch.setenv("LAKEHOUSE_EMBED__PROVIDER", "hash")

    def invoke(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(cli.root, ["--home", str(home), *arguments], input=input)

    return invoke


@pytest.mark.slow
def test_required_parameters_are_positional_and_the_rest_options(run: Run) -> None:
    assert json.loads(run("trial", "add", "1", "--json").stdout) == {"total": 3}
    assert json.loads(run("--json", "trial", "add", "1", "-b", "40").stdout) == {"total": 41}
    assert run("trial", "add", "1").stdout == "total: 3\n"


@pytest.mark.slow
def test_lists_and_objects_are_written_as_people_write_them(run: Run) -> None:
    assert json.loads(run("trial", "keep", "a", "b", "--options", "x=1,y=b,z=01", "--json").stdout) == {
        "items": ["a", "b"],
        "note": "{'x': 1, 'y': 'b', 'z': '01'}",  # a number is one, where it may be
    }
    for asked in (["SELECT $n + 1", "--params", "n=2"], ["SELECT ? + 1", "--params", "[2]"]):
        assert json.loads(run("sql", *asked, "--json").stdout)["rows"] == [[3]]
    kept = run("trial", "keep", "a", "--options", '{"x": [1]}', "--json")
    assert json.loads(kept.stdout)["note"] == "{'x': [1]}"
    assert run("trial", "keep", "a", "--options", "x").exit_code == InvalidInput.exit


@pytest.mark.slow
def test_a_line_that_cannot_be_understood_is_a_bad_request(run: Run) -> None:
    """Missing, mistyped and unknown arguments have the exit code of the error table here too, and its JSON."""
    for wrong in (["trial", "add"], ["trial", "add", "one"], ["trial", "add", "1", "--c", "2"], ["nothing"], ["sql"]):
        result = run(*wrong)
        assert result.exit_code == InvalidInput.exit and "Usage:" in result.stderr and not result.stdout
        said = run(*wrong, "--json").exception
        assert isinstance(said, InvalidInput) and "--help`" in said.fix, wrong


@pytest.mark.slow
def test_call_takes_any_name_and_json(run: Run) -> None:
    assert json.loads(run("call", "trial.add", '{"a": 1}').stdout) == {"total": 3}
    assert json.loads(run("call", "trial_add", "-", input='{"a": 5}').stdout) == {"total": 7}
    assert json.loads(run("call", "fixture.upper", '{"text": "x"}').stdout) == {"text": "X"}
    for name, arguments in (("trial.add", "{"), ("trial.add", "[]"), ("trial.add", '{"c": 1}'), ("trial.add", "{}")):
        assert isinstance(run("call", name, arguments).exception, InvalidInput)
    unknown = run("call", "trial.ad", "{}").exception
    assert isinstance(unknown, NotFound) and "trial.add" in unknown.fix


@pytest.mark.slow
def test_errors_go_to_stderr_with_their_exit_code(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for as_json in (False, True):
        line = ["lakehouse", "--home", str(home), "trial", "missing", *(["--json"] if as_json else [])]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == NotFound.exit
        out, err = capsys.readouterr()
        assert out == ""
        if as_json:
            assert json.loads(err)["type"] == "lakehouse:not_found"
        else:
            assert err == "error: there is no x.\n  There is nothing at all.\n"


def test_config_says_where_each_value_comes_from(run: Run, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "lakehouse.toml").write_text("[sql]\nmax_rows = 7\n", encoding="utf-8")
    shown = json.loads(run("config", "--json").stdout)
    values = {row["setting"]: (row["value"], row["origin"]) for row in shown["settings"]}
    assert values["sql.max_rows"] == (7, str(home / "lakehouse.toml"))
    assert values["embed.provider"] == ("hash", "LAKEHOUSE_EMBED__PROVIDER")
    assert values["sql.timeout_secs"] == (28.0, "default")
    said = run("config").stdout
    assert f"sql.max_rows = 7  ({home / 'lakehouse.toml'})\n" in said and "sql.workers = 2\n" in said


@pytest.mark.slow
def test_a_bad_setting_stops_every_command(run: Run, home: Path) -> None:
    """A-S3-2: the key is named, and the nearest known one."""
    home.mkdir(parents=True)
    (home / "lakehouse.toml").write_text("[sql]\nmax_row = 7\n", encoding="utf-8")
    error = run("trial", "add", "1").exception
    assert isinstance(error, InvalidInput) and "sql.max_row" in str(error) and "max_rows" in str(error)


@pytest.mark.slow
def test_init_writes_a_project_whose_tool_runs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    made = json.loads(run("init", str(folder), "--json").stdout)
    assert {"lakehouse.toml", "tools/greeting.py"} <= set(made["written"])
    monkeypatch.setenv("LAKEHOUSE_PLUGINS__FOLDERS", str(folder))
    assert json.loads(run("corpora", "check", "--json").stdout)["problems"] == 0
    built = json.loads(run("corpora", "build", "notes", "--json").stdout)
    assert built["added"] == 1
    again = run("init", str(folder)).exception
    assert isinstance(again, LakehouseError) and again.http == 409
    monkeypatch.delenv("LAKEHOUSE_PLUGINS__FOLDERS")
    line = [
        sys.executable,
        "-m",
        "lakehouse",
        "--home",
        str(tmp_path / "other"),
        "--config",
        str(folder / "lakehouse.toml"),
    ]
    ran = subprocess.run([*line, "greeting", "hello", "--name", "you", "--json"], capture_output=True, check=True)
    assert json.loads(ran.stdout) == {"text": "Hello, you."}


@pytest.mark.slow
def test_a_command_attaches_to_whoever_owns_the_data_directory(run: Run, home: Path) -> None:
    """S3.8. A tool that the owner was started without is told as such."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import anyio, lakehouse, sys\n"
            "async def main():\n"
            "    async with lakehouse.open(sys.argv[1], overrides={'plugins.folders': []}):\n"
            "        print('open', flush=True)\n"
            "        await anyio.sleep_forever()\n"
            "anyio.run(main)",
            str(home),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
        assert json.loads(run("call", "fixture.upper", '{"text": "x"}').stdout) == {"text": "X"}
        assert json.loads((home / "lake.owner.json").read_bytes())["pid"] == holder.pid
        unknown = run("trial", "add", "1").exception
        assert isinstance(unknown, NotFound) and f"process {holder.pid} " in unknown.detail
    finally:
        holder.kill()
        holder.communicate()
    assert run("trial", "add", "1").exit_code == 0


def test_a_first_argument_that_names_a_subcommand_wins_over_the_short_word() -> None:
    def tool(name: str, short: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
        schema = {"type": "object", "properties": properties, "required": required}
        return {
            "name": name,
            "command": name.split("."),
            "short": short,
            "description": name,
            "input_schema": schema,
        } | {"mcp_name": name.replace(".", "_"), "title": name}

    text = {"type": "string"}
    tools = [
        tool("sql.query", "sql SQL", {"sql": text}, ["sql"]),
        tool("matrix.find", "search QUERY_TEXT", {"query_text": text, "k": {"type": "integer"}}, []),
    ]
    top = derived({"tools": tools, "groups": {"sql": "SQL."}})
    group = top["sql"]
    assert group.meant(["SELECT 1"]).name == "sql"  # type: ignore[attr-defined]
    assert group.meant(["--json", "SELECT 1"]).name == "sql"  # type: ignore[attr-defined]
    assert group.meant(["query", "SELECT 1"]) is group  # type: ignore[attr-defined]
    assert [type(p).__name__ for p in top["search"].params[:2]] == ["Argument", "Option"]
    assert top["search"].params[1].opts == ["-k", "--k"]


def test_a_short_word_may_have_other_defaults() -> None:
    """They are in its help and in what it sends, and the person's own words win; the tool's own command is unmoved."""
    calls: list[dict[str, Any]] = []
    by = {"type": "string", "default": "meaning", "description": "How."}
    schema = {"type": "object", "properties": {"words": {"type": "string"}, "by": by}, "required": ["words"]}
    tool = {"name": "trial.find", "command": ["trial", "find"], "short": "look WORDS", "short_defaults": {"by": "both"}}
    tool |= {"description": "Find.", "input_schema": schema, "mcp_name": "trial_find", "title": "Find"}
    top = derived({"tools": [tool], "groups": {}})

    def sent(*words: str) -> dict[str, Any]:
        found: Any = top[words[0]]
        state = Invocation(None, None, False, None, lambda _, name, arguments: calls.append(arguments))
        result = CliRunner().invoke(found, words[1:], obj=state)
        assert result.exit_code == 0, result.output
        return calls[-1]

    assert sent("look", "x") == {"words": "x", "by": "both"}
    assert sent("look", "x", "--by", "words") == {"words": "x", "by": "words"}
    assert sent("trial", "find", "x") == {"words": "x"}
    assert "[default: both]" in CliRunner().invoke(top["look"], ["--help"]).output


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(
        {"columns": [{"name": "a"}, {"name": "b"}], "rows": [[1, "x\x1b[31m\n"], [None, [1]]], "row_count": 2},
        as_json=False,
    )
    out = capsys.readouterr().out
    assert "\x1b" not in out and "∅" in out and "[1]" in out and out.endswith("row_count: 2\n")
    terminal.show({"results": [{"id": "w-1", "distance": 0.5}], "count": 1}, as_json=False)
    out = capsys.readouterr().out
    assert "w-1" in out and "distance" in out and "count: 1" in out
    terminal.show({"columns": ["a", "b"], "rows": [[1, 2]]}, as_json=False)  # a plugin's own idea of a table
    assert capsys.readouterr().out == 'columns: ["a", "b"]\nrows: [[1, 2]]\n'


def test_a_table_too_wide_for_the_terminal_is_shown_a_record_at_a_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = {f"column_{n}": "long enough to be folded" for n in range(6)}
    monkeypatch.setenv("COLUMNS", "200")
    terminal.show({"results": [row, row]}, as_json=False)
    assert "─" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    terminal.show({"results": [row, row], "problems": []}, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == click.style("column_0", bold=True) + "  long enough to be folded"
    assert len(lines) == 14 and lines[6] == "" and not any("problems" in line for line in lines)


@pytest.mark.anyio
async def test_a_bar_is_shown_only_for_calls_that_report_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with terminal.progress_bar():
        pass
    assert capsys.readouterr() == ("", "")
    with terminal.progress_bar() as progress:
        assert progress is not None
        await progress(1, 2, "half way")
    out, err = capsys.readouterr()
    assert out == "" and "half way" in err


@pytest.mark.slow
def test_the_quick_bench_prints_every_reference_figure(command: list[str]) -> None:
    """A-S43-1: offline, and no gate fails at a quick size."""
    ran = subprocess.run([*command, "bench", "--quick", "--json"], capture_output=True, timeout=60, check=True)
    report = json.loads(ran.stdout)
    assert report["passed"] and report["machine"]["cores"] >= 1
    printed = " | ".join(f"{row['what']} {row['reference']}" for row in report["rows"])
    figures = (
        "3.12 s|209 MiB|45 ms|24 ms|47 ms|25 ms|170 us|7.5 ms|83.4 ms|G3.2.A|G3.2.B|50 ms|< 1 us|~1 s vs ~30 s|31-35 s"
    )
    assert [figure for figure in figures.split("|") if figure not in printed] == []
    assert all(row["ours"] for row in report["rows"])


@pytest.mark.slow
def test_advice_names_commands_to_people_and_tools_to_machines(command: list[str], home: Path) -> None:
    line = [*command, "--home", str(home), "search", "lorries"]
    said = subprocess.run(line, capture_output=True, text=True)
    assert said.returncode == NotFound.exit and "`lakehouse corpora build`" in said.stderr
    said = subprocess.run([*line, "--json"], capture_output=True, text=True)
    assert "build_corpus" in json.loads(said.stderr)["fix"]


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['lakehouse', '--help']\n"
        "from lakehouse.faces.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('pydantic', 'mcp', 'duckdb', 'pyarrow', 'litellm', 'numpy', 'rich') if m in sys.modules])"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # fills the cache
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ran.stdout.decode().splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_command_that_changes_a_dataset_ends_when_its_corpora_have_followed(run: Run, tmp_path: Path) -> None:
    """Its process may be the last for a while; by the next command only what is left of the rows is found."""
    (tmp_path / "jobs.csv").write_text("id,t\na,one\nb,two\n")
    assert run("ingest", str(tmp_path / "jobs.csv"), "--name", "jobs", "--embed", "t", "--id", "id").exit_code == 0
    assert run("rows", "delete", "jobs", "--where", "id = 'a'").exit_code == 0
    [listed] = json.loads(run("corpora", "list", "--json").stdout)["corpora"]
    assert (listed["count"], listed["standing"]["state"]) == (1, "current")


def test_objects_in_a_table_are_shown_by_what_says_most(capsys: pytest.CaptureFixture[str]) -> None:
    explained = {"by": "score", "addends": [{"name": "dense", "value": 1 / 61}, {"name": "playbook", "value": -0.25}]}
    corpus = {"corpus": "jobs", "ms": 1.5}
    rows = [
        {"a": {"text": "the words", "n": 1}, "b": explained},
        {"a": {"source": "dataset", "dataset": "jobs"}, "b": {"state": "current", "follows": True, "drift": []}},
        {"a": {"state": "IL", "pay": 21.5}, "b": {}},
    ]
    terminal.show({"results": rows, "count": 3, "explain": {"corpora": [corpus], "total_ms": 2.5}}, as_json=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [re.split("   +", line) for line in lines[2:5]] == [
        ["the words", "dense 0.0163934 + playbook -0.25"],
        ["dataset jobs", "state current, follows"],
        ["state IL, pay 21.5", "∅"],
    ]
    assert lines[5:8] == ["count: 3", "", "explain:"] and lines[8].split() == ["corpus", "ms"]
    assert lines[-1] == "total_ms: 2.5"
    terminal.show({"columns": [{"name": "s"}], "rows": [[{"text": "exact"}]]}, as_json=False)
    assert '{"text": "exact"}' in capsys.readouterr().out  # a value of SQL is what it is


def test_a_word_alone_is_the_first_argument_of_a_tool_that_needs_none() -> None:
    calls: list[dict[str, Any]] = []
    top = derived(render(Catalogue()))
    state = Invocation(None, None, False, None, lambda _, name, arguments: calls.append(arguments))

    def sent(*words: str) -> Any:
        return CliRunner().invoke(top[words[0]], words[1:], obj=state)

    for words in (("playbook", "lookup", "a question"), ("playbook", "lookup", "--query-text", "a question")):
        assert sent(*words).exit_code == 0 and calls.pop() == {"query_text": "a question"}
    assert sent("playbook", "lookup").exit_code == 0 and calls.pop() == {}
    assert "[QUERY_TEXT]" in sent("playbook", "lookup", "--help").output
    twice = sent("playbook", "lookup", "a", "--query-text", "b")
    assert twice.exit_code == 2 and "given twice: 'a' and --query-text" in twice.output
    assert sent("doctor", "run", "x").exit_code == 2
