"""Graphs of segments: what a search in one finds, beside a scan; masks; fresh and dead rows; damage."""

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.doubles.s3 import S3

from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Ask, IndexDamaged, Item, Vectors, format, graph, objects
from lakehouse.engine.vectors.graph import Builder, Wishes
from lakehouse.engine.vectors.quantise import encode
from lakehouse.engine.vectors.scan import Part, Query, nearest

pytestmark = pytest.mark.anyio
ROWS, WIDTH = 4000, 16


def opened(home: Path, storage: config.Storage | None = None, **more: Any) -> Vectors:
    return Vectors(home, Storage(home, storage or config.Storage()), config.Vectors(graph_rows=1000, **more))


def clustered(seed: int, rows: int = ROWS) -> np.ndarray:
    dice = np.random.default_rng(seed)
    middles = dice.standard_normal((40, WIDTH))
    found = middles[dice.integers(0, 40, rows)] + 0.4 * dice.standard_normal((rows, WIDTH))
    return found.astype(np.float32)


async def filled(
    vectors: Vectors, distance: Any = "cosine", seed: int = 1, name: str = "it", **more: Any
) -> np.ndarray:
    rows = clustered(seed)
    await vectors.create(name, WIDTH, distance, **more)
    await vectors.add_matrix(name, [f"v{n}" for n in range(ROWS)], rows, [{"n": n} for n in range(ROWS)])
    return rows


async def graph_file(vectors: Vectors, name: str = "it") -> Path:
    state = await (await vectors._index(name)).state()
    found = [sealed.graph.path for sealed in state.sealed if sealed.graph is not None]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
async def test_a_graph_finds_what_a_scan_finds(home: Path, distance: str) -> None:
    """Built by a process of its own; ids, distances and metadata are those of the exact answer."""
    vectors = opened(home)
    rows = await filled(vectors, distance)
    assert (await vectors.ask("it", Ask(10, rows[0]))).scanned == "scan"
    assert await vectors.optimise("it") == 1
    assert await vectors.optimise("it") == 0
    same = total = 0
    for query in clustered(1, ROWS + 50)[ROWS:]:
        found = await vectors.ask("it", Ask(10, query))
        exact = await vectors.ask("it", Ask(10, query, exact=True))
        assert (found.scanned, exact.scanned) == ("graph", "scan")
        same += len({(hit.id, hit.distance) for hit in found.near} & {(hit.id, hit.distance) for hit in exact.near})
        total += 10
        assert all(hit.metadata == {"n": int(hit.id[1:])} for hit in found.near)
    assert same >= 0.99 * total
    assert (await vectors.ask("it", Ask(300, rows[0]))).scanned == "scan"
    again = opened(home)
    found = await again.ask("it", Ask(1, rows[7]))
    assert (found.scanned, found.near[0].id) == ("graph", "v7")
    assert found.near[0].distance <= 1e-6
    assert await again.verify("it") == []


async def test_fresh_and_dead_rows_beside_a_graph(home: Path, in_threads: None) -> None:
    vectors = opened(home)
    rows = await filled(vectors)
    await vectors.optimise("it")
    near = [hit.id for hit in await vectors.search("it", rows[5], 200)]
    gone, moved = near[1:150], near[150:160]
    assert await vectors.delete_many("it", gone) == 149
    await vectors.add("it", [Item(id, -rows[5]) for id in moved])
    await vectors.add("it", [Item("new", rows[5], "fresh")])
    answer = await vectors.ask("it", Ask(30, rows[5]))
    assert answer.scanned == "graph+scan"
    assert {hit.id for hit in answer.near[:2]} == {"new", near[0]}
    assert len(answer.near) == 30
    assert not {hit.id for hit in answer.near} & {*gone, *moved}
    exact = await vectors.ask("it", Ask(30, rows[5], exact=True))
    assert [hit.id for hit in answer.near] == [hit.id for hit in exact.near]
    again = await opened(home).ask("it", Ask(30, rows[5]))
    assert (again.scanned, again.near) == ("graph+scan", answer.near)


async def test_rows_without_vectors_are_not_in_the_graph(home: Path, in_threads: None) -> None:
    vectors = opened(home, seal_rows=6000)
    await vectors.create("it", WIDTH)
    rows = clustered(2)
    items = [Item(f"v{n}", rows[n] if n % 3 else None, n) for n in range(ROWS)]
    await vectors.add("it", items)
    await vectors.optimise("it")
    answer = await vectors.ask("it", Ask(5, rows[4]))
    assert (answer.scanned, answer.near[0].id) == ("graph", "v4")
    assert (await vectors.get_item("it", "v3")).metadata == 3
    assert (await vectors.get("it")).count == ROWS


async def test_many_equal_vectors_are_ordered_by_id(home: Path, in_threads: None) -> None:
    """A graph proposes any of those that tie; a scan then finds them all (S9.8)."""
    vectors = opened(home)
    await vectors.create("it", 4, "euclidean")
    rows = np.zeros((2000, 4), np.float32)
    rows[1500:] = np.random.default_rng(1).standard_normal((500, 4))
    await vectors.add_matrix("it", [f"v{n:04d}" for n in range(2000)], rows, [n for n in range(2000)])
    await vectors.optimise("it")
    assert [hit.id for hit in await vectors.search("it", rows[0], 4)] == ["v0000", "v0001", "v0002", "v0003"]


SHARES, LEANS, WANTED = (0.0, 0.001, 0.01, 0.1, 0.4, 0.9, 1.0), ("uniform", "towards", "away"), (1, 10, 60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    share=st.sampled_from(SHARES) | st.floats(0, 1),
    lean=st.sampled_from(LEANS),
    k=st.sampled_from(WANTED) | st.integers(1, 300),
    distance=st.sampled_from(["cosine", "euclidean"]),
    seed=st.integers(0, 2**20),
)
def test_masks_let_the_nearest_through(
    parts: dict[str, Part], share: float, lean: str, k: int, distance: str, seed: int
) -> None:
    """Never fewer than k when k exist, whatever share of the rows a filter leaves and wherever they lie."""
    got, wanted = masked(parts[distance], share, lean, k, distance, seed)
    assert len(got) == len(wanted)
    assert len(got & wanted) >= 0.8 * len(wanted)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_recall_with_masks(parts: dict[str, Part], distance: str) -> None:
    """At least 0.99 at every selectivity, also of filters that go with or against the query."""
    for share in SHARES:
        for lean in LEANS:
            found = [masked(parts[distance], share, lean, 10, distance, seed) for seed in range(20)]
            same = sum(len(got & wanted) for got, wanted in found)
            assert same >= 0.99 * sum(len(wanted) for _, wanted in found), (share, lean)


def masked(part: Part, share: float, lean: str, k: int, distance: str, seed: int) -> tuple[set[int], set[int]]:
    """What a search finds with a mask, and what it should."""
    dice = np.random.default_rng(seed)
    vector = part.coded.vectors[seed % ROWS] + dice.standard_normal(WIDTH).astype(np.float32) * np.float32(0.4)
    places = _truth(part, vector, distance)
    noisy = places + dice.standard_normal(ROWS) * places.std() * 0.3
    order = dice.random(ROWS) if lean == "uniform" else noisy if lean == "towards" else -noisy
    mask = np.argsort(np.argsort(order)) < share * ROWS
    found, _ = nearest([part], Query.of(vector, distance), k, [mask], exact=False)
    allowed = np.setdiff1d(np.flatnonzero(mask), part.hidden)
    got = {row for _, _, row in sorted(found)[:k]}
    assert got <= set(allowed.tolist())
    return got, set(allowed[np.argsort(places[allowed], kind="stable")[:k]].tolist())


def _truth(part: Part, vector: np.ndarray, distance: str) -> Any:
    rows, q = part.coded.vectors.astype(np.float64), vector.astype(np.float64)
    if distance == "cosine":
        return 1 - rows @ q / np.linalg.norm(rows, axis=1) / np.linalg.norm(q)
    return np.linalg.norm(rows - q, axis=1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Part]]:
    """Rows with some dead ones and a graph, for each distance. Few rows try the graph, too."""
    found = {}
    patch = pytest.MonkeyPatch()
    patch.setattr("lakehouse.engine.vectors.scan.GATHERED", 1000)
    for distance in ("cosine", "euclidean"):
        coded = encode(clustered(9), distance)
        builder = Builder(coded, distance, Wishes())
        list(builder.build())
        path = tmp_path_factory.mktemp("graphs") / distance
        linked = graph.Graph("it", builder.save(path, distance), path, coded, distance)
        assert linked.verify() == []
        found[distance] = Part(coded, np.arange(0, ROWS, 17), linked)
    yield found
    patch.undo()


async def test_a_graph_that_loses_rows_is_built_again(tmp_path: Path) -> None:
    """A build with almost no care leaves rows that no search reaches; it is repeated with more, and that is noted."""
    coded = await anyio.to_thread.run_sync(encode, clustered(3, 1000), "cosine")
    builder = Builder(coded, "cosine", Wishes(m=5, ef_construction=1))
    steps = await anyio.to_thread.run_sync(list, builder.build())
    ref = await anyio.to_thread.run_sync(builder.save, tmp_path / "graph", "it")
    assert ref.misses > 2
    assert ref.ef_construction > 1
    assert len(steps) > 1
    assert (ref.m, ref.size) == (5, (await anyio.Path(tmp_path / "graph").stat()).st_size)


async def test_wishes_of_an_index_make_its_graphs(home: Path, in_threads: None) -> None:
    vectors = opened(home)
    await filled(vectors, m=8, ef_construction=40, ef_search=33)
    await vectors.optimise("it")
    ref = (await (await vectors._index("it")).state()).manifest.segments[0].graph
    assert ref is not None
    assert (ref.m, ref.ef_construction, ref.ef_search) == (8, 40, 33)


async def deleted(file: anyio.Path) -> None:
    await file.unlink()


async def cut(file: anyio.Path) -> None:
    await file.write_bytes((await file.read_bytes())[:-7])


async def flipped(file: anyio.Path) -> None:
    data = bytearray(await file.read_bytes())
    data[len(data) // 3] ^= 4
    await file.write_bytes(data)


@pytest.mark.parametrize("harm", [deleted, cut, flipped])
@pytest.mark.parametrize("large", [False, True])
async def test_a_damaged_graph_is_named(
    home: Path,
    harm: Callable[[anyio.Path], Awaitable[None]],
    large: bool,
    in_threads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A-S9-9: by opening, or soon after for a large one; by fsck; in `problems`. A sibling is whole."""
    if large:
        monkeypatch.setattr(objects, "CHECK_AT_ONCE", 0)
    vectors = opened(home)
    rows = await filled(vectors)
    await filled(vectors, seed=2, name="other")
    await vectors.optimise("it")
    await vectors.optimise("other")
    file = await graph_file(vectors)
    await anyio.Path(file).chmod(0o644)
    await harm(anyio.Path(file))
    again = opened(home)
    with pytest.raises(IndexDamaged) as caught:
        for _ in range(2):
            await again.search("it", rows[0], 1)
            await again.checked()
    assert caught.value.data["key"] == f"_vectors/it/graph/{file.name}"
    assert file.name in again.problems["it"]
    (problem,) = await vectors.verify("it")
    assert file.name in problem
    assert file.name in vectors.problems["it"]
    first = await again.ask("other", Ask(1, rows[0]))
    await again.checked()
    then = await again.ask("other", Ask(1, rows[0]))
    assert then.scanned == "graph"
    assert then.near == first.near
    await again.delete("it")
    assert "it" not in again.problems


async def test_a_generation_without_graphs_is_read(home: Path) -> None:
    """What was written before there were graphs names none."""
    vectors = opened(home)
    rows = await filled(vectors)
    state = await (await vectors._index("it")).state()
    key = format.manifest_key("it", state.manifest.number)
    document = json.loads(format.write_manifest(state.manifest))
    for ref in document["segments"]:
        assert ref.pop("graph") is None
    document.pop("check")
    data, _ = format._signed({name: value for name, value in document.items() if name != "format"})
    await anyio.Path(home / "objects" / key).write_bytes(data)
    again = opened(home)
    assert (await again.search("it", rows[3], 1))[0].id == "v3"
    assert await again.optimise("it") == 1


async def test_a_graph_in_a_remote_bucket(moto: S3, home: Path, in_threads: None) -> None:
    """Whoever opens it elsewhere fetches it once; a spoilt copy is fetched again."""
    remote = moto.settings()
    vectors = opened(home, remote)
    rows = await filled(vectors)
    await vectors.optimise("it")
    away = home.with_name("away")
    reader = opened(away, remote)
    assert (await reader.ask("it", Ask(3, rows[2]))).scanned == "graph"
    copy = await graph_file(reader)
    await anyio.Path(copy).chmod(0o644)
    await flipped(anyio.Path(copy))
    third = opened(away, remote)
    assert (await third.search("it", rows[2], 1))[0].id == "v2"
    assert await third.verify("it") == []


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_that_eight_bits_cannot_tell_apart(tmp_path: Path, distance: str) -> None:
    """The vectors decide among all that a search has looked at, and not among the few whose codes are best."""
    rows = clustered(3, 2000)
    rows[500:600] = rows[500] + 1e-4 * np.random.default_rng(4).standard_normal((100, WIDTH)).astype(np.float32)
    coded = encode(rows, distance)
    builder = Builder(coded, distance, Wishes())
    assert list(builder.build())[-1] == 2000
    ref = builder.save(tmp_path / "graph", "it")
    made = graph.Graph("it", ref, tmp_path / "graph", coded, distance)
    assert made.verify() == []
    query = Query.of(rows[500:600].mean(axis=0), distance)
    none = np.empty(0, np.int64)
    found, used = nearest([Part(coded, none, made)], query, 10, exact=False)
    assert (used, sorted(found)) == ({"graph"}, sorted(nearest([Part(coded, none)], query, 10)[0]))
