"""SQL chooses the items of an index, vectors rank them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.engine.filters.allowed import SqlFilter, allowed
from lakehouse.engine.vectors.asking import Ask
from lakehouse.engine.vectors.items import Hit
from lakehouse.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from lakehouse import config
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.sql import Sql
    from lakehouse.engine.vectors.items import IndexInfo
    from lakehouse.engine.vectors.store import Vectors

EXACT_IDS = 50_000


@dataclass(frozen=True)
class Ranked:
    """The nearest of the items that a query chose, and how many ids it chose; those the index lacks count too."""

    hits: list[Hit]
    allowed: int


@dataclass(frozen=True)
class Question:
    """What to rank by: a vector, or a text that is embedded with the index's own model. The vector wins."""

    text: str | None = None
    vector: Sequence[float] | None = None


async def ranked(
    vectors: "Vectors",
    embed: "Embedder",
    sql: "Sql",
    limits: "config.Sql",
    index: str,
    question: Question,
    chosen: SqlFilter,
    k: int = 10,
) -> Ranked:
    """The `k` items nearest to a question among those whose ids a query selects: exact up to 50,000 ids.

    Without any such item the answer is empty. Raises IndexNotFound, InvalidInput for no question, a bad k or vector,
    Conflict when the index is of another model than there is, and what `allowed` and `Embedder.embed` raise.
    """
    info = await vectors.get(index)
    vector: Any = question.vector
    if vector is None:
        if not (question.text or "").strip():
            raise InvalidInput("query_text, query_vector: there is no query.", fix="Give one of the two.")
        vector = await _embedded(embed, info, question.text or "")
    ids = await allowed(sql, limits, chosen)
    answer = await vectors.ask(index, Ask(k, vector, ids=ids, exact=len(ids) <= EXACT_IDS, named="query_vector"))
    return Ranked(answer.near, len(ids))


async def _embedded(embed: "Embedder", info: "IndexInfo", text: str) -> Any:
    try:
        possible = info.model is None or embed.effective_model(info.model) == info.model
    except InvalidInput:
        possible = False
    if not possible:
        raise Conflict(
            f"index {info.name} has vectors of {info.model}, which embed.provider does not offer.",
            fix="Set embed.provider back, or search with a query_vector.",
        )
    done = await embed.embed([text], info.model)
    if done.dimension != info.dimension:
        raise Conflict(
            f"index {info.name} has vectors of {info.dimension} components, {done.model} of {done.dimension}.",
            fix="Search with a query_vector.",
        )
    return done.vectors[0]
