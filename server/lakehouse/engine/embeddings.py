"""A vector index made of a dataset whose rows have their vectors already, for instance an embeddings Parquet."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine.corpora.documents import Document
from lakehouse.engine.corpora.rows import Rows
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.vectors import IndexInfo, Item, Vectors
from lakehouse.errors import InvalidInput, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.vectors.replacement import Replacement


async def rebuild(
    datasets: Datasets,
    vectors: Vectors,
    index: str,
    dataset: str,
    *,
    vector: str,
    id: str = "id",
    metadata: Sequence[str] | None = None,
    model: str | None = None,
    as_of: int | str | None = None,
    progress: Progress = unheard,
) -> IndexInfo:
    """Put a dataset's rows in an index's place, or make it: `vector` is a column of lists of numbers, or such as JSON.

    The index is for cosine distance and goes over in one step; until then it is what it was. `metadata` None takes all
    other columns. With `model`, the embedding model the vectors are of, text can be searched for in it.

    Raises DatasetNotFound, InvalidInput naming the row whose vector or id cannot be used, Conflict, Upstream.
    """
    manifest = await (datasets.get(dataset) if as_of is None else datasets.at(dataset, as_of))
    columns = [column.name for column in manifest.columns]
    if vector not in columns:
        there = f"The columns are: {', '.join(columns[:50])}."
        raise InvalidInput(f"vector: there is no column {vector!r}.", fix=did_you_mean(vector, columns, there))
    fields = [name for name in columns if name not in (id, vector)] if metadata is None else list(metadata)
    rows = Rows(datasets, manifest, (), id, [vector, *fields], None)
    total, done = await rows.prepare(), 0
    beside: Replacement | None = None
    try:
        async for batch in rows.documents():
            items = await anyio.to_thread.run_sync(_items, batch, vector, fields, done)
            if beside is None:
                beside = await vectors.replacement(index, len(items[0].vector or ()), model)
            done += await beside.add(items)
            await progress(done, total, "adding")
        assert beside is not None  # a dataset without rows was refused
        facts = {"dataset": manifest.name, "dataset_version": manifest.version, "id": id, "metadata": fields}
        await beside.publish({"source": "vectors", "vectors": vector, **facts} if model else None)
    except BaseException:
        if beside is not None:
            with anyio.CancelScope(shield=True):
                await beside.discard()
        raise
    return await vectors.get(index)


def _items(batch: Sequence[Document], vector: str, fields: Sequence[str], before: int) -> list[Item]:
    return [
        Item(each.id, _numbers(each.fields[vector], before + row), {name: each.fields[name] for name in fields})
        for row, each in enumerate(batch, 1)
    ]


def _numbers(value: Any, row: int) -> list[float]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
        if found and isinstance(found, list):
            return [float(each) for each in found]
    except (ValueError, TypeError):
        pass
    raise InvalidInput(
        f"vector: row {row} has {str(value)[:80]!r}, which is no list of numbers.",
        fix="Choose a column of vectors, and leave rows without one out of the dataset.",
    )
