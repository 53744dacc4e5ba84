"""The catalog: commits, races, and a store that fails."""

import dataclasses
import json
from pathlib import Path

import anyio
import pytest
from tests.catalog import COLUMNS, GOLDEN, Failing, a_file, again, stored

from lakehouse.engine.datasets import (
    Column,
    DatasetNotFound,
    Datasets,
    EmptyFingerprint,
    EmptyName,
    SchemaChanged,
    dataset_id,
)
from lakehouse.engine.sample import sample
from lakehouse.engine.storage import Storage
from lakehouse.errors import InvalidInput, NotFound, Upstream

pytestmark = pytest.mark.anyio


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
    named += " operation key expectations dropped"
    assert {*named.split(), "created_at", "updated_at", "bucket", "format", "checksum"} == set(body)
    assert set(body["objects"][0]) == {"key", "sha256", "size_bytes", "row_count", "role", "lacks"}
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
    for part in ("extra double is new", "name string is missing", "id was int64, is string"):
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
    slow = Failing(storage, monkeypatch, "names")
    slow.broken = False
    real = storage.bucket.__class__.names
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(datasets.refresh)
        await slow.reached.wait()
        assert await datasets.get("orders") == first
        assert await datasets.list() == [first]
        monkeypatch.setattr(storage.bucket, "names", lambda *a, **k: real(storage.bucket, *a, **k))
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


async def test_a_cancelled_commit_is_whole_or_absent(home: Path) -> None:
    """Memory and bucket agree whatever moment the cancellation comes at."""
    datasets = again(home)
    for n in range(20):
        with anyio.move_on_after(n / 4000):
            await datasets.commit("orders", COLUMNS, [a_file(f"{n}")])
    await datasets.commit("orders", COLUMNS, [a_file("last")])
    assert await datasets.get("orders") == await again(home).get("orders")
    assert len(stored(home)) == (await datasets.get("orders")).version
