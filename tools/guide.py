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
6. Work of several steps, with approvals: `workflow_list`, `workflow_run`. A run that is `paused` says what it `waits`
   for: `workflow_approve` with its run_id, once somebody says so. One that is still `running`: `workflow_status`.

Answers that are too long come as a preview with `truncated: true` and a `handle`; `get_result` reads on.
SQL is DuckDB's dialect: lambdas are written `lambda x: x + 1`, a PIVOT lists its values with IN.

## Writing a workflow

`workflow_modes` lists what a node can do, and says with a `name` what that one takes and puts out. Give the text as
`definition` to `workflow_validate`, then to `workflow_run`, first with `dry_run`.

```yaml
name: how-many
description: Counts, and asks before it goes on.
inputs:
  least: {type: integer, default: 3, description: The least number.}
nodes:
  - id: counted
    mode: sql.query
    with: {sql: "SELECT count(*) AS n, count(*) >= $least AS enough FROM range(5)", params: {least: $INPUTS.least}}
  - id: row
    depends_on: [counted]
    mode: fixture.echo
    with: {value: $counted.output.rows.0}
  - id: ask
    depends_on: [counted]
    approval: {message: "Is $counted.output.row_count row right?"}
  - id: told
    depends_on: [row, ask]
    when: "$counted.output.row_count > 0"
    mode: render.markdown
    with: {data: $row.output, sections: [{text: "There are {value.0}."}]}
returns: told
```

A node starts once all in its `depends_on` completed. `$id.output` is what a node put out, `$id.output.field` a field of
it; below `with:` of a mode it keeps its type and may lead deeper. `$ARGUMENTS` is the `message`. Other nodes: `prompt`
(with `output_format`, a JSON Schema), `loop`, `loop_group`, `workflow` with `fan_out`, `cancel`; `bash` and `script` do
not run for you. `lakehouse://workflows/{name}` has the text of those that are there.
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
