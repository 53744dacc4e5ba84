"""What a plugin's capability must be like, and what it may not take."""

import re
from pathlib import Path

import pytest
from tests.test_catalogue import GREET, write

from lakehouse.catalogue import Catalogue, standards
from lakehouse.faces.cli import root
from lakehouse.faces.commands import global_options

CLASHES = {
    "a command of our own": ("serve.py", "hello", "", "`lakehouse serve` is a command of its own"),
    "a command of our own as a short word": (
        "greet.py",
        "hello",
        'short="stdio WHO"',
        "`lakehouse stdio` is a command",
    ),
    "another's short word": ("greet.py", "hello", 'short="sql WHO"', "command sql"),
    "another's short word as its file": ("search.py", "hello", "", "`lakehouse search` is a command of matrix"),
    "another's file as a short word": (
        "greet.py",
        "hello",
        'short="vectors WHO"',
        "`lakehouse vectors` is a command of",
    ),
    "a route": ("greet.py", "hello", 'route="/v1/call/{who}"', "is a route of the server's own"),
    "a route by another method": ("greet.py", "hello", 'route="GET /v1/call/x"', "is a route of the server's own"),
    "a route below it": ("greet.py", "hello", 'route="/v1/call/{who}/x"', "is a route of the server's own"),
    "an address of another's route": (
        "greet.py",
        "hello",
        'route="/v1/{who:path}"',
        "two capabilities are called route",
    ),
}


@pytest.mark.parametrize(("file", "name", "options", "reason"), CLASHES.values(), ids=CLASHES.keys())
def test_what_a_plugin_may_not_take(tmp_path: Path, file: str, name: str, options: str, reason: str) -> None:
    """Words of the command line and routes have one holder each; ours, and what was loaded before, stay as they are."""
    write(tmp_path / "tools" / file, name=name, options=options)
    found = Catalogue([tmp_path])
    assert dict(found).keys() == dict(Catalogue()).keys()
    (skipped,) = found.skipped
    assert reason in skipped.reason


@pytest.mark.parametrize("uri", ["lakehouse://datasets/{other}", "lakehouse://datasets/orders", "lakehouse://{what}"])
def test_a_resource_may_not_stand_for_anothers_address(tmp_path: Path, uri: str) -> None:
    path = tmp_path / "tools" / "mine.py"
    path.parent.mkdir()
    given = ", ".join(f"{name}: str" for name in re.findall(r"\{(\w+)\}", uri))
    path.write_text(
        f"from lakehouse import resource\n@resource({uri!r})\nasync def mine(lake, {given}) -> str: ...\n", "utf-8"
    )
    (skipped,) = Catalogue([tmp_path]).skipped
    assert "two capabilities are called resource lakehouse://" in skipped.reason


def test_a_plugin_may_have_routes_that_only_differ_in_how_much_they_say(tmp_path: Path) -> None:
    """The nearer one is taken; of one shape there is one."""
    path = write(tmp_path / "tools" / "greet.py", options='route="GET /v1/greet/{who}"')
    more = GREET.split("\n\n")[-1]
    path.write_text(
        path.read_text("utf-8") + more.format(name="you", options='route="GET /v1/greet/you"', words="Hi"),
        "utf-8",
    )
    assert Catalogue([tmp_path]).skipped == []
    path.write_text(
        path.read_text("utf-8")
        + more.replace("who:", "whom:")
        .replace("{{who}}", "")
        .format(name="him", options='route="GET /v1/greet/{whom}"', words="Hi"),
        "utf-8",
    )
    (skipped,) = Catalogue([tmp_path]).skipped
    assert "two capabilities are called route GET /v1/greet/{}" in skipped.reason


def test_ours_meet_what_is_asked_of_plugins() -> None:
    """Nothing built in may do what a plugin may not."""
    for capability in Catalogue().values():
        standards.check(capability)


def test_the_words_that_are_kept_are_those_of_the_command_line() -> None:
    assert set(root.commands) == standards.OWN_COMMANDS
    options = {option for p in [*global_options(), *root.params] for option in p.opts if option.startswith("--")}
    # A tool may have a profile of its own: it says the same.
    assert {f"--{name}" for name in standards.OWN_OPTIONS} - {"--help"} == options - {"--version", "--profile"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("GET /v1/a", "GET /v1/a", True),
        ("GET /v1/a", "POST /v1/a", False),
        ("GET /v1/a", "GET /v1/b", False),
        ("GET /v1/a", "GET /v1/a/b", False),
        ("GET /v1/{x}", "GET /v1/a", True),
        ("GET /v1/{x}", "GET /v1/a/b", False),
        ("GET /v1/{x}/b", "GET /v1/a/{y}", True),
        ("GET /v1/{x}/b", "GET /v1/a/c", False),
        ("GET /v1/{x:path}", "GET /v1/a/b/c", True),
        ("GET /v1/s/{x:path}", "GET /v1/t/a", False),
        ("lake://a/{b}", "lake://a/c", True),
        ("lake://a/{b}", "lake://c/{b}", False),
        ("lake://{a}", "lake://a/b", False),
    ],
)
def test_what_may_be_the_same_address(one: str, other: str, same: bool) -> None:
    assert standards.meet(one, other) is standards.meet(other, one) is same
