"""BM25 beside raw tantivy on the same texts in the same run.

    python bench/lexical.py            100,000 texts of about 600 bytes
    python bench/lexical.py --quick    10,000

Prints one line per figure: ours, tantivy's, the ratio. Ours is asked through the store, with a thread switch and the
metadata of every answer; tantivy is asked in this thread and gives the ids.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import tantivy

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.vectors import middle, timed, times, told

from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Ask, Item, Vectors

COMMON = ("service", "great")
RARE = "zanzibar"
QUERIES = 200
HEAP = 200_000_000


def texts(count: int) -> list[str]:
    """Reviews of about 90 words, 30,000 in Zipf's proportions, each with a code and a word of its own."""
    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    words = ["".join(rng.choice(syllables, rng.integers(2, 5))) for _ in range(30_000)]
    words[2:4] = COMMON
    share = 1 / np.arange(3, 30_003)
    drawn = rng.choice(30_000, (count, 88), p=share / share.sum())
    made = []
    for row, line in enumerate(drawn):
        chosen = [words[place] for place in line]
        sentences = [" ".join(chosen[at : at + 11]).capitalize() + "." for at in range(0, 88, 11)]
        rare = f" {RARE}." if row % (count // 20) == 7 else ""
        made.append(f"{' '.join(sentences)} Case AC-{row:06d}, u{row}x.{rare}")
    return made


class Raw:
    """tantivy with its English analysis."""

    def __init__(self, home: Path) -> None:
        schema = tantivy.SchemaBuilder()
        schema.add_text_field("id", stored=True, tokenizer_name="raw")
        schema.add_text_field("text", tokenizer_name="en_stem")
        self.index = tantivy.Index(schema.build(), path=str(home))

    def add(self, ids: list[str], some: list[str]) -> None:
        """Add texts and wait until they can be searched."""
        writer = self.index.writer(HEAP, 1)
        for id, text in zip(ids, some, strict=True):
            writer.add_document(tantivy.Document(id=id, text=text))
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()

    def asked(self, query: str) -> Callable[[int], object]:
        """A search, to be timed."""
        searcher = self.index.searcher()
        parsed = self.index.parse_query(query, ["text"])

        def ask(_: int) -> object:
            return [searcher.doc(place)["id"] for _, place in searcher.search(parsed, 10).hits]

        return ask


def size(folder: Path, pattern: str) -> float:
    """MB of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file()) / 1e6


async def main(home: Path, count: int) -> None:
    """Build, ask, add, print."""
    every, ids = texts(count), [f"row-{i}" for i in range(count)]
    print(f"{count} texts, {sum(map(len, every)) / 1e6:.0f} MB")
    (home / "raw").mkdir()
    raw = Raw(home / "raw")
    began = time.perf_counter()
    raw.add(ids, every)
    raw_build = time.perf_counter() - began
    vectors = Vectors(home / "ours", Storage(home / "ours", config.Storage()), config.Vectors())
    await vectors.create("it", 2)
    seconds = []
    for metas in ([{"n": i} for i in range(count)], [{"text": text} for text in every]):
        began = time.perf_counter()
        await vectors.add_matrix("it", ids, np.ones((count, 2), np.float32), metas)
        seconds.append(time.perf_counter() - began)
    told("build, durable, with ids and metadata", seconds[1], "s", raw_build, "tantivy")
    told("build, what the words take of it", seconds[1] - seconds[0], "s", raw_build, "tantivy")
    told("size of words.bin / of tantivy's index", size(home / "ours", "words.bin"), "MB", size(home / "raw", "*"))

    code = f"AC-{count // 2:06d}"
    for name, query in (
        ("a word that is in one text", f"u{count // 2}x"),
        ("a code, half of which is in all", code),
        ("a word that is in 20", RARE),
        ("two common words", " ".join(COMMON)),
        ("a common and a rare one", f"{COMMON[0]} {RARE}"),
        ("a sentence of 11 words", every[3].partition(".")[0]),
    ):

        async def ask(_: int, query: str = query) -> Any:
            return await vectors.ask("it", Ask(10, text=query))

        ours, peer = await times(QUERIES, ask), timed(QUERIES, raw.asked(query.replace("-", " ")))
        told(f"{name} p50", middle(ours), "ms", middle(peer), "tantivy")
        told(f"{name} p95", ours[QUERIES * 95 // 100], "ms", peer[QUERIES * 95 // 100], "tantivy")
    found = (await vectors.ask("it", Ask(1, text=code))).matches
    print(f"the text with {code}: {found[0].id}, of tantivy {raw.asked(chr(34) + code + chr(34))(0)}")

    async def add(number: int) -> None:
        await vectors.add("it", [Item(f"new-{number}", [1.0, 1.0], {"text": f"{every[number]} new{number}"})])
        assert (await vectors.ask("it", Ask(1, text=f"new{number}"))).matches[0].id == f"new-{number}"

    ours = await times(30, add)
    peer = timed(10, lambda number: raw.add([f"new-{number}"], [f"{every[number]} new{number}"]))
    told("add one, durable, and find it p50", middle(ours), "ms", middle(peer), "tantivy's commit")
    await vectors.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 texts instead of 100,000")
    size_of_run = 10_000 if parser.parse_args().quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, Path(folder), size_of_run)
