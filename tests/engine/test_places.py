"""Which places a caller at a distance may have read."""

from pathlib import Path

import pytest

from lakehouse import Forbidden, Lakehouse
from lakehouse.engine.places import check_place


@pytest.fixture
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with a table in sight, one among the keys, and one reached by a link."""
    home = tmp_path / "somebody"
    (home / "data").mkdir(parents=True)
    (home / ".ssh").mkdir()
    for place in (home / "data", home / ".ssh", tmp_path):
        (place / "table.csv").write_text("a\n1\n", encoding="utf-8")
    (home / "data" / "link.csv").symlink_to(home / ".ssh" / "table.csv")
    (home / "data" / "out.csv").symlink_to(tmp_path / "table.csv")
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.mark.anyio
async def test_over_mcp_hidden_places_and_those_outside_are_refused(lake: Lakehouse, somebody: Path) -> None:
    """Links are followed before it is decided; the command line reads anything its user can."""
    good = {"name": "t", "path": str(somebody / "data" / "table.csv")}
    assert (await lake.call("ingest.file", good, via="mcp"))["row_count"] == 1
    for path in (
        ".ssh/table.csv",
        "data/link.csv",
        "data/out.csv",
        "data/../.ssh/table.csv",
        "../table.csv",
        ".ssh/none.csv",
    ):
        bad = {"name": "u", "path": f"{somebody}/{path}"}
        with pytest.raises(Forbidden, match=r"ingest\.roots"):
            await lake.call("ingest.file", bad, via="mcp")
    assert (await lake.call("ingest.file", {"name": "u", "path": f"{somebody}/.ssh/table.csv"}, via="cli"))[
        "row_count"
    ] == 1
    with pytest.raises(Forbidden, match=r"corpora\.folders"):
        await lake.call("corpora.build", {"name": "c", "folder": f"{somebody}/.ssh"}, via="mcp")


def test_named_roots_hold_as_they_are(somebody: Path, tmp_path: Path) -> None:
    """Whoever names a hidden folder means it."""
    check_place(somebody / ".ssh" / "table.csv", "x", [somebody / ".ssh"], "ingest.roots")
    with pytest.raises(Forbidden):
        check_place(somebody / "data" / "table.csv", "x", [somebody / ".ssh"], "ingest.roots")
    with pytest.raises(Forbidden):
        check_place(tmp_path / "somebody-else", "x", [somebody], "ingest.roots")
