"""Where workflow files are found, and which of several of one name."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lakehouse.engine.workflows.language import Source, load
from lakehouse.engine.workflows.library import Library
from lakehouse.errors import NotFound, Unprocessable


def flow(name: str, nodes: str = "[{id: a, bash: 'true'}]", about: str = "d") -> str:
    return f"name: {name}\ndescription: {about}\nnodes: {nodes}\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    return [tmp_path / "shipped", tmp_path / "project", tmp_path / "home"]


@pytest.fixture
def library(places: list[Path]) -> Library:
    return Library(lambda: places)


def test_later_places_win(library: Library, places: list[Path], tmp_path: Path) -> None:
    """By the name in the file; beside a caller on this machine, its `.archon/workflows` wins over all."""
    for at, place in enumerate(places):
        put(place / "workflows" / f"file{at}.yaml", flow("one", about=str(at)))
    assert library.names() == ["one"]
    assert "description: 2" in library.find("one").text
    put(places[0] / ".archon" / "workflows" / "x.yml", flow("two"))
    here = tmp_path / "here"
    put(here / ".archon" / "workflows" / "x.yaml", flow("one", about="here"))
    put(here / "workflows" / "x.yaml", flow("never"))
    assert "description: here" in library.find("one", here).text
    assert "description: 2" in library.find("one").text
    assert library.names(here) == ["one", "two"]


def test_layouts(library: Library, places: list[Path]) -> None:
    """Flat files, folders of files, and packages that hold one; nothing deeper, and nothing hidden."""
    base = places[2] / "workflows"
    for path in (
        *("flat.yaml", "group/grouped.yml", "group/package/only.yaml", "group/two/a.yaml", "group/two/b.yaml"),
        *(".hidden.yaml", "_draft.yaml", "group/x/y/deep.yaml", "commands/no.yaml", "note.txt"),
    ):
        put(base / path, flow(Path(path).stem))
    os.mkfifo(base / "pipe.yaml")
    assert library.names() == ["flat", "grouped", "only"]


def test_broken_files_hide_none(library: Library, places: list[Path]) -> None:
    put(places[0] / "workflows" / "good.yaml", flow("good"))
    put(places[2] / "workflows" / "good.yaml", "name: [\n")
    (places[2] / "workflows" / "bytes.yaml").write_bytes(b"\xff\xfename")
    listed = {(one.report()["name"], one.report()["valid"]) for one in library.listing()}
    assert listed == {("good", True), ("good", False), ("bytes", False)}
    assert load(library.find("good"), library.around(library.find("good"))).workflow is not None
    assert load(library.find("bytes"), library.around(library.find("bytes"))).errors[0].message == "it is not UTF-8."


def test_a_file_that_may_not_be_read(library: Library, places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(places[2] / "workflows" / "shut.yaml", flow("shut"))
    opened = Path.open

    def refused(self: Path, *args: object, **more: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refused)
    [loaded] = library.listing()
    assert loaded.errors[0].message == "shut.yaml cannot be read: Permission denied."
    with pytest.raises(Unprocessable):
        library.find("shut")


def test_names_and_paths(library: Library, places: list[Path], tmp_path: Path) -> None:
    put(places[2] / "workflows" / "x.yaml", flow("review"))
    path = put(tmp_path / "mine" / "w.yaml", flow("mine"))
    with pytest.raises(NotFound) as caught:
        library.find("reveiw")
    assert caught.value.fix == "Did you mean review?"
    assert library.find("w.yaml", None, path.parent).name == "mine"
    assert library.find(str(path), None, places[0]).path == str(path)
    for name in (str(path), "../mine/w.yaml", "w.yaml", "a\0b.yaml"):
        with pytest.raises(NotFound):
            library.find(name, path.parent)


def test_commands_and_scripts(library: Library, places: list[Path], tmp_path: Path) -> None:
    """A package sees its own alone; other files those of all places, the most important first."""
    nodes = "[{id: a, command: review}, {id: b, script: clean, runtime: uv}]"
    for at, place in enumerate(places):
        put(place / "commands" / "review.md", f"Review {at}.")
        put(place / "scripts" / "clean.py", f"print({at})")
    put(places[0] / "workflows" / "flat.yaml", flow("flat", nodes))
    package = put(places[0] / "workflows" / "pack" / "own" / "own.yaml", flow("own", nodes)).parent
    put(package / "commands" / "review.md", "Review mine.")
    alone = put(tmp_path / "some" / "file.yaml", flow("file", nodes))
    put(tmp_path / "some" / "commands" / "review.md", "Review alone.")

    def used(name: str) -> dict[tuple[str, str], str]:
        source = library.find(name, None, tmp_path)
        return {key: one.text for key, one in load(source, library.around(source)).used.items()}

    assert used("flat") == {("command", "review"): "Review 2.", ("script", "clean"): "print(2)"}
    assert used("own") == {("command", "review"): "Review mine."}
    assert used(str(alone)) == {("command", "review"): "Review alone.", ("script", "clean"): "print(2)"}
    own = library.find("own")
    assert library.around(own).names("command") == ["review"]
    assert load(own, library.around(own)).missing["scripts"] == ("clean",)


def test_a_listing_is_read_once(library: Library, places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is opened again while no file changes; a command that changes counts, too."""
    path = put(places[2] / "workflows" / "x.yaml", flow("x", "[{id: a, command: c}]"))
    first = library.listing()
    assert [one.workflow for one in first] == [None]
    opened: list[str] = []
    before = Path.open

    def noted(self: Path, *args: Any, **more: Any) -> Any:
        opened.append(self.name)
        return before(self, *args, **more)

    monkeypatch.setattr(Path, "open", noted)
    assert library.listing() == first
    assert opened == []
    command = places[2] / "commands" / "c.md"
    command.parent.mkdir()
    command.write_bytes(b"Do it.")
    assert library.listing()[0].workflow is not None
    path.unlink()
    assert library.listing() == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_do_not_lead_out_of_a_package(library: Library, places: list[Path], tmp_path: Path) -> None:
    """A package of somebody else reads no file of this machine; one's own folders may be spread as one likes."""
    package = places[-1] / "workflows" / "pack" / "flow"
    (tmp_path / "secret.md").write_text("a secret")
    for folder in (package / "commands", places[-1] / "commands"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "out.md").symlink_to(tmp_path / "secret.md")
        (folder / "own.md").write_text("its own")
        (folder / "in.md").symlink_to("own.md")
    (package / "flow.yaml").write_text("name: flow\ndescription: x\nnodes: [{id: a, prompt: x}]\n")
    inside = library.around(Source("flow", "", str(package / "flow.yaml")))
    assert inside.command("out") is None and inside.script("../../../secret.md") is None
    assert [one.text if (one := inside.command(name)) else "" for name in ("own", "in")] == ["its own", "its own"]
    outside = library.around(Source("text", ""))
    assert (found := outside.command("out")) is not None and found.text == "a secret"


def test_a_file_by_its_path_sees_those_around_it(library: Library, places: list[Path], tmp_path: Path) -> None:
    """Where it lies in a `workflows/` of its own; a file that stands alone sees what everybody does."""
    put(places[0] / "workflows" / "below.yaml", flow("below", about="shipped"))
    there = tmp_path / "elsewhere" / ".archon" / "workflows"
    top = put(there / "group" / "top.yaml", flow("top", "[{id: a, workflow: below}, {id: b, include: other}]"))
    put(there / "below.yaml", flow("below", about="there"))
    put(there / "other.yaml", flow("other"))
    source = library.find(str(top), base=tmp_path)
    loaded = load(source, library.around(source))
    assert loaded.workflow is not None, loaded.errors
    assert "description: there" in loaded.used["workflow", "below"].text
    alone = put(tmp_path / "alone" / "top.yaml", top.read_text("utf-8"))
    source = library.find(str(alone), base=tmp_path)
    assert [error.where for error in load(source, library.around(source)).errors] == ["nodes.b.include"]
