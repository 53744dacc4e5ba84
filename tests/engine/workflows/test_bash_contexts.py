"""Outputs within the quotes, here-documents, expansions and sums of bash scripts, as a real bash reads them."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from tests.bash_contexts import COMPUTED, HARMLESS, HOSTILE, MISLEADING, OUTPUT, noise, script
from tests.flows import by_id, ran
from tests.scopes import records

from lakehouse import Lakehouse
from lakehouse.engine.workflows.checks.quotes import strange_places
from lakehouse.engine.workflows.references import Scope
from lakehouse.engine.workflows.references.quoting import MAX_INLINE, Script, needs_no_quotes, quoted
from lakehouse.errors import Unprocessable

MESSAGE = "a[$(touch CANARY)]"  # what a caller says, in case a script can be made to compute with it


def spliced(template: str, output: str, folder: Path | None = None) -> Script:
    """A script with an output in it; long ones in files of a folder."""
    spilled = iter(range(1000))

    def spill(text: str) -> str:
        assert folder is not None
        path = folder / f"it's {next(spilled)}"
        path.write_text(text, encoding="utf-8", newline="")
        return str(path)

    return Scope({}, {}, records({"a": {"text": output}})).shell(template, spill if folder else None)


def told(run: Script, folder: Path) -> tuple[int, bytes]:
    """What bash says to a script, and its exit code."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "ARGUMENTS": MESSAGE, **run.variables}
    done = subprocess.run(
        ["bash", "-c", run.text], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=20
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("way", ["scripts", "noise", "sums"])
def test_nothing_an_output_holds_is_ever_run(tmp_path: Path, way: str) -> None:
    """Whatever stands around it: scripts nested at random, texts that are no scripts, and what bash computes."""
    chance = random.Random(f"{way} 1")
    for number in range(120):
        template = (
            {"scripts": script, "noise": noise}[way](chance) if way != "sums" else COMPUTED[number % len(COMPUTED)]
        )
        output = chance.choice(HOSTILE)
        try:
            told(spliced(template, output), tmp_path)
        except Unprocessable:  # a here-document whose name cannot stand without quotes
            continue
        assert not (tmp_path / "CANARY").exists(), (template, output)


def test_what_is_easily_misread_is_not(tmp_path: Path) -> None:
    """Quotes in comments, patterns, sums and here-documents end where bash has them end: no variable stays a name."""
    chance = random.Random(3)
    for template in MISLEADING:
        output = chance.choice([*HOSTILE, "two words"])
        said = told(spliced(template, output), tmp_path)[1]
        assert b"LAKEHOUSE_OUTPUT" not in said and not (tmp_path / "CANARY").exists(), (template, output)


def test_harmless_outputs_are_what_archon_makes_of_them(tmp_path: Path) -> None:
    """In single quotes each is a word, of which one without spaces is no other."""
    chance = random.Random(2)
    for _ in range(80):
        template = script(chance)
        own = any(mark in template for mark in (f"'{OUTPUT}", f"'x {OUTPUT}", f"'x\\t{OUTPUT}"))
        many = [one for one in HARMLESS if "\n" not in one or "#" not in template]
        # bash takes the backslash of '\\'' away within the quotes of ${…}.
        many = [one for one in many if "'" not in one or f'-"{OUTPUT}' not in template]
        output = chance.choice([one for one in many if needs_no_quotes(one)] if own else many)
        archon = Script(template.replace(OUTPUT, quoted(output)), {})
        assert told(spliced(template, output), tmp_path) == told(archon, tmp_path), (template, output)


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        (f"printf %s {OUTPUT}", "{}"),
        (f'printf %s "<{OUTPUT}>"', "<'{}'>"),
        (f"printf %s '<{OUTPUT}>'", "<{}>"),
        (f"cat <<E\n{OUTPUT}\nE", "'{}'\n"),
        (f"cat <<'E'\n$x {OUTPUT} `y` \\\\ \\\nE", "$x '{}' `y` \\\\ \\\n"),
        (f'printf %s "$(printf %s {OUTPUT})"', "{}"),
        (f"printf 'let unset %s' {OUTPUT}", "let unset {}"),
        (f'set -- eval let {OUTPUT}; printf %s "$3"', "{}"),
        (f'bash -c "printf %s {OUTPUT}"', "{}"),
        (f"bash -c 'printf %s {OUTPUT}'", "{}"),
    ],
)
def test_what_is_printed_of_hostile_outputs(tmp_path: Path, template: str, printed: str) -> None:
    """The quotes that Archon puts around an output are printed where the script's own quotes make them text."""
    for output in ("two  words *", '$(touch CANARY) `x` \\ " {a,b}\n\n$HOME', "x\nE\ny"):
        assert told(spliced(template, output), tmp_path)[1].decode() == printed.format(output).replace("{}", output)


def test_long_outputs_come_from_files_in_every_place(tmp_path: Path) -> None:
    """As with Archon, where a file's text has no quotes around it."""
    long = "$(touch CANARY) '`\"\\" * MAX_INLINE + "\n\n"
    for template in (
        f"printf %s {OUTPUT}",
        f'printf %s "{OUTPUT}"',
        f"printf %s '{OUTPUT}'",
        f"cat <<E\n{OUTPUT}\nE\n",
    ):
        run = spliced(template, long, tmp_path)
        assert len(run.text) < 500 and told(run, tmp_path)[1].decode().startswith(long), template
    assert not (tmp_path / "CANARY").exists()


def test_where_bash_computes_only_numbers_pass(tmp_path: Path) -> None:
    assert told(spliced(f"[[ {OUTPUT} -eq 3 ]] && declare -i n={OUTPUT} && echo $n", "3"), tmp_path) == (0, b"3\n")
    assert told(spliced(f"[[ {OUTPUT} -eq 3 ]] || echo no", "a[0]"), tmp_path) == (0, b"no\n")
    assert told(spliced(f"x=1; unset {OUTPUT}; echo ${{x-gone}}", "x"), tmp_path) == (0, b"gone\n")


def test_a_here_document_that_cannot_be_expanded_is_refused_by_name() -> None:
    with pytest.raises(Unprocessable, match="here-document of 'a b'"):
        spliced(f"cat <<'a b'\n{OUTPUT}\na b\n", "two words")


def test_what_is_told_of_places() -> None:
    said = {
        f"echo {OUTPUT}": "",
        f'echo "{OUTPUT}"': "double quotes",
        f"cat <<E\n{OUTPUT}\nE\n": "here-document",
        f"eval {OUTPUT}": "read by a shell once more",
        f"[[ {OUTPUT} -lt 3 ]]": "bash computes",
        f"python3 -c 'print({OUTPUT})'": "a program of python3",
        f'echo "`echo \\"{OUTPUT}': "not understood",
    }
    for template, part in said.items():
        found = [message for _, message, _ in strange_places(template)]
        assert (part in found[0]) if part else not found, template


@pytest.mark.anyio
async def test_runs_have_it_so_too(lake: Lakehouse) -> None:
    """In bash and in until_bash, and whatever the iteration before put out."""
    hostile = 'x"; touch "$STATE_DIR/CANARY"; "'
    nodes = f"""
  - {{id: a, mode: fixture.echo, with: {{value: {hostile!r}}}}}
  - id: b
    depends_on: [a]
    bash: |
      echo "$a.output"; echo '$a.output'; ls "$STATE_DIR"
  - id: c
    depends_on: [b]
    loop_group:
      max_iterations: 2
      until_bash: test "$body.output" = "'$a.output'" || ! ls "$STATE_DIR" | grep . >&2
      nodes: [{{id: body, mode: fixture.echo, with: {{value: $a.output}}}}]
"""
    found = by_id(await ran(lake, nodes.replace("'x\\\"", "'x\"")))
    assert found["c"].status == "completed", found["c"]
    assert "CANARY" not in found["b"].text.splitlines()
    assert found["b"].text.count("touch") == 2
