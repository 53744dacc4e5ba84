"""An index rebuilt of an embeddings Parquet."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse import InvalidInput, Lakehouse, NotFound

pytestmark = pytest.mark.anyio


async def test_indexes_rebuild_from_an_embeddings_parquet(lake: Lakehouse, tmp_path: Path) -> None:
    """A-S46-1, second half: in one step, with the other columns beside; a bad row leaves the index what it was."""
    count, width = 2500, 16
    matrix = np.random.default_rng(7).normal(size=(count, width)).astype("float32")
    ids = [f"row {n}" for n in range(count)]
    columns = {"id": ids, "e": pa.array(list(matrix), pa.list_(pa.float32())), "n": range(count)}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    await lake.call("ingest_file", {"path": str(tmp_path / "e.parquet"), "name": "embeddings"})
    asked = {"index": "it", "dataset": "embeddings", "vector": "e"}
    made = await lake.call("import_vectors", asked)
    assert (made["count"], made["dimension"]) == (count, width)
    (hit,) = (await lake.call("search_vectors", {"index": "it", "vector": matrix[7].tolist(), "k": 1}))["results"]
    assert hit["id"] == "row 7" and hit["metadata"] == {"n": 7} and hit["distance"] < 1e-6

    await lake.call("ingest_file", {"name": "texts", "content": 'id,e,n\na,"[1, 0]",1\nb,"[0.5, 2]",2\n'})
    assert (await lake.call("import_vectors", {**asked, "dataset": "texts"}))["dimension"] == 2
    for content in ('id,e\na,"[1, 0]"\nb,\n', 'id,e\na,"[1, 0]"\nb,"[1]"\n', "id,e\na,x\n"):
        await lake.call("drop_dataset", {"name": "texts"})
        await lake.call("ingest_file", {"name": "texts", "content": content})
        with pytest.raises(InvalidInput, match=r"vector|row|\bb\b"):
            await lake.call("import_vectors", {**asked, "dataset": "texts"})
        assert (await lake.call("get_index", {"name": "it"}))["count"] == 2
    with pytest.raises(InvalidInput, match="vektor"):
        await lake.call("import_vectors", {**asked, "vector": "vektor"})
    with pytest.raises(NotFound):
        await lake.call("import_vectors", {**asked, "dataset": "none"})
    assert (await lake.call("import_vectors", {**asked, "dataset": "texts", "as_of": 1}))["count"] == 2


async def test_vectors_of_a_known_model_are_searched_by_text(lake: Lakehouse) -> None:
    """With `model` the index is a corpus."""
    texts = ["a lift truck", "a sick child"]
    embedded = await lake.call("embed_text", {"texts": texts})
    rows = [{"id": t, "e": v} for t, v in zip(texts, embedded["vectors"], strict=True)]
    await lake.call("ingest_file", {"name": "mine", "content": json.dumps(rows), "source": "json"})
    await lake.call("import_vectors", {"index": "mine", "dataset": "mine", "vector": "e", "model": embedded["model"]})
    found = await lake.call("matrix_search", {"query_text": "a lift truck", "corpora": ["mine"], "k": 1})
    assert found["results"][0]["id"] == "a lift truck"
