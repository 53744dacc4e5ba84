"""The words of an index: BM25 as the formula says, however rows are stored, filtered before they are ranked."""

import json
import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine.lexical.analysis import cut, question, terms
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Ask, IndexDamaged, Item, Match, Vectors, words

pytestmark = pytest.mark.anyio

VOCABULARY = "wing slipstream boundary layer shock wave flow plate heat transfer AC-1001 東京 the of".split()


def opened(home: Path, **more: Any) -> Vectors:
    return Vectors(home, Storage(home, config.Storage()), config.Vectors(**more))


async def filled(home: Path, texts: dict[str, Any], **more: Any) -> Vectors:
    """An index `it` with these texts by id, in one segment."""
    vectors = opened(home, **more)
    await vectors.create("it", 2)
    metas = [{"text": text} for text in texts.values()]
    await vectors.add_matrix("it", list(texts), np.ones((len(texts), 2), np.float32), metas)
    return vectors


async def asked(vectors: Vectors, text: str, k: int = 10, **more: Any) -> list[Match]:
    return (await vectors.ask("it", Ask(k, text=text, **more))).matches


def naive(texts: dict[str, str], text: str) -> list[tuple[str, float]]:
    """BM25 as it is written down, best first, then by id."""
    counts = {}
    for id, held in texts.items():
        if found := Counter(term for word in cut(held) for term in terms(word)):
            counts[id] = found
    average = sum(found.total() for found in counts.values()) / max(1, len(counts))
    scores = defaultdict[str, float](float)
    for term in question(text, 100):
        often = sum(term in found for found in counts.values())
        idf = math.log(1 + (len(counts) - often + 0.5) / (often + 0.5))
        for id, found in counts.items():
            f = found[term]
            if f:
                scores[id] += idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * found.total() / average))
    return sorted(scores.items(), key=lambda pair: (-round(pair[1], 7), pair[0]))


def same(found: list[Match], expected: list[tuple[str, float]]) -> bool:
    return [match.id for match in found] == [id for id, _ in expected] and [m.score for m in found] == pytest.approx(
        [score for _, score in expected], abs=1e-8
    )


def sentences(count: int, seed: int = 0) -> dict[str, str]:
    rng = random.Random(seed)
    return {f"r{i:03d}": " ".join(rng.choices(VOCABULARY, k=rng.randint(0, 12))) for i in range(count)}


async def test_scores_are_those_of_the_formula_and_the_sum_of_their_terms(home: Path) -> None:
    """BM25 with k1 = 1.2 and b = 0.75, to 1e-8; the addends sum to the score exactly, in any order."""
    texts = sentences(300)
    vectors = await filled(home, texts)
    for text in (
        "wing",
        "wing slipstream",
        "the boundary of a layer",
        "AC-1001 shock",
        "東京",
        "absent wing",
        "absent",
    ):
        found = await asked(vectors, text, 1000)
        assert same(found, naive(texts, text))
        assert same(await asked(vectors, text, 7), naive(texts, text)[:7])
        for match in found:
            parts = [term.score for term in match.terms]
            assert match.score == sum(parts) == sum(reversed(parts)) == math.fsum(parts)
            assert match.metadata == {"text": texts[match.id]}
            assert {term.term for term in match.terms} <= set(question(text, 100))
    await vectors.aclose()


async def test_the_order_and_scores_are_tantivys(home: Path, tmp_path: Path) -> None:
    """The same terms given to tantivy score the same, to the precision of its 32-bit numbers."""
    texts = {id: f"{text} wing" for id, text in sentences(200, 1).items()}
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("id", stored=True, tokenizer_name="raw")
    schema.add_text_field("text", tokenizer_name="whitespace")
    index = tantivy.Index(schema.build(), path=str(tmp_path))
    writer = index.writer(15_000_000, 1)
    for id, text in texts.items():
        own = [term for word in cut(text) for term in terms(word)]  # up to 40 terms: it keeps such lengths exactly
        writer.add_document(tantivy.Document(id=id, text=" ".join(own)))
    writer.commit()
    index.reload()
    vectors = await filled(home, texts)
    for text in ("wing slipstream", "heat transfer flow", "plate"):
        each = [tantivy.Query.term_query(index.schema, "text", term) for term in question(text, 100)]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, one) for one in each])
        searcher = index.searcher()
        peer = {searcher.doc(place)["id"][0]: score for score, place in searcher.search(query, 300).hits}
        found = await asked(vectors, text, 300)
        assert [match.score for match in found] == pytest.approx(sorted(peer.values(), reverse=True), rel=1e-4)
        assert {match.id: match.score for match in found} == pytest.approx(peer, rel=1e-4)
    await vectors.aclose()


VERBS = st.sampled_from(["add", "add", "bulk", "delete", "reopen"])
STEPS = st.lists(st.tuples(VERBS, st.lists(st.integers(0, 20), min_size=1, max_size=9)), min_size=3, max_size=12)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True)
@given(steps=STEPS, seal_rows=st.integers(1, 12))
def test_a_score_does_not_depend_on_how_rows_are_stored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int]]], seal_rows: int
) -> None:
    """Any history gives, bit by bit, what an index filled at once with its live rows gives; dead rows count nowhere."""
    anyio.run(_history, tmp_path_factory.mktemp("history"), steps, seal_rows)


async def _history(home: Path, steps: list[tuple[str, list[int]]], seal_rows: int) -> None:
    vectors = opened(home / "one", seal_rows=seal_rows)
    await vectors.create("it", 2)
    live: dict[str, str] = {}
    for number, (verb, picks) in enumerate(steps):
        ids = list(dict.fromkeys(f"r{pick:03d}" for pick in picks))
        texts = dict(zip(ids, sentences(len(ids), number).values(), strict=True))
        if verb == "reopen":
            await vectors.aclose()
            vectors = opened(home / "one", seal_rows=seal_rows)
        elif verb == "delete":
            await vectors.delete_many("it", ids)
            for id in ids:
                live.pop(id, None)
        elif verb == "bulk":
            metas = [{"text": text} for text in texts.values()]
            await vectors.add_matrix("it", ids, np.ones((len(ids), 2), np.float32), metas)
            live |= texts
        else:
            await vectors.add("it", [Item(id, [1.0, 1.0], {"text": text}) for id, text in texts.items()])
            live |= texts
        await asked(vectors, "wing")  # the words of fresh rows are read as they come
    apart = await filled(home / "other", live or {"none": ""}, seal_rows=1)
    for text in ("wing", "heat transfer 東京", " ".join(VOCABULARY)):
        found = await asked(vectors, text, 5)
        assert found == await asked(apart, text, 5)
        assert same(found, naive(live, text)[:5])
    await vectors.aclose()
    await apart.aclose()


async def test_a_filter_hides_rows_and_changes_no_score(home: Path) -> None:
    """Only what is allowed is ranked, so there are k while k exist; the statistics stay those of the whole index."""
    texts = sentences(200, 2)
    vectors = await filled(home, texts)
    await vectors.add("it", [Item("fresh", [1.0, 1.0], {"text": "a wing"})])
    whole = await asked(vectors, "wing flow", 1000)
    allowed = {match.id for match in whole[40::3]} | {"fresh"}
    for text in ("wing flow", "wing"):
        expected = [match for match in await asked(vectors, text, 1000) if match.id in allowed]
        assert await asked(vectors, text, 5, ids=allowed) == expected[:5]
        assert await asked(vectors, text, 1000, ids=allowed) == expected
    assert await asked(vectors, "wing", ids=set()) == []
    await vectors.aclose()


async def test_texts_that_tie_come_by_id(home: Path) -> None:
    """However many they are, in segments and among the fresh rows, before they are cut at k."""
    ids = [f"r{i:04d}" for i in range(3000)]
    random.Random(0).shuffle(ids)
    vectors = await filled(home, dict.fromkeys(ids[:2000], "a wing"), seal_rows=1500)
    for start in range(2000, 3000, 500):
        await vectors.add("it", [Item(id, [1.0, 1.0], {"text": "a wing"}) for id in ids[start : start + 500]])
    for k in (1, 10, 1000):
        assert [match.id for match in await asked(vectors, "wing", k)] == sorted(ids)[:k]
    await vectors.aclose()


@pytest.mark.parametrize("text", ["", " ", "\0", "the of and", "?!", "\ud800", "x" * 1_000_000, "(((", '"'])
async def test_a_question_without_a_word_that_is_there_matches_nothing(home: Path, text: str) -> None:
    """No error and no guess; nor does it hang."""
    vectors = await filled(home, {"a": "the wing of it"})
    assert await asked(vectors, text) == []
    await vectors.aclose()


async def test_awkward_texts_and_questions(home: Path) -> None:
    """Codes, names in code and words of any script are found whole and in parts; a text that is none is passed over."""
    texts = {
        "code": "Course OSHA-30, file AC-1001.",
        "name": "calls getUserName and snake_case_name",
        "japanese": "東京タワーは日本の電波塔です",
        "chinese": "机器学习需要数据",
        "french": "Le café est fermé",
        "nul": "before\0after",
        "long": "y" * 100_000,
        "number": 17,
        "none": None,
        "list": ["wing"],
    }
    vectors = await filled(home, texts)
    await vectors.add("it", [Item("plain", [1.0, 1.0], "wing"), Item("nested", [1.0, 1.0], {"a": {"text": "wing"}})])
    for text, first in {
        "osha-30": "code",
        "OSHA": "code",
        "ac1001": "code",
        "1001": "code",
        "getusername": "name",
        "user": "name",
        "snake_case_name": "name",
        "日本": "japanese",
        "塔": "japanese",
        "数据": "chinese",
        "CAFE": "french",
        "after": "nul",
        "y" * 100_000: "long",
        "what is " * 2000 + " the machine 学习": "chinese",
    }.items():
        assert [match.id for match in await asked(vectors, text)] == [first], text[:40]
    assert await asked(vectors, "wing 17") == []
    await vectors.aclose()


async def test_of_a_long_question_the_rarest_terms_count(home: Path) -> None:
    """A whole text may be a question: it costs no more than its 128 rarest terms, wherever they stand in it."""
    rare = [f"ж{one}{other}" for one in "бвгджзкл" for other in "бвгджзклмнпрстфх"]
    vectors = await filled(home, {"a": "wing flow", "b": "wing flow", "c": "wing " + " ".join(rare)})
    (found, *rest) = await asked(vectors, "wing flow " + " ".join(rare))
    assert (found.id, rest) == ("c", [])
    assert sorted(term.term for term in found.terms) == sorted(rare)
    assert [match.id for match in await asked(vectors, "wing flow " + " ".join(rare[2:]))] == ["c", "a", "b"]
    await vectors.aclose()


async def test_a_snapshot_stays_as_it_was(home: Path) -> None:
    """Rows that come or go while a search holds its snapshot do not show in it."""
    vectors = await filled(home, {"a": "wing"})
    await vectors.add("it", [Item("b", [1.0, 1.0], {"text": "wing"})])
    state = await (await vectors._index("it")).state()
    before = await anyio.to_thread.run_sync(state.matching, "wing", 10)
    await vectors.add("it", [Item("c", [1.0, 1.0], {"text": "wing"})])
    await vectors.delete_item("it", "a")
    assert [match.id for match in await asked(vectors, "wing")] == ["b", "c"]
    assert (await anyio.to_thread.run_sync(state.matching, "wing", 10)).scored() == before.scored()
    await vectors.aclose()


async def test_a_segment_of_an_earlier_version_has_its_words_derived(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No words.bin among its files: the answers are the same. Nor is there one where no row has a text."""
    texts = sentences(100, 3)
    with monkeypatch.context() as patched:
        patched.setattr(words, "packed", lambda texts: iter([*texts][:0]))
        vectors = await filled(home, texts, seal_rows=1)
    assert not list(home.rglob(words.WORDS))
    found = await asked(vectors, "wing flow", 1000)
    assert same(found, naive(texts, "wing flow"))
    await vectors.add_matrix("it", ["later"], np.ones((1, 2), np.float32), [{"text": "wing"}])
    await vectors.delete("it")
    vectors = await filled(home, dict.fromkeys("abc", 17), seal_rows=1)
    assert not list(home.rglob(words.WORDS))
    assert await asked(vectors, "17") == []
    await vectors.aclose()


@pytest.mark.parametrize("kind", ["flipped", "missing", "truncated", "nonsense"])
async def test_a_damaged_file_of_words_is_named(home: Path, kind: str) -> None:
    """As any other file of a segment is, when the index is opened and by `verify`."""
    vectors = await filled(home, sentences(100), seal_rows=1)
    await vectors.aclose()
    (path,) = home.rglob(words.WORDS)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes({"flipped": bytes(data), "truncated": bytes(data[:-9]), "nonsense": bytes(len(data))}[kind])
    vectors = opened(home)
    with pytest.raises(IndexDamaged, match=words.WORDS):
        await asked(vectors, "wing")
    assert any(words.WORDS in problem for problem in await vectors.verify("it"))
    await vectors.aclose()


async def test_words_that_do_not_fit_together_are_damage(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large segment is checked in the background: a question that comes before that is told as well."""
    monkeypatch.setattr("lakehouse.engine.vectors.objects.CHECK_AT_ONCE", 0)
    monkeypatch.setattr("lakehouse.engine.vectors.objects.Objects._checked", lambda self, segment: None)
    vectors = await filled(home, sentences(100), seal_rows=1)
    await vectors.aclose()
    (path,) = home.rglob(words.WORDS)
    whole = path.read_bytes()
    _, rows, terms, *_ = np.frombuffer(whole, np.uint64, 5).tolist()
    postings = 40 + 8 * (terms + 1) + (4 * (terms + 1) + 7) // 8 * 8 + (4 * rows + 7) // 8 * 8
    for place in (0, 8, 16, 24, 32, 40 + 8, 40 + 8 * terms, postings):
        path.write_bytes(whole[:place] + b"\xff\xff\xff\x7f" + whole[place + 4 :])
        vectors = opened(home)
        with pytest.raises(IndexDamaged, match=words.WORDS):
            await asked(vectors, "wing")
        await vectors.aclose()
        path.write_bytes(whole)


async def test_quality_on_cranfield(home: Path, data: Callable[[str], Path]) -> None:
    """At least what bm25s reaches with the same parameters: nDCG@10 0.360, recall@10 0.393."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from bench.quality import scores

    folder = data("cranfield")
    read = {name: (folder / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("corpus", "queries")}
    documents = [json.loads(line) for line in read["corpus"].splitlines()]
    vectors = await filled(home, {row["id"]: f"{row['title']}. {row['text']}" for row in documents})
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, document, grade = line.split("\t")
        grades[query][document] = int(grade)
    found = []
    for query in map(json.loads, read["queries"].splitlines()):
        found.append(scores([match.id for match in await asked(vectors, query["text"])], grades[query["id"]]))
    ndcg, recall = (sum(values) / len(values) for values in zip(*found, strict=True))
    assert ndcg > 0.365
    assert recall > 0.395
    await vectors.aclose()
