"""The catalog: names, ids and fingerprints; commits, races and crashes; what cannot be read."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine.datasets import (
    Column,
    DataFile,
    DatasetDamaged,
    DatasetNotFound,
    Datasets,
    EmptyFingerprint,
    EmptyName,
    SchemaChanged,
    check_name,
    data_key,
    dataset_id,
    fingerprint,
)
from lakehouse.engine.manifests import BadManifest, decoded, folder_of, manifest_key, version_of
from lakehouse.engine.sample import sample
from lakehouse.engine.storage import Storage, check_key
from lakehouse.errors import InvalidInput, NotFound, Upstream

pytestmark = pytest.mark.anyio
COLUMNS = (Column("id", "int64"), Column("name", "string"))
GOLDEN = "916f5f59b41fe1bf3785e0e9d2fd6d6233b0a6bfb86da6241549582922a923a4"


def a_file(content: str, rows: int = 1) -> DataFile:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return DataFile(f"datasets/x/{digest}.parquet", digest, len(content), rows)


@pytest.fixture
def storage(home: Path) -> Storage:
    return Storage(home, config.Storage())


@pytest.fixture
def datasets(home: Path, storage: Storage) -> Datasets:
    return Datasets(home, storage)


def again(home: Path) -> Datasets:
    """The same data directory as a new process sees it."""
    return Datasets(home, Storage(home, config.Storage()))


def stored(home: Path) -> dict[str, bytes]:
    root = home / "objects" / "_catalog"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.json"))}


class Failing:
    """Makes one verb of a bucket fail or wait, and lets it work again."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
        self.reached, self.release, self.error = anyio.Event(), anyio.Event(), Upstream("the store is down.")
        self.broken = True
        real: Callable[..., Any] = getattr(storage.bucket, verb)

        async def work(*args: Any, **options: Any) -> Any:
            if self.broken:
                raise self.error
            self.reached.set()
            await self.release.wait()
            return await real(*args, **options)

        monkeypatch.setattr(storage.bucket, verb, work)


# names, ids, keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("workers", "4ee908eb-05e4-5c26-a4ad-4ca54bb01062"),
        ("candidates", "d1fe2e25-da42-5599-b911-f56f6631569a"),
        ("people", "54eb9062-488a-5c80-9ade-2bd63f8dc68c"),
    ],
)
def test_ids_are_the_same_everywhere(name: str, expected: str) -> None:
    """A-S6-2."""
    assert dataset_id(name) == expected


def test_the_fingerprint_is_the_golden_one() -> None:
    """S7.6 golden; A-S7-2: `a,b` and two columns `a`, `b` differ; order and type count."""
    assert fingerprint(COLUMNS) == GOLDEN
    variants = [
        (Column("a,b", "string"),),
        (Column("a", "string"), Column("b", "string")),
        (Column("b", "string"), Column("a", "string")),
        (Column("a", "string"), Column("b", "int64")),
        (Column("a", "stringb"), Column("", "string")),
    ]
    assert len({fingerprint(columns) for columns in variants}) == len(variants)
    with pytest.raises(EmptyFingerprint):
        fingerprint([])


@pytest.mark.parametrize("name", ["orders", 'o\'brien "x"', "a b", "ünï コード", "50%", "x#12", "...", "a" * 128, "-"])
def test_names_that_are_fine(name: str) -> None:
    assert check_name(name) == name
    check_key(manifest_key(folder_of(name), 1))
    check_key(data_key(name, GOLDEN, GOLDEN))


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a\nb", "a\x00", ".", "..", "_x", "a" * 129, "é" * 65, "\ud800"])
def test_names_that_are_not(name: str) -> None:
    """S6.8."""
    with pytest.raises(InvalidInput, match="name"):
        check_name(name)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("plain", "plain"),
        ("a b", "a%20b"),
        ("o'brien", "o%27brien"),
        ("50%", "50%25"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("a+b", "a%2Bb"),
    ],
)
def test_keys_escape_names(name: str, folder: str) -> None:
    """A-S7-6: six cases of escaping, and the shape of a data file's key."""
    assert data_key(name, "f" * 64, "a" * 64) == f"datasets/{folder}/{'f' * 64}-{'a' * 64}.parquet"
    assert manifest_key(folder_of(name), 7) == f"_catalog/{folder}/00000000000000000007.json"


@given(st.lists(st.text(min_size=1, max_size=128), min_size=2, max_size=2, unique=True))
def test_every_legal_name_has_a_key_of_its_own(names: list[str]) -> None:
    """Names of any script fit the 255 bytes file systems give a name, however long their escapes are."""
    try:
        folders = [folder_of(check_name(name)) for name in names]
    except InvalidInput:
        return
    assert folders[0] != folders[1]
    for folder in folders:
        assert version_of(check_key(manifest_key(folder, 3))) == (folder, 3)


def test_long_names_are_cut_with_a_hash() -> None:
    names = ["漢" * 42, "漢" * 41 + "字", "'" * 128, "'" * 127 + '"']
    folders = [folder_of(name) for name in names]
    assert len(set(folders)) == 4
    assert all(len(folder) == 200 and "=" in folder for folder in folders)


# commits ------------------------------------------------------------------------------------------------------------


async def test_register_manifest_list_and_restart(datasets: Datasets, home: Path) -> None:
    """A-S6-1: what was committed is listed, and the same after a restart."""
    first, existing = await datasets.commit(
        "orders", COLUMNS, [a_file("one", 3)], statistics={"bytes": 10}, provenance={"source": "orders.csv"}
    )
    assert not existing
    assert (first.version, first.row_count, first.bucket) == (1, 3, "primary")
    assert (first.dataset_id, first.schema_fingerprint) == (dataset_id("orders"), GOLDEN)
    assert first.created_at == first.updated_at and first.created_at.endswith("Z")
    for name in ("zebra", 'o\'brien "x"', "漢" * 42):
        await datasets.commit(name, COLUMNS, [a_file("two")])
    before = await datasets.list()
    assert [m.name for m in before] == sorted(m.name for m in before)
    assert len(before) == 4
    reopened = again(home)
    assert await reopened.list() == before
    assert await reopened.get("orders") == first == await datasets.get("orders")
    assert await reopened.names() == [m.name for m in before]
    assert list(stored(home))[-1] == "zebra/00000000000000000001.json"


async def test_the_stored_manifest_has_the_fields_of_the_format(datasets: Datasets, home: Path) -> None:
    """S6.1."""
    await datasets.commit("orders", COLUMNS, [a_file("one")])
    body = json.loads(stored(home)["orders/00000000000000000001.json"])
    named = "dataset_id name version schema_fingerprint objects row_count columns statistics provenance"
    assert {*named.split(), "created_at", "updated_at", "bucket", "format", "checksum"} == set(body)
    assert set(body["objects"][0]) == {"key", "sha256", "size_bytes", "row_count", "role"}
    assert body["columns"] == [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]


async def test_the_same_content_is_the_same_version(datasets: Datasets, home: Path) -> None:
    """A-S6-3, A-S7-1: the same files write nothing; others under the same schema are the next version."""
    first, _ = await datasets.commit("orders", COLUMNS, [a_file("one")])
    files, generation = stored(home), datasets.generation
    same, existing = await datasets.commit("orders", COLUMNS, [a_file("one")], provenance={"another": "run"})
    assert existing and same == first
    assert stored(home) == files and datasets.generation == generation
    second, existing = await datasets.commit("orders", COLUMNS, [a_file("two")])
    assert not existing
    assert (second.version, second.dataset_id, second.created_at) == (2, first.dataset_id, first.created_at)
    assert second.updated_at > first.updated_at
    assert datasets.generation > generation
    assert await datasets.get("orders", 1) == first
    assert stored(home)["orders/00000000000000000001.json"] == files["orders/00000000000000000001.json"]


async def test_another_schema_is_a_conflict_and_changes_nothing(datasets: Datasets, home: Path) -> None:
    """A-S6-3: 409 with both schemas, and the stored manifest is byte-identical to before."""
    await datasets.commit("orders", COLUMNS, [a_file("one")])
    before = stored(home)
    drifted = (Column("id", "string"), Column("extra", "double"))
    with pytest.raises(SchemaChanged) as conflict:
        await datasets.commit("orders", drifted, [a_file("two")])
    assert conflict.value.http == 409
    for part in ("extra is new", "name is gone", "id was int64, is string"):
        assert part in conflict.value.detail
    assert conflict.value.data["stored"][0] == {"name": "id", "type": "int64"}
    assert conflict.value.data["given"] == [dataclasses.asdict(c) for c in drifted]
    with pytest.raises(SchemaChanged, match="another order"):
        await datasets.commit("orders", COLUMNS[::-1], [a_file("two")])
    assert stored(home) == before
    assert (await datasets.get("orders")).version == 1


async def test_bad_names_and_schemas_have_errors_of_their_own(datasets: Datasets, home: Path) -> None:
    """A-S6-6 without HTTP."""
    for name in ("", "  \t "):
        with pytest.raises(EmptyName):
            await datasets.commit(name, COLUMNS, [])
    with pytest.raises(EmptyFingerprint):
        await datasets.commit("x", [], [])
    for facts in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises(InvalidInput, match="statistics"):
            await datasets.commit("x", COLUMNS, [], statistics=facts)
    await datasets.commit("orders", COLUMNS, [])
    with pytest.raises(DatasetNotFound, match="Did you mean orders"):
        await datasets.get("order")
    with pytest.raises(DatasetNotFound, match="There are: orders"):
        await datasets.get("zzz")
    for version in (0, -1, 2, 10**30):
        with pytest.raises(DatasetNotFound, match="newest version is 1"):
            await datasets.get("orders", version)
    assert len(stored(home)) == 1


async def test_an_empty_catalog_is_an_empty_list(datasets: Datasets) -> None:
    """S6.7."""
    assert await datasets.list() == []
    assert await datasets.refresh() == []
    with pytest.raises(NotFound, match="none yet"):
        await datasets.get("x")


async def test_a_dataset_without_files_loads(datasets: Datasets, home: Path) -> None:
    """S6.6: zero objects decode."""
    await datasets.commit("empty", COLUMNS, [])
    manifest = await again(home).get("empty")
    assert (manifest.objects, manifest.row_count) == ((), 0)
    assert await datasets.local_files(manifest) == []
    assert (await sample(datasets, "empty"))[1] == []


async def test_what_is_returned_is_a_copy(datasets: Datasets) -> None:
    """A-S6-5: mutating a returned manifest changes nothing."""
    given = {"nested": {"list": [1]}}
    made, _ = await datasets.commit("orders", COLUMNS, [a_file("one")], statistics=given, provenance=given)
    given["nested"]["list"].append(2)
    for manifest in (made, await datasets.get("orders"), (await datasets.list())[0]):
        manifest.statistics["nested"]["list"].append(3)
        manifest.provenance.clear()
    kept = await datasets.get("orders")
    assert kept.statistics == kept.provenance == {"nested": {"list": [1]}}


async def test_a_failing_store_leaves_the_dataset_as_it_was(
    datasets: Datasets, storage: Storage, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-S6-4: when the commit cannot be stored, memory and bucket keep the version before, and the error is 502."""
    first, _ = await datasets.commit("orders", COLUMNS, [a_file("one")])
    before, generation = stored(home), datasets.generation
    Failing(storage, monkeypatch, "put")
    with pytest.raises(Upstream) as failed:
        await datasets.commit("orders", COLUMNS, [a_file("two")])
    assert failed.value.http == 502
    assert await datasets.get("orders") == first
    assert stored(home) == before and datasets.generation == generation
    monkeypatch.undo()
    assert (await datasets.commit("orders", COLUMNS, [a_file("two")]))[0].version == 2


async def test_reads_go_on_while_the_bucket_is_being_read(
    datasets: Datasets, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-S6-7: while a refresh waits for the store, get, list and commits answer; what they did is not lost."""
    first, _ = await datasets.commit("orders", COLUMNS, [a_file("one")])
    await datasets.list()
    slow = Failing(storage, monkeypatch, "list")
    slow.broken = False
    real = storage.bucket.__class__.list
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(datasets.refresh)
        await slow.reached.wait()
        assert await datasets.get("orders") == first
        assert await datasets.list() == [first]
        monkeypatch.setattr(storage.bucket, "list", lambda *a, **k: real(storage.bucket, *a, **k))
        await datasets.commit("orders", COLUMNS, [a_file("two")])
        await datasets.commit("fresh", COLUMNS, [a_file("two")])
        slow.release.set()
    assert [(m.name, m.version) for m in await datasets.list()] == [("fresh", 1), ("orders", 2)]


async def test_commits_of_one_name_follow_each_other(datasets: Datasets) -> None:
    """S6.5: concurrent commits give consecutive versions; those of other names go in parallel."""
    async with anyio.create_task_group() as tasks:
        for n in range(10):
            tasks.start_soon(datasets.commit, "one", COLUMNS, [a_file(f"a{n}")])
            tasks.start_soon(datasets.commit, f"other{n}", COLUMNS, [a_file("same")])
    assert (await datasets.get("one")).version == 10
    made = [await datasets.get("one", version) for version in range(1, 11)]
    assert len({manifest.objects for manifest in made}) == 10
    assert len(await datasets.list()) == 11


async def test_two_openings_of_one_bucket_lose_nothing(home: Path) -> None:
    """Commits meet at the create-only put: every one of them is a version, and both sides see all after a refresh."""
    sides = [again(home), again(home)]
    async with anyio.create_task_group() as tasks:
        for n in range(10):
            for side, datasets in enumerate(sides):
                tasks.start_soon(datasets.commit, "shared", COLUMNS, [a_file(f"{side}-{n}")])
    for datasets in sides:
        before = datasets.generation
        assert await datasets.refresh() == []
        assert (await datasets.get("shared")).version == 20
        await datasets.refresh()
        assert datasets.generation <= before + 1
    seen = {(await sides[0].get("shared", version)).objects for version in range(1, 21)}
    assert len(seen) == 20


async def test_a_schema_another_process_committed_is_seen_at_the_commit(home: Path) -> None:
    one, other = again(home), again(home)
    await one.list()
    await other.commit("orders", COLUMNS, [a_file("one")])
    with pytest.raises(SchemaChanged):
        await one.commit("orders", COLUMNS[:1], [a_file("two")])
    same, existing = await one.commit("orders", COLUMNS, [a_file("one")])
    assert existing and same.version == 1


async def test_expectations_are_met_before_anything_is_written(datasets: Datasets, home: Path) -> None:
    """A commit within `expecting` is refused when the schema or the rows differ from what was said."""
    with datasets.expecting(fingerprint="f" * 64, row_count=None), pytest.raises(Exception, match="fingerprint"):
        await datasets.commit("orders", COLUMNS, [a_file("one", 3)])
    with datasets.expecting(fingerprint=GOLDEN, row_count=4), pytest.raises(Exception, match="3 rows, not 4"):
        await datasets.commit("orders", COLUMNS, [a_file("one", 3)])
    assert stored(home) == {}
    with datasets.expecting(fingerprint=GOLDEN, row_count=3):
        await datasets.commit("orders", COLUMNS, [a_file("one", 3)])
    await datasets.commit("orders", COLUMNS, [a_file("two", 5)])


async def test_a_cancelled_commit_is_whole_or_absent(home: Path) -> None:
    """Memory and bucket agree whatever moment the cancellation comes at."""
    datasets = again(home)
    for n in range(20):
        with anyio.move_on_after(n / 4000):
            await datasets.commit("orders", COLUMNS, [a_file(f"{n}")])
    await datasets.commit("orders", COLUMNS, [a_file("last")])
    assert await datasets.get("orders") == await again(home).get("orders")
    assert len(stored(home)) == (await datasets.get("orders")).version


# what cannot be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "garbage", "a number", "bits", "foreign", "future", "empty"])
async def test_a_damaged_manifest_harms_no_other(datasets: Datasets, home: Path, damage: str) -> None:
    """A-S6-8: of three, two load; the third is reported and never silently replaced by its older version."""
    for name in ("a", "b", "c"):
        await datasets.commit(name, COLUMNS, [a_file("one")])
    await datasets.commit("b", COLUMNS, [a_file("two")])
    path = home / "objects/_catalog/b/00000000000000000002.json"
    good = path.read_bytes()
    bad = {
        "cut": good[:50],
        "garbage": b"\xff\x00",
        "a number": b"7",
        "bits": good.replace(b'"row_count": 1', b'"row_count": 9'),
        "foreign": (home / "objects/_catalog/a/00000000000000000001.json").read_bytes(),
        "future": good.replace(b'"format": 1', b'"format": 2'),
        "empty": b"",
    }[damage]
    path.write_bytes(bad)
    fresh = again(home)
    assert [m.name for m in await fresh.list()] == ["a", "c"]
    assert await fresh.names() == ["a", "b", "c"]
    (problem,) = await fresh.refresh()
    assert problem == fresh.problems[0] and "'b'" in problem and "00000000000000000002.json" in problem
    for attempt in (fresh.get("b"), fresh.get("b", 2), fresh.commit("b", COLUMNS, [a_file("three")])):
        with pytest.raises(DatasetDamaged, match="00000000000000000002"):
            await attempt
    assert (await fresh.get("b", 1)).version == 1
    assert path.read_bytes() == bad
    path.write_bytes(good)
    assert (await fresh.get("b")).version == 2
    assert fresh.problems == [] and len(await fresh.list()) == 3


async def test_a_removed_damaged_version_makes_the_one_before_the_newest(datasets: Datasets, home: Path) -> None:
    await datasets.commit("b", COLUMNS, [a_file("one")])
    await datasets.commit("b", COLUMNS, [a_file("two")])
    path = home / "objects/_catalog/b/00000000000000000002.json"
    path.write_bytes(b"{")
    fresh = again(home)
    assert len(await fresh.refresh()) == 1
    path.unlink()
    assert await fresh.refresh() == []
    assert (await fresh.get("b")).version == 1


async def test_a_store_that_fails_is_an_error_not_an_empty_catalog(
    datasets: Datasets, storage: Storage, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """A listing that fails is raised and tried again; a manifest that cannot be fetched is a problem until it can."""
    await datasets.commit("orders", COLUMNS, [a_file("one")])
    fresh = Datasets(home, storage)
    Failing(storage, monkeypatch, "list")
    for _ in range(2):
        with pytest.raises(Upstream, match="down"):
            await fresh.list()
    monkeypatch.undo()
    Failing(storage, monkeypatch, "get")
    assert await fresh.refresh() == ["the store is down."]
    monkeypatch.undo()
    assert (await fresh.get("orders")).version == 1


async def test_strangers_below_the_prefix_are_ignored(datasets: Datasets, storage: Storage, home: Path) -> None:
    for key in (
        "_catalog/readme.txt",
        "_catalog/x/notes.json",
        "_catalog/x/1.json",
        "_catalog/x/y/00000000000000000001.json",
    ):
        await storage.bucket.put(key, b"?")
    await datasets.commit("x", COLUMNS, [a_file("one")])
    assert await datasets.refresh() == []
    assert [m.name for m in await again(home).list()] == ["x"]


def test_decoding_never_fails_in_another_way() -> None:
    for data in (b"null", b"[]", b'{"checksum": 1}', b'{"format": 1, "checksum": ""}', b"\x80", b'"x"'):
        with pytest.raises(BadManifest):
            decoded(data)


# files --------------------------------------------------------------------------------------------------------------


async def put_parquet(storage: Storage, path: Path, rows: int) -> DataFile:
    table = pyarrow.table({"id": list(range(rows)), "name": [f"n{i}" for i in range(rows)]})
    pyarrow.parquet.write_table(table, path)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    file = DataFile(data_key("t", fingerprint(COLUMNS), digest), digest, len(data), rows)
    await storage.bucket.put_file(file.key, path)
    return file


@pytest.mark.parametrize("url", ["", "memory://"])
async def test_local_files_and_samples(home: Path, tmp_path: Path, url: str) -> None:
    """Files are read in place, or from a verified copy that is made once."""
    storage = Storage(home, config.Storage(url=url))
    datasets = Datasets(home, storage)
    files = [await put_parquet(storage, tmp_path / "p", rows) for rows in (15, 30)]
    manifest, _ = await datasets.commit("t", COLUMNS, files)
    paths = await datasets.local_files(manifest)
    assert paths == await datasets.local_files(manifest)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == [f.sha256 for f in files]
    assert all(path.stat().st_mode & 0o222 == 0 for path in paths)
    found, rows = await sample(datasets, "t", 20)
    assert found == manifest
    assert rows == [[i, f"n{i}"] for i in range(15)] + [[i, f"n{i}"] for i in range(5)]


async def test_a_file_that_is_gone_or_altered_is_reported(home: Path, tmp_path: Path) -> None:
    storage = Storage(home, config.Storage())
    datasets = Datasets(home, storage)
    manifest, _ = await datasets.commit("t", COLUMNS, [await put_parquet(storage, tmp_path / "p", 3)])
    (path,) = await datasets.local_files(manifest)
    path.chmod(0o644)
    path.write_bytes(b"PAR1" + bytes(manifest.objects[0].size_bytes - 4))
    with pytest.raises(DatasetDamaged, match="Parquet"):
        await sample(datasets, "t")
    path.write_bytes(b"short")
    with pytest.raises(DatasetDamaged, match="5 bytes"):
        await datasets.local_files(manifest)
    path.unlink()
    with pytest.raises(DatasetDamaged, match="is gone"):
        await sample(datasets, "t")


async def test_the_cache_believes_nothing_it_did_not_verify(home: Path, tmp_path: Path) -> None:
    """A remote object that is not what the manifest says is refused and not kept; a good one is fetched once."""
    storage = Storage(home, config.Storage(url="memory://"))
    datasets = Datasets(home, storage)
    file = await put_parquet(storage, tmp_path / "p", 3)
    good = await storage.bucket.get(file.key)
    manifest, _ = await datasets.commit("t", COLUMNS, [file])
    folder = home / "cache" / "objects"
    for bad in (good[:-1] + b"X", good + b"X", b""):
        await storage.bucket.put(file.key, bad)
        with pytest.raises(Upstream, match="not the file"):
            await datasets.local_files(manifest)
        assert list(folder.iterdir()) == []
    await storage.bucket.put(file.key, good)
    await datasets.local_files(manifest)
    await storage.bucket.delete(file.key)
    assert [path.read_bytes() for path in await datasets.local_files(manifest)] == [good]
    (folder / "leftover.parquet#12").write_bytes(b"x")
    await Datasets(home, storage).local_files(manifest)
    assert [path.name for path in folder.iterdir()] == [f"{file.sha256}.parquet"]
    (folder / f"{file.sha256}.parquet").unlink()
    with pytest.raises(DatasetDamaged):
        await datasets.local_files(manifest)


async def test_many_ask_for_one_file_and_it_is_fetched_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(home, config.Storage(url="memory://"))
    datasets = Datasets(home, storage)
    manifest, _ = await datasets.commit("t", COLUMNS, [await put_parquet(storage, tmp_path / "p", 3)])
    fetched = []
    real = storage.bucket.get_to

    async def counted(key: str, path: Path) -> None:
        fetched.append(key)
        await real(key, path)

    monkeypatch.setattr(storage.bucket, "get_to", counted)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(datasets.local_files, manifest)
    assert len(fetched) == 1


# crashes ------------------------------------------------------------------------------------------------------------

COMMITTER = """
import sys
from pathlib import Path
import anyio
from lakehouse import config
from lakehouse.engine.datasets import Column, DataFile, Datasets
from lakehouse.engine.storage import Storage

async def main():
    home = Path(sys.argv[1])
    datasets = Datasets(home, Storage(home, config.Storage()))
    for n in range(int(sys.argv[3])):
        file = DataFile(f"k{sys.argv[2]}-{n}", "0" * 64, 1, 1)
        manifest, _ = await datasets.commit("shared", [Column("id", "int64")], [file])
        print(manifest.version, file.key, flush=True)

anyio.run(main)
"""


def committer(home: Path, label: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COMMITTER, str(home), label, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_processes_that_commit_at_once_lose_nothing(home: Path) -> None:
    """Every acknowledged commit of every process is a version of its own."""
    acknowledged: dict[int, str] = {}
    with committer(home, "a", 25) as one, committer(home, "b", 25) as other:
        for child in (one, other):
            for line in child.stdout or ():
                version, key = line.split()
                assert int(version) not in acknowledged
                acknowledged[int(version)] = key
    datasets = again(home)
    assert (await datasets.get("shared")).version == 50 == len(acknowledged)
    for number, kept in acknowledged.items():
        assert (await datasets.get("shared", number)).objects[0].key == kept


async def test_a_commit_survives_kill_9(home: Path) -> None:
    """What was acknowledged before the kill is there; nothing is half there; the next commit goes on."""
    acknowledged: dict[int, str] = {}
    for label in ("a", "b", "c"):
        with committer(home, label, 1_000_000) as child:
            for line in child.stdout or ():
                version, key = line.split()
                acknowledged[int(version)] = key
                if len(acknowledged) % 20 == 0:
                    child.kill()
    datasets = again(home)
    assert await datasets.refresh() == []
    newest = await datasets.get("shared")
    assert newest.version >= max(acknowledged)
    for number, kept in acknowledged.items():
        assert (await datasets.get("shared", number)).objects[0].key == kept
    assert (await datasets.commit("shared", [Column("id", "int64")], []))[0].version == newest.version + 1
