"""What callers at a distance, and those bound to a profile, must not get by way of the retrieval plane."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import numpy as np
import pytest

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse, NotFound
from lakehouse.engine.playbook.batch import Batch
from lakehouse.engine.vectors import masks
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio
AGENT = Caller(via="mcp")


@pytest.fixture
async def lake(tmp_path: Path) -> AsyncIterator[Lakehouse]:
    """A data directory and a secrets file within a folder that corpora may be built from."""
    work = tmp_path / "work"
    (work / "docs").mkdir(parents=True)
    (work / "docs" / "guide.md").write_text("# Guide\nAll about it.\n")
    (work / "secrets.toml").write_text('token = "open sesame"\n')
    (work / "docs" / "linked.md").symlink_to(work / "secrets.toml")
    settings = {
        "embed.provider": "hash",
        "corpora.folders": [str(work)],
        "storage.secrets": str(work / "secrets.toml"),
    }
    async with lakehouse.open(work / "lake", overrides=settings) as lake:
        yield lake


async def test_a_folder_is_read_without_what_is_lakehouses_own(lake: Lakehouse, tmp_path: Path) -> None:
    """The data directory, buckets and credentials within an allowed folder: neither named, nor walked into."""
    work = tmp_path / "work"
    (work / "lake" / "uploads").mkdir(exist_ok=True)
    (work / "lake" / "uploads" / "others.txt").write_text("of somebody else")
    for own in ("lake", "lake/uploads", "docs/../lake"):
        with pytest.raises(Forbidden):
            await lake.call("build_corpus", {"name": "own", "folder": str(work / own), "include": ["*"]}, caller=AGENT)
    given = {"name": "all", "folder": str(work), "include": ["*"]}
    built = await lake.call("build_corpus", given, caller=AGENT)
    found = await lake.call("matrix_search", {"query_text": "open sesame", "corpora": ["all"], "k": 50})
    assert {hit["metadata"]["doc_id"] for hit in found["results"]} == {"docs/guide.md"}
    assert built["skipped"] == 2  # the secrets, and the link to them


async def test_a_search_ends_with_its_call(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 regular expressions over many long texts take minutes: a call that is over gives its thread back."""
    await lake.call("create_index", {"name": "long", "dimension": 1})
    ids = [f"i{n}" for n in range(1000)]
    rows = np.ones((len(ids), 1), np.float32)
    await lake.vectors.add_matrix("long", ids, rows, [{"t": "ab " * 60 + id} for id in ids])
    tested: list[Any] = []
    known = masks._tested
    with anyio.CancelScope() as call:

        def one(test: Any, fields: Any) -> Any:
            if not tested:
                anyio.from_thread.run_sync(call.cancel)
            tested.append(test)
            return known(test, fields)

        monkeypatch.setattr(masks, "_tested", one)
        some = [{"t": {"$regex": f"(a|b)*{n}$"}} for n in range(60)]
        await lake.call("search_vectors", {"index": "long", "vector": [1.0], "filter": {"$or": some}})
    assert call.cancelled_caught and len(tested) == 1


REMEMBERED = {"query_text": "q", "answer_id": "a", "answer_corpus": "c"}
HALF = "\ud800"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("playbook_record", {**REMEMBERED, "score": 1, "tags": [HALF]}, "tags"),
    ("playbook_clicks", {"session_id": HALF, "query_text": "q", "clicks": [{}]}, "session_id"),
    ("playbook_clicks", {"session_id": "s", "query_text": "q", "clicks": [{"kind": {}}]}, "kind"),
    ("playbook_clicks", {"session_id": "s", "query_text": "q", "clicks": [{"kind": "open", "ts": 10**400}]}, "ts"),
    ("playbook_quarantine", {"writer": "w" * 2000}, "writer"),
    ("playbook_quarantine", {"ids": [HALF]}, "ids"),
    ("playbook_quarantine", {"writer": "w", "reason": "r" * 2000}, "reason"),
]


async def test_what_a_caller_sends_does_not_spoil_what_others_are_given(lake: Lakehouse) -> None:
    """Refused, naming the argument: metadata no answer could carry, and rules that would leave no room for others."""
    for tool, given, name in REFUSED:
        with pytest.raises(InvalidInput, match=name):
            await lake.call(tool, given, caller=AGENT)
    done = await lake.call("playbook_record_bulk", {"entries": [{**REMEMBERED, "score": 10**400}]}, caller=AGENT)
    assert done["failed"] == 1 and "score" in done["results"][0]["error"]
    await lake.call("create_index", {"name": "deep", "dimension": 1})
    deep: Any = 1
    for depth in range(1, 103):
        deep = {"a": deep} if depth % 2 else [deep]
        item = {"id": "x", "vector": [1], "metadata": deep}
        if depth in (100, 102):
            try:
                await lake.call("add_vectors", {"index": "deep", "items": [item]}, caller=AGENT)
            except InvalidInput as refused:
                assert depth == 102 and "items[0].metadata" in refused.detail
    assert (await lake.call("get_vector", {"index": "deep", "id": "x"}, caller=AGENT))["metadata"]


async def test_much_text_takes_no_longer(lake: Lakehouse) -> None:
    """Words of a question, and symbols of a focus, are looked at so many at a time: these would take minutes."""
    await lake.call("create_index", {"name": "v", "dimension": 1})
    asked = {"query_text": "a_" * 3_000_000, "corpora": ["v"], "retrieval": "lexical"}
    assert (await lake.call("matrix_search", asked, caller=AGENT))["count"] == 0
    focus = {"path": "a", "defined_symbols": [f"s{n}" for n in range(200_000)], "imported_symbols": ["in::it"]}
    chunks = [{"text": text * 1000} for text in ("s7x ", "s77 ", "win::it ", "in::it ")]
    found = await lake.call("matrix_relevance", {"focus": focus, "chunks": chunks}, caller=AGENT)
    signals = {one["text"][:8].split()[0]: one["signals"] for one in (*found["kept"], *found["dropped"])}
    assert signals == {"s7x": {}, "s77": {"defined_match": 0.6}, "win::it": {}, "in::it": {"import_penalty": -0.5}}


async def test_one_call_does_not_make_thousands_of_indexes(lake: Lakehouse) -> None:
    entries = [{**REMEMBERED, "score": 2 if n < 10 else 1, "corpus": f"p{n}"} for n in range(65)]
    entries = [*entries, {**REMEMBERED, "score": 1, "corpus": "p10"}]
    done = Batch.of(entries, "playbook_memory")
    assert len(done._of) == 50 and len(done._of["p10"]) == 2
    told = (await done.write(_written, _heard)).results
    assert [n for n, one in enumerate(told) if one.error] == [*range(10), *range(60, 65)]


async def _written(corpus: str, entries: Any) -> None:
    """Stands for the store."""


async def _heard(done: int) -> None:
    """Nobody."""


async def test_a_pinned_name_says_nothing_of_what_came_after(lake: Lakehouse) -> None:
    """Nor does it list the generations that others have."""
    await lake.call("create_index", {"name": "v", "dimension": 1})
    for id in ("a", "b", "c"):
        await lake.call("add_vectors", {"index": "v", "items": [{"id": id, "vector": [1]}]})
        await lake.call("snapshot_index", {"name": "v"})
    await lake.call("set_profile", {"name": "eu", "bucket": "primary", "indexes": {"pin": "v@2"}})
    bound = Caller(via="mcp", profile="eu")
    shown = await lake.call("get_index", {"name": "pin"}, caller=bound)
    assert (shown["generation"], shown["count"]) == (2, 2)
    assert [one["generation"] for one in shown.get("generations", ())] in ([], [2])
    for name in ("pin@1", "pin@3", "pin@4", "v", "v@2"):
        with pytest.raises(NotFound):
            await lake.call("get_index", {"name": name}, caller=bound)
