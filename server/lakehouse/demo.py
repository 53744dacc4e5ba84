"""The main job on made-up data, a step at a time: from a file to a table, to answers, to a workflow."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.catalogue import load
from lakehouse.errors import LakehouseError
from lakehouse.lake import open as open_lake
from lakehouse.sources import shipped

ROWS = 400
QUESTION = (
    "SELECT state, count(*) AS workers, round(avg(pay_rate), 2) AS mean_pay FROM workers "
    "WHERE status = 'active' GROUP BY state ORDER BY workers DESC, state LIMIT 5"
)
JOINED = (
    "SELECT worker_id, role, city, state, availability FROM workers "
    "WHERE worker_id IN ({ids}) AND availability = 'immediate'"
)
CORPUS: dict[str, Any] = {
    "id": "worker_id",
    "text": ["role", "skills", "certifications"],
    "metadata": ["role", "city", "state"],
}
WORDS = "licensed to drive heavy lorries"
OTHER_WORDS = "who may drive our big trucks?"
REFUSED = "COPY workers TO 'everything.csv'"


@dataclass(frozen=True)
class Step:
    """What was done, the command that does the same, and what came back."""

    title: str
    command: str
    result: dict[str, Any]


async def steps(folder: Path, home: Path | None = None) -> AsyncIterator[Step]:
    """Run the demonstration with files in `folder`, yielding each step as it is done.

    The data directory is `home`, which keeps what was made; without one, it is inside `folder`.
    """
    table = folder / "workers.csv"
    await anyio.to_thread.run_sync(write_workers, table, ROWS)
    async with open_lake(home or folder / "home") as lake:

        async def call(capability: str, **arguments: Any) -> dict[str, Any]:
            return dict(await lake.call(capability, arguments, via="cli"))

        found = await call("ingest.file", path=str(table), name="workers")
        shown = {key: found[key] for key in ("name", "version", "row_count", "schema_fingerprint")}
        yield Step("A file becomes a versioned table", f"lakehouse ingest {table.name} --name workers", shown)
        found = await call("sql.query", sql=QUESTION)
        yield Step("A question becomes rows", f'lakehouse sql "{QUESTION}"', _rows(found))
        built = await call("corpora.build", name="workers", dataset="workers", **CORPUS)
        shown = {key: built[key] for key in ("name", "model", "count", "docs_per_s", "wall_s")}
        options = f"--id {CORPUS['id']} --text {','.join(CORPUS['text'])} --metadata {','.join(CORPUS['metadata'])}"
        command = f"lakehouse corpora build workers --dataset workers {options}"
        yield Step("Its text columns become a searchable corpus (embedded on this machine)", command, shown)
        found = await call("matrix.search", query_text=WORDS, corpora=["workers"], k=5, retrieval="hybrid")
        yield Step(
            "Plain words find the right records, by their meaning and by the words",
            f'lakehouse search "{WORDS}" --corpora workers -k 5',
            _hits(found),
        )
        ids = ", ".join(hit["metadata"]["doc_id"] for hit in found["results"])
        sql = JOINED.format(ids=ids)
        found = await call("sql.query", sql=sql)
        yield Step("Search and SQL combine by id", f'lakehouse sql "{sql}"', _rows(found))
        served = str(found["rows"][0][0])
        noted = await call("playbook.record", query_text=WORDS, answer_id=served, answer_corpus="workers", score=1)
        yield Step(
            "One of them took the job: that is noted",
            f'lakehouse playbook record "{WORDS}" {served} workers 1',
            {key: noted[key] for key in ("playbook_id",)},
        )
        asked: dict[str, Any] = {"query_text": OTHER_WORDS, "corpora": ["workers"], "k": 3, "use_playbook": True}
        found = await call("matrix.search", **asked, retrieval="hybrid")
        yield Step(
            "Asked again, in other words, it comes first",
            f'lakehouse search "{OTHER_WORDS}" --corpora workers -k 3 --use-playbook',
            _hits(found),
        )
        flow: dict[str, Any] = {"need": OTHER_WORDS, "k": 3}
        found = await call("workflow.run", workflow="staffing-match", input=flow)
        shortlist = next(node["output"]["markdown"] for node in found["nodes"] if node["id"] == "shortlist")
        yield Step(
            "A workflow does all of it: each step is durable, and can ask somebody or a model",
            f'lakehouse run staffing-match --input need="{OTHER_WORDS}" --input k=3',
            {"status": found["status"], "shortlist": shortlist},
        )
        try:
            await call("sql.query", sql=REFUSED)
        except LakehouseError as error:
            yield Step(
                "What an agent must not do is refused, and it is told why",
                f'lakehouse sql "{REFUSED}"',
                error.problem(),
            )


def write_workers(path: Path, rows: int) -> None:
    """Write so many rows of the made-up staffing table as CSV; blocking."""
    load(shipped("corpora") / "staffing.py", "lakehouse.corpora.staffing").write_csv(path, rows)


def _rows(found: dict[str, Any]) -> dict[str, Any]:
    return {"columns": found["columns"], "rows": found["rows"]}


def _hits(found: dict[str, Any]) -> dict[str, Any]:
    hits = []
    for hit in found["results"]:
        near = hit["distance"] if hit["distance"] is None else round(hit["distance"], 3)  # null: only words matched
        hits.append({"id": hit["id"], "distance": near, "text": hit["metadata"]["text"]})
        if found["playbook_boosted"]:
            hits[-1]["boosted"] = "boosted_by" in hit
    return {"results": hits}
