"""Corpora of folders: what counts, what is left out and why, and where they may lie."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse

pytestmark = pytest.mark.anyio


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder with good files, and every kind of other one."""
    folder = tmp_path / "notes"
    (folder / "deep" / ".git").mkdir(parents=True)
    (folder / "deep" / "wings.md").write_text("# Wings\n\nThe wing stalled at sea.\n", encoding="utf-8-sig")
    (folder / "flow.TXT").write_text("Früher Strömungsabriss")
    (folder / "blank.rst").write_text("\n")
    (folder / "deep" / ".git" / "notes.txt").write_text("hidden")
    (folder / ".hidden.md").write_text("hidden")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "latin.txt").write_bytes("one\ntwo\nStr\xf6mung".encode("latin-1"))
    (folder / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "secret.txt").write_text("a secret")
    if os.name != "nt":
        (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
        (folder / "inside.txt").symlink_to(folder / "flow.TXT")
        (folder / "loop").symlink_to(folder)
        (folder / "gone.txt").symlink_to(folder / "nowhere")
        (folder / "itself.txt").symlink_to(folder / "itself.txt")
        long = folder.joinpath(*["d" * 120] * 4)
        long.mkdir(parents=True)
        (long / "far.txt").with_stem("far" * 9).write_text("too deep")
        os.mkfifo(folder / "pipe.txt")
    return folder


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
async def test_a_folder_gives_its_text_files(lake: Lakehouse, notes: Path) -> None:
    """A-S12-1: ids are paths; files that are no text are left out, with the reason."""
    built = await lake.corpora.build("notes", folder=str(notes))
    assert await lake.vectors.ids("notes") == {"deep/wings.md#Wings", "flow.TXT", "blank.rst", "inside.txt"}
    assert (built.scanned, built.empty_ids, built.skipped) == (4, ["blank.rst"], 7)
    reasons = {Path(file.path).name: file.reason for file in built.skipped_files}
    assert reasons.pop("itself.txt")  # in the words of the system, or of Python before 3.13
    assert reasons == {
        "binary.txt": "it is binary",
        "gone.txt": "No such file or directory",
        "farfarfarfarfarfarfarfarfar.txt": "its path is over 500 bytes",
        "latin.txt": "line 3 is not UTF-8",
        "link.txt": "it is a link that leads outside the folder",
        "pipe.txt": "it is not a regular file",
    }
    item = await lake.vectors.get_item("notes", "deep/wings.md#Wings")
    text = "# Wings\n\nThe wing stalled at sea."
    told = {"source": "notes", "doc_id": "deep/wings.md", "chunk": 0, "text": text}
    assert item.metadata == told | {"heading": "Wings", "level": 1, "line_start": 1, "line_end": 3}
    (notes / "flow.TXT").unlink()
    (notes / "inside.txt").unlink()
    assert (await lake.corpora.build("notes", folder=str(notes))).removed == 2
    for file in ("deep/wings.md", "blank.rst"):
        (notes / file).unlink()
    with pytest.raises(InvalidInput, match="none of the"):
        await lake.corpora.build("notes", folder=str(notes))
    assert (await lake.vectors.get("notes")).count == 2


async def test_a_folder_that_cannot_be_listed_is_reported(
    lake: Lakehouse, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its documents would leave the corpus without a word."""
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    built = await lake.corpora.build("notes", folder=str(notes))
    assert ("deep", "Permission denied") in [(file.path, file.reason) for file in built.skipped_files]


async def test_a_folder_without_text_files(lake: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"no text files.*\.markdown"):
        await lake.corpora.build("notes", folder=str(tmp_path / "empty"))


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
async def test_over_mcp_only_allowed_folders(
    home: Path, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing outside the allowed folders is read, or even said to exist."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        for folder in (notes, tmp_path / "me" / ".." / "notes", tmp_path / "no-such"):
            with pytest.raises(Forbidden, match=r"corpora\.folders"):
                await lake.call("corpora.build", {"name": "notes", "folder": str(folder)}, via="mcp")
        assert (await lake.call("corpora.build", {"name": "notes", "folder": str(notes)}, via="cli"))["count"] == 4
    settings = {"embed.provider": "hash", "corpora.folders": [str(notes)]}
    async with lakehouse.open(home, overrides=settings) as lake:
        assert (await lake.call("corpora.build", {"name": "notes", "folder": str(notes)}, via="mcp"))["count"] == 4


async def test_pieces_keep_their_ids_when_another_part_changes(lake: Lakehouse, tmp_path: Path) -> None:
    """Markdown by heading, code by symbol: what tells where a piece stands is with it, and nobody else's id moves."""
    (tmp_path / "docs").mkdir()
    guide, code = tmp_path / "docs" / "guide.md", tmp_path / "docs" / "store.py"
    long = "Words of a section that is long enough to stand alone. " * 20
    guide.write_text(f"# Guide\n\n{long}\n\n## Install\n\nRun it. {long}\n")
    code.write_text("class Store:\n    def open(self):\n        return 1\n\n\ndef close():\n    return 2\n")
    await lake.corpora.build("docs", folder=str(tmp_path / "docs"))
    before = await lake.vectors.ids("docs")
    metadata = {id: (await lake.vectors.get_item("docs", id)).metadata for id in before}
    assert any(each.get("heading") == "Guide > Install" for each in metadata.values())
    assert {"close"} <= {each.get("symbol") for each in metadata.values()}
    guide.write_text(f"# Guide\n\n{long}\n\n## First\n\nRead it. {long}\n\n## Install\n\nRun it. {long}\n")
    code.write_text("import os\n\n\n" + code.read_text())
    await lake.corpora.build("docs", folder=str(tmp_path / "docs"))
    assert before <= await lake.vectors.ids("docs")
