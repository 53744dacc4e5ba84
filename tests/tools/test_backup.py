"""A whole data directory as one file and back: while it is used, damaged, crafted, cut short."""

import io
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, LakehouseError, NotFound, Upstream
from lakehouse.engine.backup import archive, restoring
from lakehouse.engine.removals import Removals
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio


async def filled(lake: Lakehouse) -> None:
    for version in range(3):
        await commit(lake, "jobs", {"id": list(range(version + 1)), "role": ["nurse"] * (version + 1)})
    await lake.call("build_corpus", {"name": "roles", "dataset": "jobs", "text": ["role"], "id": "id"})
    await lake.call("storage_put", {"key": "a%2Fb é'/x y" + "z" * 120, "text": "hello"})
    await lake.call("set_profile", {"name": "p", "bucket": "primary"})


@pytest.mark.slow
async def test_there_and_back(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """SQL, search, old versions, profiles, own objects and the journal are there again, under another name."""
    await filled(lake)
    (home / "secrets.toml").write_text("", encoding="utf-8")
    with closing(sqlite3.connect(home / "state.db")) as state:
        state.execute("PRAGMA journal_mode=WAL")
        state.execute("CREATE TABLE t AS SELECT 7 AS n")
        state.commit()
        made = await lake.call("backup", {"path": str(tmp_path / "b.tar.zst")}, via="cli")
    assert made["size_bytes"] == (tmp_path / "b.tar.zst").stat().st_size
    new = tmp_path / "new"
    new.mkdir()
    done = await lakehouse.restore(tmp_path / "b.tar.zst", new)
    assert (done["entries"], done["content_bytes"]) == (made["entries"], made["content_bytes"])
    assert not list(tmp_path.glob("*.restoring*")) and not (new / "cache").exists()
    async with lakehouse.open(new, overrides={"embed.provider": "hash"}) as other:
        assert (await other.call("query_sql", {"sql": "SELECT count(*) FROM jobs"}))["rows"] == [[3]]
        assert (await other.call("get_manifest", {"name": "jobs", "version": 1}))["row_count"] == 1
        assert (await other.call("matrix_search", {"query_text": "nurse", "k": 1}))["results"]
        assert (await other.call("storage_get", {"key": "a%2Fb é'/x y" + "z" * 120}))["text"] == "hello"
        assert (await other.call("list_profiles", {}))["count"] == 1
        events = (await other.call("journal_query", {}))["events"]
        assert (events[0]["action"], events[0]["entity_type"]) == ("restore", "home")
        assert [e["after"]["version"] for e in events if e["entity_type"] == "dataset"] == [3, 2, 1]
        await commit(other, "jobs", {"id": [9], "role": ["cook"]})
        assert (await other.call("get_manifest", {"name": "jobs"}))["version"] == 4
    with closing(sqlite3.connect(new / "state.db")) as copied:
        assert copied.execute("SELECT n FROM t").fetchone() == (7,)
    event = (await lake.call("journal_query", {"action": "backup"}))["events"][0]
    assert (event["actor"], event["entity_id"]) == ("cli", "b.tar.zst")


@pytest.mark.slow
async def test_while_commits_go_on(lake: Lakehouse, tmp_path: Path) -> None:
    """Every version a backup has is whole: what its manifests name is in it."""
    going = True

    async def committing(name: str) -> None:
        number = 0
        while going:
            number += 1
            await commit(lake, name, {"n": list(range(number))})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(committing, "a")
        tasks.start_soon(committing, "b")
        while len(await lake.datasets.list()) < 2:
            await anyio.sleep(0)
        for number in range(4):
            await lake.call("backup", {"path": str(tmp_path / f"{number}.tar.zst")})
        going = False
    for number in range(4):
        new = tmp_path / f"new{number}"
        await lakehouse.restore(tmp_path / f"{number}.tar.zst", new)
        async with lakehouse.open(new) as other:
            for manifest in await other.datasets.list():
                for version in range(1, manifest.version + 1):
                    found = await other.datasets.get(manifest.name, version)
                    assert found.row_count == version and await other.datasets.local_files(found)


@pytest.mark.slow
async def test_buckets_elsewhere_are_in_it_when_asked_for(home: Path, tmp_path: Path) -> None:
    """By default what is not in it is named; with them, they lie in the new directory, and the old ones stay alone."""
    url = (tmp_path / "eu").as_uri()
    home.mkdir()
    text = f'[[storage.buckets]]\nname = "eu"\nurl = "{url}"\n[server]\ntool_timeout_secs = 31\n'
    (home / "lakehouse.toml").write_text(text, encoding="utf-8")
    async with lakehouse.open(home) as lake:
        await lake.call("set_profile", {"name": "eu", "bucket": "eu"})
        async with lake.within("eu"):
            await commit(lake, "people", {"who": ["anna"]})
        without = await lake.call("backup", {"path": str(tmp_path / "without.tar.zst")})
        await lake.call("backup", {"path": str(tmp_path / "with.tar.zst"), "with_remote": True})
    assert any("bucket eu" in text for text in without["left_out"])
    await lakehouse.restore(tmp_path / "without.tar.zst", tmp_path / "one")
    assert (tmp_path / "one" / "lakehouse.toml").read_text(encoding="utf-8") == text
    done = await lakehouse.restore(tmp_path / "with.tar.zst", tmp_path / "two")
    assert "eu" in done["notes"][0] and (tmp_path / "two" / "lakehouse.toml.original").exists()
    async with lakehouse.open(tmp_path / "two") as other:
        assert (await other.call("query_sql", {"sql": "FROM people", "profile": "eu"}))["rows"] == [["anna"]]
        assert other.storage.buckets["eu"].root == tmp_path / "two" / "buckets" / "eu"


async def test_credentials_are_not_in_it(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "lakehouse.toml").write_text('[auth]\ntoken = "opensesame"\n', encoding="utf-8")
    (home / ".env").write_text("OPENSESAME=opensesame", encoding="utf-8")
    (home / "keys.toml").write_text("[s3.primary]\naccess_key_id = 'opensesame'\n", encoding="utf-8")
    async with lakehouse.open(home, overrides={"storage.secrets": str(home / "keys.toml")}) as lake:
        await lake.call("ingest_file", {"name": "a", "content": "a\n1\n"})
        made = await lake.call("backup", {"path": str(tmp_path / "b.tar.zst")})
    assert any("lakehouse.toml" in text for text in made["left_out"])
    names = [name for name, _ in await entries(tmp_path / "b.tar.zst")]
    assert not {"home/lakehouse.toml", "home/.env", "home/keys.toml", "home/lake.lock"} & set(names)


@pytest.mark.slow
async def test_damage_is_found_before_anything_is_there(lake: Lakehouse, tmp_path: Path) -> None:
    """Cut off anywhere, a bit turned anywhere: refused, and nothing is left of it."""
    await filled(lake)
    await lake.call("backup", {"path": str(tmp_path / "b.tar.zst")})
    whole = (tmp_path / "b.tar.zst").read_bytes()
    bad = tmp_path / "bad.tar.zst"
    for number in range(24):
        place = len(whole) * number // 24
        turned = bytearray(whole)
        turned[place] ^= 0x10
        for content in (whole[:place], bytes(turned)):
            bad.write_bytes(content)
            try:
                await lakehouse.restore(bad, tmp_path / "new")
            except InvalidInput as refused:
                assert "cannot be restored" in refused.detail
                assert not (tmp_path / "new").exists()
            else:  # a bit that no reader looks at
                async with lakehouse.open(tmp_path / "new") as other:
                    assert len(await other.datasets.list()) == 1
                await anyio.to_thread.run_sync(_removed, tmp_path / "new")
            assert not list(tmp_path.glob("*.restoring*"))
    said = await entries(tmp_path / "b.tar.zst")
    name = next(name for name, _ in said if name.startswith("home/objects/datasets/"))
    await packed(bad, [(one, content + b"x" if one == name else content) for one, content in said])
    with pytest.raises(InvalidInput, match="datasets/jobs"):
        await lakehouse.restore(bad, tmp_path / "new")
    await packed(bad, [one for one in said if one[0] != name])
    with pytest.raises(InvalidInput, match="datasets/jobs"):
        await lakehouse.restore(bad, tmp_path / "new")


HEADER = (archive.HEADER, json.dumps({"format": 1, "buckets": {}}).encode())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([("home/../../evil", b"x")], "leads out of the data directory"),
        ([("../evil", b"x")], "leads out of the data directory"),
        ([("/evil", b"x")], "leads out of the data directory"),
        ([("home//evil", b"x")], "leads out of the data directory"),
        ([("home\\..\\evil", b"x")], "leads out of the data directory"),
        ([("C:/evil", b"x")], "leads out of the data directory"),
        ([("evil", b"x")], "has no place"),
        ([("buckets/evil", b"x")], "has no place"),
        ([("home/a", b"x"), ("home/a", b"y")], "is there twice"),
        ([("home/a", b"x"), ("home/a/b", b"y")], ""),
        ([("home/link", "../../evil")], "is no file"),
        ([(archive.SUMS, b"")], "without a hash"),
        ([], "cut off"),
    ],
)
async def test_crafted_ones_are_refused(tmp_path: Path, content: list[Any], said: str) -> None:
    """No entry leads elsewhere, whatever it is called and whatever it is."""
    await packed(tmp_path / "c.tar.zst", [HEADER, *content])
    with pytest.raises(LakehouseError) as refused:
        await lakehouse.restore(tmp_path / "c.tar.zst", tmp_path / "new")
    assert said in refused.value.detail and isinstance(refused.value, InvalidInput | Upstream)
    assert [path.name for path in tmp_path.iterdir()] == ["c.tar.zst"]


async def test_what_is_no_backup(tmp_path: Path, home: Path) -> None:
    (tmp_path / "x").write_bytes(b"not at all")
    await packed(tmp_path / "foreign.tar.zst", [("README", b"hello")])
    await packed(tmp_path / "newer.tar.zst", [(archive.HEADER, b'{"format": 2}')])
    for name, said in (("x", "cannot be restored"), ("foreign.tar.zst", "no backup"), ("newer.tar.zst", "format 2")):
        with pytest.raises(InvalidInput, match=said):
            await lakehouse.restore(tmp_path / name, home)
    with pytest.raises(NotFound):
        await lakehouse.restore(tmp_path / "none", home)
    home.mkdir()
    (home / "there").write_text("x", encoding="utf-8")
    with pytest.raises(Conflict, match="is there already"):
        await lakehouse.restore(tmp_path / "x", home)


async def test_half_a_restore_opens_nowhere(lake: Lakehouse, tmp_path: Path) -> None:
    """Killed while it unpacks: the folder it leaves is no data directory, and the next restore removes it."""
    await filled(lake)
    await lake.call("backup", {"path": str(tmp_path / "b.tar.zst")})
    new = tmp_path / "new"

    def half() -> Path:
        staging, _ = restoring._begin(tmp_path / "b.tar.zst", new)
        steps = archive.Reader(tmp_path / "b.tar.zst").unpack(staging, restoring._place)
        for _ in range(4):
            next(steps)
        return staging.rename(f"{str(staging).rpartition('-')[0]}-4194305")  # as a process that is no more

    left = await anyio.to_thread.run_sync(half)
    assert not new.exists() and len(list(left.rglob("*"))) > 4
    with pytest.raises(InvalidInput, match="restoring"):
        async with lakehouse.open(left):
            pass
    await lakehouse.restore(tmp_path / "b.tar.zst", new)
    assert not left.exists() and new.exists()


async def test_where_a_backup_may_be_written(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    for caller in (Caller(via="mcp"), Caller(via="http", remote=True)):
        with pytest.raises(Forbidden):
            await lake.call("backup", {"path": str(tmp_path / "b.tar.zst")}, caller=caller)
    with pytest.raises(InvalidInput, match="data directory itself"):
        await lake.call("backup", {"path": str(home / "b.tar.zst")})
    with pytest.raises(InvalidInput, match="no folder"):
        await lake.call("backup", {"path": str(tmp_path / "none" / "b.tar.zst")})
    with pytest.raises(InvalidInput, match="is no path"):
        await lake.call("backup", {"path": f"{tmp_path}/\0"})
    (tmp_path / "there").write_text("x", encoding="utf-8")
    with pytest.raises(Conflict):
        await lake.call("backup", {"path": str(tmp_path / "there")})
    await lake.call("backup", {"path": str(tmp_path / "there"), "overwrite": True})
    await lakehouse.restore(tmp_path / "there", tmp_path / "home2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "home2", "there"]


async def test_nothing_is_removed_while_it_is_copied() -> None:
    """Collecting waits for another time; a copy waits for what is being removed."""
    removals = Removals()
    order = []

    async def copy() -> None:
        async with removals.copying():
            order.append("copies")
            with removals.removing() as may:
                assert not may
            with pytest.raises(LakehouseError, match="a backup"):
                async with removals.copying():
                    pass

    async with anyio.create_task_group() as tasks:
        with removals.removing() as may, removals.removing() as also:
            assert may and also
            tasks.start_soon(copy)
            await anyio.wait_all_tasks_blocked()
            order.append("removed")
    assert order == ["removed", "copies"]
    with removals.removing() as may:
        assert may


async def entries(path: Path) -> list[tuple[str, bytes]]:
    """What is in an archive."""

    def read() -> list[tuple[str, bytes]]:
        import pyarrow

        with pyarrow.input_stream(str(path), compression="zstd") as stream:
            data = io.BytesIO(stream.read())
        with tarfile.open(fileobj=data) as archive:
            found = []
            for info in archive:
                file = archive.extractfile(info)
                assert file is not None
                found.append((info.name, file.read()))
            return found

    return await anyio.to_thread.run_sync(read)


async def packed(path: Path, content: list[tuple[str, Any]]) -> None:
    """An archive of these entries; text in place of bytes is where a link leads."""

    def write() -> None:
        import pyarrow

        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, inner in content:
                info = tarfile.TarInfo(name)
                info.mode = 0o644
                if isinstance(inner, str):
                    info.type, info.linkname = tarfile.SYMTYPE, inner
                    archive.addfile(info)
                else:
                    info.size = len(inner)
                    archive.addfile(info, io.BytesIO(inner))
        with pyarrow.output_stream(str(path), compression="zstd") as stream:
            stream.write(data.getvalue())

    await anyio.to_thread.run_sync(write)


def _removed(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)
