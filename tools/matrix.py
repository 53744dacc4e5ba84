"""Search by meaning and by words across corpora, and the gates before a model sees what was found."""

from typing import Annotated, Any

from pydantic import Field

from lakehouse import Lakehouse, tool
from lakehouse.engine.filters.allowed import SqlFilter
from lakehouse.engine.matrix import Chunk, Downgrade, Focus, Found, Relevance, Retrieval, Split

INSTRUCTIONS = (
    "Questions in plain words: matrix_search finds the records nearest in meaning; metadata.doc_id is the row's id, so "
    "SQL brings the rest of the row."
)
Values = dict[str, Any]


@tool(
    name="matrix_search",
    route="/v1/matrix/search",
    title="Search corpora by meaning",
    toolset="core retrieval",
    short="search QUERY_TEXT",
    short_defaults={"retrieval": "hybrid"},
)
async def search(
    lake: Lakehouse,
    query_text: Annotated[str | None, "What to look for, in plain words."] = None,
    query_vector: Annotated[list[float] | None, "Or a vector; it wins, and nothing is embedded."] = None,
    corpora: Annotated[list[str] | None, "Which corpora; leave out to search all."] = None,
    model: Annotated[str | None, "Leave out: the corpora's own embedding model is used."] = None,
    k: Annotated[int | None, "Results in all; 8 by default.", Field(ge=1)] = None,
    per_corpus_k: Annotated[int | None, "Results of each corpus at most; 6, or k if more.", Field(ge=0)] = None,
    retrieval: Annotated[Retrieval, "By meaning, by words, or both fused by rank."] = "dense",
    metadata_filter: Annotated[Values | None, "Fields: a value, a list of which one is enough, or operators."] = None,
    sql_prefilter: Annotated[SqlFilter | None, "Only items whose ids a query selects."] = None,
    use_playbook: Annotated[bool, "Let answers recorded for like questions move results."] = False,
    playbook_corpus: Annotated[str | None, "playbook_memory by default."] = None,
    playbook_top_k: Annotated[int | None, "Like questions looked at; 5."] = None,
    playbook_max_distance: Annotated[float | None, "How unlike they may be; 0.5."] = None,
    without: Annotated[list[str] | None, "Playbook entries to leave out of account."] = None,
    relevance: Annotated[Relevance | None, "Keep only chunks that have to do with a file of code."] = None,
    rerank: Annotated[bool, "Have the configured reranker judge the best again."] = False,
    diversity: Annotated[float | None, "0 to 1: prefer results unlike each other.", Field(ge=0, le=1)] = None,
    min_score: Annotated[float | None, "Least score; in dense searches the similarity."] = None,
    explain: Annotated[bool, "Show every number behind each result."] = False,
) -> Found:
    """Find the texts nearest in meaning to a question, across corpora, each with its source and distance. For exact
    values, counts and joins use query_sql. Example: {"query_text": "certified to drive a lift truck", "k": 5}"""
    return await lake.matrix.search(
        query_text,
        query_vector,
        corpora=corpora,
        model=model,
        k=k,
        per_corpus_k=per_corpus_k,
        retrieval=retrieval,
        metadata_filter=metadata_filter,
        sql_prefilter=sql_prefilter,
        use_playbook=use_playbook,
        playbook_corpus=playbook_corpus,
        playbook_top_k=playbook_top_k,
        playbook_max_distance=playbook_max_distance,
        without=without or (),
        relevance=relevance,
        rerank=rerank,
        diversity=diversity,
        min_score=min_score,
        explain=explain,
    )


@tool(
    name="matrix_relevance",
    route="/v1/matrix/relevance",
    title="Filter chunks by relevance",
    toolset="retrieval",
)
async def relevance(
    lake: Lakehouse,
    focus: Annotated[Focus, "The file being worked on."],
    chunks: Annotated[list[Chunk], "At least one."],
    threshold: Annotated[float | None, "Least score kept; 0.3 by default."] = None,
) -> Split:
    """Keep the chunks that have to do with a file of code; names it only imports count against a chunk.
    Example: {"focus": {"path": "src/db.rs", "content": "fn open() {}"}, "chunks": [{"text": "open the db"}]}"""
    return await lake.matrix.relevance(focus, chunks, threshold)


@tool(name="matrix_downgrade", route="/v1/matrix/downgrade", title="Choose a mode for a model", toolset="retrieval")
async def downgrade(
    lake: Lakehouse,
    mode: Annotated[str, "The mode asked for."],
    model: Annotated[str, "The model that will run it."],
    force_mode: Annotated[bool, "Keep the mode."] = False,
    force_full_enrichment: Annotated[bool | None, "The same; if absent LH_FORCE_FULL_ENRICHMENT decides."] = None,
    weak_models: Annotated[list[str] | None, "In place of models.weak_models; [] for none."] = None,
) -> Downgrade:
    """Turn codereview_lakehouse into codereview_isolation for a strong model. For the same answer on every server
    send force_full_enrichment. Example: {"mode": "codereview_lakehouse", "model": "x-ai/grok-4.1-fast"}"""
    return lake.matrix.downgrade(
        mode,
        model,
        force_mode=force_mode,
        force_full_enrichment=force_full_enrichment,
        weak_models=weak_models,
    )
