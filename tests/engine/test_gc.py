"""What gc removes, and what it never does: also beside writers, and when it is killed."""

import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.catalog import COLUMNS
from tests.engine.collecting import Lake

from lakehouse import config
from lakehouse.engine import claims
from lakehouse.engine.bucket import Bucket
from lakehouse.engine.datasets import DatasetNotFound
from lakehouse.engine.datasets.undo import drop, restore
from lakehouse.engine.manifests import manifest_key
from lakehouse.engine.profiles import Profile
from lakehouse.engine.upkeep import gc, survey
from lakehouse.errors import Forbidden, LakehouseError

pytestmark = pytest.mark.anyio


@pytest.fixture
def one(home: Path) -> Lake:
    return Lake(home)


async def test_by_default_only_what_no_version_names_goes(one: Lake) -> None:
    """Nothing that can be read is removed, and what is young is left: it may be about to be named."""
    for content in ("a", "b", "a"):
        await one.ingest("orders", content)
    old = await one.put("orders", "left over")
    (one.root / "datasets/orders/notes.txt").write_text("mine", encoding="utf-8")
    one.age()
    young = await one.put("orders", "just put")
    before = one.keys()
    told = await one.gc(dry_run=True)
    assert one.keys() == before
    assert [(r.key, r.bytes, r.why) for r in told.removed] == [(old.key, 9, "no version names it")]
    done = await one.gc()
    assert one.keys() == before - {old.key} and young.key in one.keys()
    assert done.model_dump() == told.model_dump() | {"dry_run": False}
    assert (await one.gc()).removed == []


async def test_versions_go_as_the_settings_say(one: Lake) -> None:
    """The manifest and the files nothing else names; a file that a kept version names stays."""
    for content in ("a", "b", "c", "a"):
        await one.ingest("orders", content)
    await one.ingest("people", "x")
    one.age()
    told = await one.gc(dry_run=True, keep_versions=2)
    done = await one.gc(keep_versions=2)
    assert [(r.dataset, r.version) for r in done.removed if r.version] == [("orders", 1), ("orders", 2)]
    assert (done.versions, done.files) == (told.versions, told.files) == (2, 1)
    assert "not among the newest 2" in done.removed[0].why
    fresh = Lake(one.home)
    assert await (await fresh.datasets.catalog_of("orders")).versions("orders") == [3, 4]
    assert await one.lost(["orders", "people"]) == []
    with pytest.raises(DatasetNotFound, match="no version 1 any more"):
        await restore(fresh.datasets, "orders", 1)
    assert (await restore(fresh.datasets, "orders", 3))[0].version == 5


async def test_what_somebody_reads_stays(one: Lake) -> None:
    """An older version that was asked for a moment ago, and one that was superseded a moment ago."""
    for content in ("a", "b", "c"):
        await one.ingest("orders", content)
    one.age()
    await one.datasets.at("orders", 1)
    await one.ingest("orders", "d")
    done = await one.gc(keep_versions=1)
    assert [r.version for r in done.removed if r.version] == [2]
    assert await one.lost(["orders"]) == []


async def test_a_dropped_dataset_goes_after_its_time_and_its_numbers_never_come_again(one: Lake) -> None:
    for content in ("a", "b"):
        await one.ingest("orders", content)
    await drop(one.datasets, "orders")
    one.age(3)
    assert (await one.gc(keep_versions=1, keep_dropped_days=4)).versions == 1  # version 1: what it held last stays
    assert (await restore(one.datasets, "orders"))[0].version == 4
    await drop(one.datasets, "orders")
    one.age(5)
    assert (await Lake(one.home).gc(keep_dropped_days=4)).versions == 3
    assert {key for key in one.keys() if key.startswith("datasets/")} == set()
    with pytest.raises(DatasetNotFound, match="removed"):
        await restore(Lake(one.home).datasets, "orders")
    again = await one.ingest("orders", "a")
    assert again.version == 6 and await one.lost(["orders"]) == []


async def test_a_damaged_dataset_is_left_alone(one: Lake) -> None:
    """What a version that cannot be read names is not known."""
    for name in ("a", "b"):
        for content in ("1", "2", "3"):
            await one.ingest(name, content)
    (one.root / manifest_key("a", 1)).write_bytes(b"{")
    stray = [await one.put(name, "stray") for name in "ab"]
    one.age()
    before = one.keys()
    done = await one.gc(keep_versions=1)
    assert {r.dataset for r in done.removed} == {"b"} and "'a'" in done.problems[0]
    assert {key for key in before if "/a/" in key} <= one.keys() and stray[1].key not in one.keys()


async def test_a_reader_of_some_datasets_removes_none(one: Lake) -> None:
    await one.ingest("a", "1")
    with pytest.raises(Forbidden):
        await gc.collect(one.datasets.within(Profile("p", "primary")), config.Datasets())


def shared(tmp_path: Path) -> tuple[Lake, Lake]:
    """Two data directories on one bucket."""
    url = (tmp_path / "shared").as_uri()
    return Lake(tmp_path / "one", url), Lake(tmp_path / "two", url)


@pytest.fixture(params=["one process", "two"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Lake, Lake]:
    """Who collects and who writes: in one process, or each on a data directory of its own."""
    if request.param == "two":
        return shared(tmp_path)
    one = Lake(tmp_path / "home")
    return one, one


async def test_an_ingest_of_what_is_being_removed_waits_and_puts_it_anew(
    pair: tuple[Lake, Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very same content at the same moment: gc has condemned it, the writer comes before it is removed."""
    collector, writer = pair
    await collector.ingest("orders", "a")
    await collector.put("orders", "same")
    collector.age()
    condemned, go_on = anyio.Event(), anyio.Event()
    real = survey.survey

    async def watched(catalog: Any) -> Any:
        found = await real(catalog)
        if catalog.claims._here or await catalog.bucket.list(claims.CONDEMNED) != await catalog.bucket.list("none/"):
            condemned.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(gc, "survey", watched)
    done = anyio.Event()

    async def write() -> None:
        await writer.ingest("orders", "same")
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collector.gc)
        await condemned.wait()
        tasks.start_soon(write)
        with anyio.move_on_after(0.5):
            await done.wait()
        assert not done.is_set()
        go_on.set()
    assert await writer.lost(["orders"]) == []


async def test_a_file_that_was_found_there_is_held_until_it_is_named(pair: tuple[Lake, Lake]) -> None:
    """The ingest comes first: its key is taken, and nothing is put."""
    collector, writer = pair
    await collector.put("orders", "same")
    collector.age()
    await writer.put("orders", "same")
    assert (await collector.gc()).files == 0
    await writer.ingest("orders", "same")
    assert await writer.lost(["orders"]) == []
    assert not any("_held" in key or "_condemned" in key for key in collector.keys())


@pytest.mark.slow
async def test_any_order_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers on one bucket, every step of theirs and of gc in random order: what is acknowledged is whole."""
    source = random.Random(5)
    real = {verb: getattr(Bucket, verb) for verb in ("put", "put_file", "get", "head", "list", "delete_all")}

    def stepping(verb: str) -> Callable[..., Awaitable[Any]]:
        async def step(*args: Any, **options: Any) -> Any:
            await anyio.sleep(source.random() ** 4 / 20)
            return await real[verb](*args, **options)

        return step

    removed = 0
    for round_ in range(12):
        collector, writer = shared(tmp_path / str(round_))
        for content in ("a", "b", "c"):
            await collector.ingest("orders", content)
        await collector.put("orders", "d")
        collector.age()
        acknowledged: list[int] = []

        async def ingest(writer: Lake = writer, acknowledged: list[int] = acknowledged) -> None:
            acknowledged.append((await writer.ingest("orders", "d")).version)

        async def go_back(writer: Lake = writer, acknowledged: list[int] = acknowledged) -> None:
            try:
                acknowledged.append((await restore(writer.datasets, "orders", 1))[0].version)
            except DatasetNotFound:
                return  # gc was faster

        async def clear(collector: Lake = collector) -> None:
            nonlocal removed
            removed += (await collector.gc(keep_versions=1)).files

        with monkeypatch.context() as patch:
            for verb in real:
                patch.setattr(Bucket, verb, stepping(verb))
            async with anyio.create_task_group() as tasks:
                works: list[Callable[[], Coroutine[Any, Any, None]]] = [ingest, go_back, clear]
                for work in source.sample(works, 3):
                    tasks.start_soon(work)
        assert await writer.lost(["orders"]) == []
        assert set(acknowledged) <= set(
            await (await Lake(tmp_path, writer.storage.settings.url).datasets.catalog_of("orders")).versions("orders")
        )
    assert removed


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.slow
async def test_cut_off_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was done by then, every version there is has its files, and a second run finishes the work."""
    whole: set[str] = set()
    for steps in range(50):
        lake = Lake(tmp_path / str(steps), (tmp_path / str(steps) / "bucket").as_uri())
        for content in ("a", "b", "c"):
            await lake.ingest("orders", content)
        await lake.ingest("gone", "x")
        await drop(lake.datasets, "gone")
        await lake.put("orders", "stray")
        lake.age(3)
        left = steps
        real = {verb: getattr(Bucket, verb) for verb in ("put", "delete_all")}

        def counting(verb: str, real: dict[str, Any] = real) -> Callable[..., Awaitable[Any]]:
            async def work(*args: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Crash
                left -= 1
                return await real[verb](*args, **options)

            return work

        crashed = False
        with monkeypatch.context() as patch:
            patch.setattr(gc, "_REMOVED", 1)
            for verb in real:
                patch.setattr(Bucket, verb, counting(verb))
            try:
                await lake.gc(keep_versions=1, keep_dropped_days=1)
            except Crash:
                crashed = True
        assert await lake.lost(["orders", "gone"]) == []
        again = Lake(tmp_path / str(steps), lake.storage.settings.url)
        again.age(3)
        await again.gc(keep_versions=1, keep_dropped_days=1)
        assert await again.lost(["orders", "gone"]) == []
        whole = whole or again.keys()
        assert again.keys() == whole
        if not crashed:
            break
    else:
        raise AssertionError("it never came to an end")
    assert steps > 5
    assert len([key for key in whole if key.startswith("datasets/")]) == 1


async def test_a_condemnation_of_a_killed_run_ends(tmp_path: Path) -> None:
    """A writer waits no longer than its lease; the next run removes it."""
    collector, writer = shared(tmp_path)
    file = await collector.put("orders", "same")
    collector.age()
    short = claims.Claims(collector.storage.bucket, alone=False, lease=0.2, margin=0.1)
    name = f"{claims.CONDEMNED}{'0' * 32}.json"
    await collector.storage.bucket.put(name, f'["{file.key}"]'.encode())
    writer.storage._claims["primary"] = short
    with anyio.fail_after(20):
        await writer.ingest("orders", "same")
    collector.age()
    await collector.gc()
    assert name not in collector.keys() and await collector.lost(["orders"]) == []


async def test_files_held_too_long_are_held_again_before_they_are_named(
    one: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept between the data file and the commit: the file may be gone, and is looked for."""
    file = await one.put("orders", "a")
    one.storage.claims_of("primary")._since[file.key] -= claims.GRACE_SECS
    one.age()
    await one.gc()
    with pytest.raises(LakehouseError, match="gone"):
        await one.datasets.commit("orders", COLUMNS, [file])
    assert await one.datasets.list() == []
