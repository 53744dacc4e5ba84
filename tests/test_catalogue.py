"""Where capabilities come from: our folders, a user's, installed packages; and what is left out, with a reason."""

import logging
import os
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from lakehouse import config, sources
from lakehouse.catalogue import Catalogue
from lakehouse.errors import Conflict, NotFound
from lakehouse.rendered import rendered

GREET = '''"""Greetings."""
from typing import Annotated
from pydantic import BaseModel
from lakehouse import Lakehouse, mode, tool

class Greeting(BaseModel):
    """A greeting."""
    text: str

@tool({options})
async def {name}(lake: Lakehouse, who: Annotated[str, "Whom."]) -> Greeting:
    """Greet somebody."""
    return Greeting(text=f"{words}, {{who}}")
'''


def write(path: Path, *, name: str = "hello", options: str = "", words: str = "Hello") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GREET.format(name=name, options=options, words=words), encoding="utf-8")
    return path


def test_ours_come_first_and_in_a_fixed_order() -> None:
    found = Catalogue()
    assert "fixture.echo" in found
    assert found["doctor.run"].mcp_name == "doctor"
    assert list(found) == list(Catalogue())
    assert found.find("doctor") is found.find("doctor.run")


def test_a_folder_of_the_users(tmp_path: Path) -> None:
    """Tools and modes; a file that begins with an underscore is the user's own business."""
    write(tmp_path / "tools" / "greet.py")
    write(tmp_path / "modes" / "more.py", name="hi")
    write(tmp_path / "tools" / "_notes.py", name="no")
    found = Catalogue([tmp_path])
    assert set(found) - set(Catalogue()) == {"greet.hello", "more.hi"}
    assert found["greet.hello"].origin == str(tmp_path / "tools" / "greet.py")
    assert found.skipped == []


def test_two_projects_may_have_files_of_one_name(tmp_path: Path) -> None:
    for project, words in (("one", "Good day"), ("two", "Good night")):
        write(tmp_path / project / "tools" / "greet.py", name=words.split()[1], words=words)
    found = Catalogue([tmp_path / "one", tmp_path / "two"])
    runs = (partial(found[name].run, None, who="you") for name in ("greet.day", "greet.night"))
    answers = [anyio.run(run) for run in runs]
    assert [a.text for a in answers] == ["Good day, you", "Good night, you"]
    assert type(answers[0]).__module__ != type(answers[1]).__module__


BROKEN = {
    "does not parse": ("def (", "SyntaxError"),
    "does not load": ("import a_module_that_is_not_there", "ModuleNotFoundError"),
    "leaves": ("import sys\nsys.exit(3)", "Left: SystemExit: 3"),
    "is not text": ("\x00", "SyntaxError|ValueError"),
    "is not UTF-8": (b"# \xff\xfe", "SyntaxError|UnicodeDecodeError"),
    "is one long line of brackets": ("x = " + "(" * 100_000, "too many nested|RecursionError|MemoryError"),
    "interrupts": ("raise KeyboardInterrupt", "Left: KeyboardInterrupt"),
    "raises what nobody catches": ("class Odd(BaseException): ...\nraise Odd('no')", "Left: Odd: no"),
    "closes itself": ("raise GeneratorExit", "Left: GeneratorExit"),
    "reads our input": ("input()", "EOFError|OSError"),
    "sets signal handlers": ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)", "main thread"),
    "opens a lake": (
        "import asyncio, lakehouse\nasync def f():\n    async with lakehouse.open(): ...\nasyncio.run(f())",
        "opens a lake while it is loaded",
    ),
    "is not async": (
        "from lakehouse import tool\n@tool()\ndef f(lake) -> dict: ...",
        "f is not an `async def` function",
    ),
    "has no types": (
        "from lakehouse import tool\n@tool()\nasync def f(lake, x) -> dict[str, int]: ...",
        "x has no type",
    ),
    "answers with no object": ("from lakehouse import tool\n@tool()\nasync def f(lake) -> int: ...", "must be objects"),
    "says nothing of its result": ("from lakehouse import tool\n@tool()\nasync def f(lake): ...", "what it returns"),
    "has a mode that does not say what it returns": (
        "from lakehouse import mode\n@mode()\nasync def f(lake): ...",
        "what it returns",
    ),
    "has a name with capitals": (
        "from lakehouse import mode\n@mode()\nasync def Big(lake) -> dict[str, int]: ...",
        "no name for a capability",
    ),
    "has a title that is no text": (
        "from lakehouse import tool\n@tool(title=object())\nasync def f(lake) -> dict[str, int]: ...",
        "title: Input should be a valid string",
    ),
    "has half a character in its title": (
        "from lakehouse import tool\n@tool(title='\\ud800')\nasync def f(lake) -> dict[str, int]: ...",
        "surrogates not allowed",
    ),
    "has an infinite default": (
        "from lakehouse import tool\n@tool()\nasync def f(lake, x: float = float('inf')) -> dict[str, int]: ...",
        "not JSON compliant",
    ),
    "has an option of ours": (
        "from lakehouse import tool\n@tool()\nasync def f(lake, home: str) -> dict[str, int]: ...",
        "the command line has an option of that name",
    ),
    "has a route outside /v1": (
        "from lakehouse import tool\n@tool(route='GET /mcp')\nasync def f(lake) -> dict[str, int]: ...",
        "is no route",
    ),
    "has a method of its own": (
        "from lakehouse import tool\n@tool(route='FETCH /v1/x')\nasync def f(lake) -> dict[str, int]: ...",
        "is no route",
    ),
    "has a route of unknown parameters": (
        "from lakehouse import tool\n@tool(route='GET /v1/x/{y}')\nasync def f(lake) -> dict[str, int]: ...",
        "y is no parameter",
    ),
    "has a route with a parameter twice": (
        "from lakehouse import tool\n@tool(route='GET /v1/{y}/{y}')\nasync def f(lake, y: str) -> dict[str, int]: ...",
        "stands there twice",
    ),
    "has a status that is none": (
        "from lakehouse import tool\n@tool(status=99)\nasync def f(lake) -> dict[str, int]: ...",
        "status is one of",
    ),
    "has a short word of unknown parameters": (
        "from lakehouse import tool\n@tool(short='go WHERE')\nasync def f(lake) -> dict[str, int]: ...",
        "short: there is no parameter where",
    ),
    "has a short word with defaults of unknown parameters": (
        "from lakehouse import tool\n@tool(short='go', short_defaults={'by': 1})\n"
        "async def f(lake) -> dict[str, int]: ...",
        "short_defaults: there is no parameter by",
    ),
    "has a short word that is none": (
        "from lakehouse import tool\n@tool(short='--go')\nasync def f(lake) -> dict[str, int]: ...",
        "'--go' is no command",
    ),
    "completes an unknown parameter": (
        "from lakehouse import resource\n@resource('x://y', complete={'z': 'a.b'})\nasync def f(lake) -> str: ...",
        "there is no parameter z",
    ),
    "has a resource without a URI": (
        "from lakehouse import resource\n@resource('my resource')\nasync def f(lake) -> str: ...",
        "is no URI",
    ),
    "has a resource of other parameters": (
        "from lakehouse import resource\n@resource('x://{y}')\nasync def f(lake, z: str) -> str: ...",
        "are not those of the function",
    ),
    "has a prompt of a bad name": (
        "from lakehouse import prompt\n@prompt()\nasync def Ask(lake) -> str: ...",
        "no name for a capability",
    ),
    "has a bad tool name": (
        "from lakehouse import tool\n@tool(name='Do It!')\nasync def f(lake) -> dict[str, int]: ...",
        "'Do It!' is no tool name",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_left_out_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str | bytes, reason: str
) -> None:
    (tmp_path / "tools").mkdir()
    bad = tmp_path / "tools" / "bad.py"
    bad.write_bytes(source if isinstance(source, bytes) else source.encode())
    write(tmp_path / "tools" / "greet.py")
    with caplog.at_level(logging.WARNING, "lakehouse"):
        found = Catalogue([tmp_path])
    assert "greet.hello" in found
    assert not any(name.startswith("bad.") for name in found)
    (skipped,) = found.skipped
    assert skipped.origin == str(bad)
    assert any(part in skipped.reason for part in reason.split("|"))
    assert "\n" not in skipped.reason
    assert caplog.messages == [f"plugin.skipped {bad}: {skipped.reason}"]


OURS = [("doctor.py", "run", ""), ("other.py", "look", 'name="doctor"'), ("fixture.py", "echo", "")]


@pytest.mark.parametrize(("file", "name", "options"), OURS)
def test_a_taken_name_leaves_the_newcomer_out(tmp_path: Path, file: str, name: str, options: str) -> None:
    """The message names both origins; what was there stays."""
    bad = write(tmp_path / "tools" / file, name=name, options=options)
    found = Catalogue([tmp_path])
    assert dict(found).keys() == dict(Catalogue()).keys()
    (skipped,) = found.skipped
    assert "two capabilities are called" in skipped.reason
    assert str(bad) in skipped.reason and str(sources.shipped("tools").parent) in skipped.reason


@pytest.mark.parametrize(
    ("name", "decorator"), [("ask_staffing", "@prompt()"), ("other", '@resource("lakehouse://guide")')]
)
def test_a_plugin_cannot_take_the_place_of_a_prompt_or_a_resource(tmp_path: Path, name: str, decorator: str) -> None:
    path = tmp_path / "tools" / "mine.py"
    path.parent.mkdir()
    path.write_text(
        f"from lakehouse import prompt, resource\n{decorator}\nasync def {name}(lake) -> str:\n    return 'mine'\n",
        encoding="utf-8",
    )
    (skipped,) = Catalogue([tmp_path]).skipped
    assert "two capabilities are called" in skipped.reason and str(path) in skipped.reason


def test_a_file_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "tools" / "greet.py")
    path.write_text(
        path.read_text("utf-8")
        + GREET.split("@tool")[1].join(["\n@tool", ""]).format(name="again", options='name="greet_hello"', words="Hi"),
        encoding="utf-8",
    )
    found = Catalogue([tmp_path])
    assert not any(name.startswith("greet.") for name in found)
    assert "two capabilities are called greet_hello" in found.skipped[0].reason


def test_a_clash_among_ours_is_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "tools" / "greet.py")
    write(tmp_path / "modes" / "greet.py")
    monkeypatch.setattr(sources, "shipped", lambda folder: tmp_path / folder)
    with pytest.raises(Conflict, match=r"greet\.hello"):
        Catalogue()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = Catalogue([tmp_path / "absent"])
    assert [s.origin for s in found.skipped] == [str(tmp_path / "absent")]


def install(site: Path, entries: str) -> None:
    """What an installer leaves of a package: its metadata with entry points."""
    info = site / "plugins-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[lakehouse]\n{entries}", encoding="utf-8")


def test_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point's name is the first part of its capabilities' names. One that fails is left out."""
    write(tmp_path / "lh_greetings" / "__init__.py")
    install(tmp_path, "greet = lh_greetings\nbad = lh_not_there\nodd = lh_greetings:hello\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = Catalogue()
    assert found["greet.hello"].mcp_name == "greet_hello"
    assert {s.origin: s.reason.split(":")[0] for s in found.skipped} == {
        "package entry point bad": "ModuleNotFoundError",
        "package entry point odd": "TypeError",
    }


@pytest.mark.parametrize(
    ("name", "near"), [("doctr", "doctor"), ("fixture.ecko", "fixture.echo"), ("x" * 1_000_000, "There are:")]
)
def test_an_unknown_name_gets_the_nearest(name: str, near: str) -> None:
    with pytest.raises(NotFound) as raised:
        Catalogue().find(name)
    assert near in raised.value.fix
    assert len(raised.value.detail) < 200


def test_a_checkout_and_a_wheel_find_the_same_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel the four folders lie inside the package, in a checkout at the root."""
    assert sources.shipped("tools") == Path(__file__).parents[1] / "tools"
    inside = tmp_path / "site" / "lakehouse"
    (inside / "tools").mkdir(parents=True)
    monkeypatch.setattr(sources, "__file__", str(inside / "sources.py"))
    assert sources.shipped("tools") == inside / "tools"


def test_a_folder_named_twice_and_our_own_folder_are_loaded_once(tmp_path: Path) -> None:
    write(tmp_path / "tools" / "greet.py")
    found = Catalogue([tmp_path, sources.shipped("tools").parent, tmp_path])
    assert found.skipped == [] and set(found) - set(Catalogue()) == {"greet.hello"}


def odd_file(path: Path, what: str) -> None:
    if what == "a loop of links":
        path.symlink_to(path)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "a folder":
        path.mkdir()
    elif what == "a link to nothing":
        path.symlink_to(path.with_name("absent"))
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(2**32)
    else:
        path.touch(mode=0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
@pytest.mark.parametrize(
    "what", ["a loop of links", "a pipe", "a device", "a folder", "a link to nothing", "huge", "closed to us"]
)
def test_what_is_no_plain_file_is_left_out(tmp_path: Path, what: str) -> None:
    write(tmp_path / "tools" / "greet.py")
    odd_file(tmp_path / "tools" / "odd.py", what)
    if what == "closed to us" and os.access(tmp_path / "tools" / "odd.py", os.R_OK):
        pytest.skip("this user may read everything")
    found = Catalogue([tmp_path])
    assert "greet.hello" in found
    assert [s.origin for s in found.skipped] == [str(tmp_path / "tools" / "odd.py")]
    assert [s["origin"] for s in rendered([tmp_path])["skipped"]] == [str(tmp_path / "tools" / "odd.py")]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_a_folder_that_is_a_loop_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    settings = config.read(tmp_path, overrides={"plugins.folders": [tmp_path / "loop", tmp_path / "nul\0"]})
    assert len(Catalogue(settings.config.plugins.folders).skipped) == 2


def test_a_package_whose_entry_points_cannot_be_read_is_left_out_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "lh_greetings" / "__init__.py")
    install(tmp_path, "greet = lh_greetings\n")
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (broken / "entry_points.txt").write_bytes(b"[lakehouse]\n\xff\xfe = x\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = Catalogue()
    assert "greet.hello" in found
    assert [s.origin for s in found.skipped] == ["package broken"]
