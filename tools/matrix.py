"""Search corpora by meaning and words; filter what is found."""

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
    title="Search by meaning and words",
    toolset="core retrieval",
    short="search QUERY_TEXT",
    short_defaults={"retrieval": "hybrid"},
)
async def search(
    lake: Lakehouse,
    query_text: Annotated[str | None, "The question, in plain words."] = None,
    query_vector: Annotated[list[float] | None, "Or its vector."] = None,
    corpora: Annotated[list[str] | None, "Default all."] = None,
    model: Annotated[str | None, "Default: each corpus's own."] = None,
    k: Annotated[int | None, "Results; default 8.", Field(ge=1)] = None,
    per_corpus_k: Annotated[int | None, "Candidates of each corpus; default k, 6 at least.", Field(ge=0)] = None,
    retrieval: Annotated[Retrieval, "By meaning, by words, or both: names and codes, too."] = "dense",
    metadata_filter: Annotated[
        Values | None, 'What may be found: {"state": ["IL", "WI"], "age": {"$gte": 30}}.'
    ] = None,
    sql_prefilter: Annotated[SqlFilter | None, "Or only ids that SQL selects."] = None,
    use_playbook: Annotated[bool, "Recorded answers rise."] = False,
    playbook_corpus: Annotated[str | None, "Default playbook_memory."] = None,
    playbook_top_k: Annotated[int | None, "Entries used; default 5."] = None,
    playbook_max_distance: Annotated[float | None, "Of their questions; default 0.5."] = None,
    without: Annotated[list[str] | None, "Entries to ignore."] = None,
    relevance: Annotated[Relevance | None, "Keep what is about a file of code."] = None,
    rerank: Annotated[bool, "Have a reranker judge the best."] = False,
    diversity: Annotated[float | None, "1: results unlike each other.", Field(ge=0, le=1)] = None,
    min_score: Annotated[float | None, "None below."] = None,
    explain: Annotated[bool, "Show how scores came about."] = False,
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
    focus: Annotated[Focus, "The file worked on."],
    chunks: Annotated[list[Chunk], "Texts."],
    threshold: Annotated[float | None, "Least score kept; 0.3."] = None,
) -> Split:
    """Keep the chunks that have to do with a file of code; names it only imports count against a chunk.
    Example: {"focus": {"path": "src/db.rs"}, "chunks": [{"text": "open db.rs"}]}"""
    return await lake.matrix.relevance(focus, chunks, threshold)


@tool(name="matrix_downgrade", route="/v1/matrix/downgrade", title="Choose a mode for a model", toolset="retrieval")
async def downgrade(
    lake: Lakehouse,
    mode: Annotated[str, "As asked for."],
    model: Annotated[str, "What runs it."],
    force_mode: Annotated[bool, "Keep the mode."] = False,
    force_full_enrichment: Annotated[bool | None, "Likewise; default LH_FORCE_FULL_ENRICHMENT."] = None,
    weak_models: Annotated[list[str] | None, "Else models.weak_models."] = None,
) -> Downgrade:
    """Turn codereview_lakehouse into codereview_isolation for a strong model.
    Example: {"mode": "codereview_lakehouse", "model": "grok-4"}"""
    return lake.matrix.downgrade(
        mode,
        model,
        force_mode=force_mode,
        force_full_enrichment=force_full_enrichment,
        weak_models=weak_models,
    )
