"""Search by meaning across corpora."""

from typing import Annotated

from pydantic import Field

from lakehouse import Lakehouse, tool
from lakehouse.engine.matrix import Found

INSTRUCTIONS = (
    "Questions in plain words: matrix_search finds the records nearest in meaning; metadata.doc_id is the row's id, so "
    "SQL brings the rest of the row."
)


@tool(
    name="matrix_search",
    route="/v1/matrix/search",
    title="Search corpora by meaning",
    toolset="core retrieval",
    short="search QUERY_TEXT",
)
async def search(
    lake: Lakehouse,
    query_text: Annotated[str | None, "What to look for, in plain words."] = None,
    query_vector: Annotated[list[float] | None, "Or a vector; it wins, and nothing is embedded."] = None,
    corpora: Annotated[list[str] | None, "Which corpora; leave out to search all."] = None,
    model: Annotated[str | None, "Leave out: the corpora's own embedding model is used."] = None,
    k: Annotated[int | None, "Results in all; 8 by default.", Field(ge=1)] = None,
    per_corpus_k: Annotated[int | None, "Results of each corpus at most; 6, or k if more.", Field(ge=0)] = None,
) -> Found:
    """Find the texts nearest in meaning to a question, across corpora, each with its source and distance. For exact
    values, counts and joins use query_sql. Example: {"query_text": "certified to drive a lift truck", "k": 5}"""
    return await lake.matrix.search(
        query_text, query_vector, corpora=corpora, model=model, k=k, per_corpus_k=per_corpus_k
    )
