"""The staffing drivers: seeded tables of workers, made into datasets and corpora, and asked a few questions.

python -m lakehouse.staffing workers
python -m lakehouse.staffing workers --index-name ethereal_workers --id-prefix e-
python -m lakehouse.staffing candidates --limit 1000
python -m lakehouse.staffing 500k
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.catalogue import load
from lakehouse.engine.corpora import PartialFailure
from lakehouse.errors import InvalidInput, LakehouseError
from lakehouse.lake import open as open_lake
from lakehouse.sources import default_home, shipped

PROBES = ("forklift driver IL", "welder Chicago", "warehouse safety")
SHOWN = 5
# Rows embedded to tell how long the others will take, and from how many on it is worth telling.
SAMPLE = 64
LONG = 5000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Table:
    """A seeded table, called like the dataset and the definition of the corpus that are made of it."""

    name: str
    rows: int
    seed: int


DRIVERS = {
    "workers": Table("workers", 10_000, 1),
    "candidates": Table("candidates", 10_000, 3),
    "500k": Table("workers_500k", 500_000, 1),
}
# Made by the driver of workers under another name.
OTHERS = {"ethereal_workers": Table("ethereal_workers", 10_000, 2)}


async def drive(
    driver: str,
    home: Path,
    *,
    index_name: str | None = None,
    id_prefix: str | None = None,
    rows: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Write the table of a driver, ingest it, build the corpus, and ask PROBES of it.

    The corpus is called `index_name`; ethereal_workers has rows of its own, any other name those of the driver. With
    `limit` only so many rows are embedded. What was embedded before is not embedded again, so a run that was stopped
    goes on. Batches that fail are told through `say`, and the answer is `partial`; `strict` raises PartialFailure.
    """
    if driver not in DRIVERS:
        raise InvalidInput(f"driver: there is no {driver!r}.", fix=f"There are: {', '.join(DRIVERS)}.")
    given = DRIVERS[driver]
    table = OTHERS.get(index_name or "", given) if driver == "workers" else given
    index, rows = index_name or table.name, rows or table.rows
    if rows < 1 or (limit is not None and limit < 1):
        raise InvalidInput("rows, limit: they are below 1.", fix="Leave them out.")
    async with open_lake(home) as lake:

        async def call(capability: str, **arguments: Any) -> dict[str, Any]:
            given = {key: value for key, value in arguments.items() if value is not None}
            return dict(await lake.call(capability, given, via="cli"))

        async with anyio.TemporaryDirectory(prefix="lakehouse-staffing-") as folder:
            path = Path(folder) / f"{table.name}.csv"
            sample = await anyio.to_thread.run_sync(_written, path, rows, table.seed)
            stored = await call("ingest.file", path=str(path), name=table.name)
        say(f"{table.name}: {stored['row_count']:,} rows, version {stored['version']}")
        embedded = min(limit or rows, rows)
        if embedded > LONG:
            before = time.perf_counter()
            await call("embed.text", texts=sample)
            seconds = (time.perf_counter() - before) / len(sample) * embedded
            say(f"{index}: embedding {embedded:,} rows takes about {_span(seconds)} when none is embedded yet")
        answer: dict[str, Any] = {"dataset": stored["name"], "rows": stored["row_count"], "corpus": index}
        try:
            built = await call("corpora.build", name=table.name, index_name=index, id_prefix=id_prefix, limit=limit)
            answer |= {"partial": False, "built": built}
        except PartialFailure as error:
            if strict:
                raise
            say(f"warning: {error.detail}")
            answer |= {"partial": True, "built": dict(error.data or {}), "warning": error.detail}
        answer["probes"] = []
        for words in PROBES:
            before = time.perf_counter()
            try:
                found = await call("matrix.search", query_text=words, corpora=[index], k=SHOWN)
            except LakehouseError as error:
                if not answer["partial"]:
                    raise
                say(f"warning: {words}: {error.detail}")
                answer["probes"].append({"query": words, "problem": error.detail})
                continue
            answer["probes"].append(_probed(words, found["results"], time.perf_counter() - before, say))
    return answer


def _written(path: Path, rows: int, seed: int) -> list[str]:
    """Write the table; the texts of its first rows."""
    load(shipped("corpora") / "staffing.py", "lakehouse.corpora.staffing").write_csv(path, rows, seed)
    with path.open(encoding="utf-8", newline="") as file:
        read = csv.DictReader(file)
        return [
            " ".join((row["role"], row["skills"], row["city"], row["resume_text"]))
            for row, _ in zip(read, range(SAMPLE), strict=False)
        ]


def _probed(words: str, hits: Sequence[dict[str, Any]], seconds: float, say: Say) -> dict[str, Any]:
    """The hits of a question, told line by line."""
    say(f"{words}: {seconds * 1000:.1f} ms")
    shown = []
    for hit in hits:
        said = " ".join(hit["metadata"]["text"].split())[:80]
        shown.append({"id": hit["id"], "distance": hit["distance"], "text": said})
        say(f"  {hit['id']}  {hit['distance']:.3f}  {said}")
    return {"query": words, "seconds": round(seconds, 4), "hits": shown}


def _span(seconds: float) -> str:
    """A time to wait, as one says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a driver from the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lakehouse.staffing", description="Make staffing data searchable.")
    parser.add_argument("driver", choices=[*DRIVERS, *(f"staffing_{name}" for name in DRIVERS)])
    parser.add_argument("--home", type=Path, help="The data directory (default: LAKEHOUSE_HOME, else the user's).")
    parser.add_argument("--index-name", help="Call the corpus otherwise; ethereal_workers has rows of its own.")
    parser.add_argument("--id-prefix", help="Put before every id, so that those of two corpora differ.")
    parser.add_argument("--rows", type=int, help="Rows of the table.")
    parser.add_argument("--limit", type=int, help="Embed only so many rows.")
    parser.add_argument("--strict", action="store_true", help="Exit with 1 when batches failed.")
    parser.add_argument("--json", action="store_true", help="Print one JSON value at the end.")
    given = vars(parser.parse_args(arguments))
    home, as_json = given.pop("home"), given.pop("json")
    place = (home or default_home()).expanduser().resolve()
    stream = sys.stderr if as_json else sys.stdout

    def say(line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    async def work() -> dict[str, Any]:
        driver = given.pop("driver").removeprefix("staffing_")
        return await drive(driver, place, **given, say=say)

    try:
        answer = anyio.run(work)
    except LakehouseError as error:
        sys.stderr.write(f"error: {error.detail}\n  {error.fix}\n" if error.fix else f"error: {error.detail}\n")
        return 1 if isinstance(error, PartialFailure) else error.exit
    if as_json:
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
