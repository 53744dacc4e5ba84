"""Which places a caller at a distance may have read."""

from itertools import product
from pathlib import Path

import pytest

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse
from lakehouse.engine.places import check_place
from lakehouse.observe import Caller


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


@pytest.mark.slow
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


@pytest.mark.anyio
async def test_the_data_directory_is_apart(somebody: Path) -> None:
    """Where it lies in sight: over MCP its files and the buckets' are not read by name, nor written by anybody."""
    home, bucket, keys = somebody / "lake", somebody / "bucket", somebody / "keys.toml"
    keys.write_text('[postgres.shop]\ndsn = "postgresql://u:hunter22@h/d"\n', encoding="utf-8")
    keys.chmod(0o600)
    overrides = {"storage.buckets": [{"name": "far", "url": bucket.as_uri()}], "storage.secrets": str(keys)}
    async with lakehouse.open(home, overrides=overrides) as lake:
        assert (await lake.call("ingest.file", {"name": "t", "content": "a\n1\n"}, via="mcp"))["row_count"] == 1
        (commit,) = (home / "objects" / "_catalog" / "t").glob("*.json")
        (somebody / "link").symlink_to(home)
        (bucket / "x.csv").write_text("a\n1\n", encoding="utf-8")
        places = [keys, home / "observer" / "*.jsonl", home / "**" / "*.json", bucket, bucket / "x.csv"]
        for path in (*places, commit, somebody / "link" / "objects" / commit.relative_to(home / "objects")):
            for tool in ("ingest_file", "plan_ingest"):
                with pytest.raises(Forbidden, match="own"):
                    await lake.call(tool, {"name": "u", "path": str(path), "source": "json"}, via="mcp")
        with pytest.raises(InvalidInput, match="own"):
            await lake.call("import_datasets", {"folder": str(home / "objects"), "plan": True}, via="mcp")
        kept = commit.read_bytes()
        targets = [commit, home / "new.csv", somebody / "link" / "new.csv", bucket / "new.csv", bucket / "x.csv"]
        for target, via in product(targets, ("mcp", "cli")):
            if via == "cli" and bucket in target.parents:
                continue
            for tool, more in (("export_sql", {"sql": "SELECT 1 AS a"}), ("backup", {})):
                with pytest.raises(InvalidInput, match="data directory"):
                    await lake.call(tool, {"path": str(target), "overwrite": True, **more}, via=via)
        assert commit.read_bytes() == kept
        # What lies beside it is read, by a pattern, too; a sender's own contents are as ever.
        asked = {"name": "u", "path": str(somebody / "d*" / "table.csv")}
        assert (await lake.call("ingest.file", asked, via="mcp"))["row_count"] == 1


@pytest.mark.slow
@pytest.mark.anyio
async def test_from_another_machine_only_named_places_are_read(home: Path, somebody: Path) -> None:
    """Somebody else's home directory is none of theirs; a folder the settings name is."""
    far = Caller(via="http", remote=True)
    table = {"name": "t", "path": str(somebody / "data" / "table.csv")}
    corpus = {"name": "c", "folder": str(somebody / "data")}
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        for name, arguments, setting in (
            ("ingest.file", table, "ingest.roots"),
            ("corpora.build", corpus, "corpora.folders"),
        ):
            with pytest.raises(Forbidden, match="another") as refusal:
                await lake.call(name, arguments, caller=far)
            assert setting in refusal.value.fix and "Send the contents" in refusal.value.fix
        assert (await lake.call("ingest.file", table, caller=Caller(via="http")))["row_count"] == 1
        sent = {"name": "sent", "content": "a\n1\n"}
        assert (await lake.call("ingest.file", sent, caller=far))["row_count"] == 1
    (somebody / "data" / "note.txt").write_text("a note", encoding="utf-8")
    named = {"ingest.roots": [str(somebody / "data")], "corpora.folders": [str(somebody / "data")]}
    async with lakehouse.open(home, overrides={"embed.provider": "hash", **named}) as lake:
        assert (await lake.call("ingest.file", table, caller=far))["row_count"] == 1
        assert (await lake.call("corpora.build", corpus, caller=far))["name"] == "c"
        with pytest.raises(Forbidden, match=r"ingest\.roots"):
            await lake.call("ingest.file", {**table, "path": str(somebody / ".ssh" / "table.csv")}, caller=far)


def test_named_roots_hold_as_they_are(somebody: Path, tmp_path: Path) -> None:
    """Whoever names a hidden folder means it."""
    check_place(somebody / ".ssh" / "table.csv", "x", [somebody / ".ssh"], "ingest.roots")
    with pytest.raises(Forbidden):
        check_place(somebody / "data" / "table.csv", "x", [somebody / ".ssh"], "ingest.roots")
    with pytest.raises(Forbidden):
        check_place(tmp_path / "somebody-else", "x", [somebody], "ingest.roots")
