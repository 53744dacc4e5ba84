"""How to use this lake: a guide to read, and prompts to start from."""

from typing import Annotated

from lakehouse import Lakehouse, prompt, resource

GUIDE = """\
# Using this lake

Two kinds of questions, two tools:

| question | tool |
|---|---|
| exact: how many, which rows, sums, joins, "all in Illinois" | `query_sql`: one read-only DuckDB statement |
| by meaning: "someone who can run a lift truck" | `matrix_search` over text corpora |

1. `list_datasets` and `matrix_corpora` say what is there; `schema_card` has the columns, values and likely joins that
   SQL needs, `lakehouse://datasets/{name}/sample` the rows. `list_queries` may have the question answered already.
2. Nothing there yet? `ingest_file` turns a CSV, TSV, JSON, JSON Lines, Parquet, Excel or PDF file into a dataset;
   `plan_ingest` says beforehand what it would do. Values that look like codes (leading zeros) stay text.
3. No corpus yet? `build_corpus` with a dataset's text columns and its id column, or with a folder of text files.
4. Each change is a version: `dataset_history`, `diff_dataset`, `restore_dataset`; SQL reads an older one with `as_of`,
   or as `"orders@v3"`. Change rows with `ingest_file` and `mode` append or upsert, remove some with `delete_rows`.
5. Combine: a search result's `metadata.doc_id` is the row's id, so `WHERE id IN (…)` brings the rest of the row.

Answers that are too long come as a preview with `truncated: true` and a `handle`; `get_result` reads on.
SQL is DuckDB's dialect: lambdas are written `lambda x: x + 1`, a PIVOT lists its values with IN.
"""


@resource("lakehouse://guide", title="How to use this lake", mime_type="text/markdown")
async def read(lake: Lakehouse) -> str:
    """Which tool answers which question, and the usual order of calls."""
    return GUIDE


@prompt(title="Explore a dataset", complete={"name": "datasets.names"})
async def explore_dataset(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> str:
    """Get to know a dataset: its columns, its size, what is odd about it."""
    return (
        f"Get to know the dataset {name!r}. Read lakehouse://datasets/{name}/schema and the sample beside it, then use "
        "query_sql (SUMMARIZE, counts, distinct values, ranges) to describe each column in a line. Point out nulls, "
        "duplicates, suspicious values and columns that look like ids or dates. End with three questions the data can "
        "answer and the SQL for each."
    )


@prompt(title="Ask a staffing question")
async def ask_staffing(lake: Lakehouse, question: Annotated[str, "What is wanted, in plain words."]) -> str:
    """Find the people or occupations that fit a request, with the evidence."""
    return (
        f"Staffing request: {question}\n\n"
        "1. See which corpora and datasets there are (matrix_corpora, list_datasets).\n"
        "2. Find candidates by meaning with matrix_search; say the request in the words a profile would use.\n"
        "3. Check hard requirements (place, certificate, availability) with query_sql on the rows behind the hits: "
        "metadata.doc_id is the row's id.\n"
        "4. Answer with a short ranked list: id, why it fits, what is missing. Cite the id of every claim. If nothing "
        "fits, say so and name the requirement that ruled the nearest ones out."
    )
