"""Parquet to datasets: read in the child and written anew."""

import datetime
import gzip
import io
import random
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engine.ingesting import Bench

from lakehouse.errors import InvalidInput, LakehouseError

pytestmark = pytest.mark.anyio
DAY = datetime.datetime(2024, 1, 2, 3, 4, 5)
TABLE = pa.table(
    {
        "small": pa.array([1, None], pa.int32()),
        "unsigned": pa.array([1, 255], pa.uint8()),
        "half": pa.array([1.5, 2.5], pa.float32()),
        "text": ["a", None],
        "bytes": [b"x", b"\xff"],
        "price": [Decimal("1.25"), None],
        "moment": pa.array([DAY, None], pa.timestamp("us")),
        "nanos": pa.array([1, 2], pa.timestamp("ns")),
        "zoned": pa.array([DAY, None], pa.timestamp("us", "UTC")),
        "list": [[1, 2], None],
        "struct": [{"x": 1, "y": "z"}, None],
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    }
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def encoded(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


@pytest.mark.slow
async def test_types_are_kept(bench: Bench) -> None:
    stored = await bench.take(encoded(TABLE), file="t.parquet")
    table = bench.table(stored)
    assert table.num_rows == 2 and table.column_names == TABLE.column_names
    assert [(c.name, c.type) for c in stored.columns] == [(f.name, str(f.type)) for f in table.schema]
    kinds = {c.name: c.type for c in stored.columns}
    assert kinds["small"] == "int32" and kinds["price"].startswith("decimal128(") and kinds["nanos"] == "timestamp[ns]"
    for name in set(TABLE.column_names) - {"nanos"}:
        assert table[name].to_pylist() == TABLE[name].to_pylist()
    again = await bench.take(gzip.compress(encoded(TABLE)), file="t.parquet.gz")
    assert again.existing and again.schema_fingerprint == stored.schema_fingerprint


async def test_a_crafted_footer_never_reaches_the_bucket(bench: Bench) -> None:
    """What is stored is our own encoding of the rows, not the caller's bytes."""
    source = encoded(TABLE.replace_schema_metadata({"secret": "words"}))
    stored = await bench.take(source, file="t.parquet")
    assert b"secret" in source and b"secret" not in (bench.home / "objects" / stored.key).read_bytes()


@pytest.mark.slow
async def test_types_asked_for(bench: Bench) -> None:
    data = encoded(pa.table({"a": ["1", "2"], "b": [1, 2]}))
    stored = await bench.take(data, file="t.parquet", types={"a": "BIGINT", "b": "VARCHAR"})
    assert bench.table(stored).to_pydict() == {"a": [1, 2], "b": ["1", "2"]}
    with pytest.raises(InvalidInput) as caught:
        await bench.take(encoded(pa.table({"a": ["1", "x"]})), "bad", "t.parquet", types={"a": "BIGINT"})
    assert caught.value.data["rows"] == [{"line": 2, "column": "a", "value": "x", "reason": "'x' is not a BIGINT"}]


@pytest.mark.slow
async def test_names_that_sql_cannot_tell_apart(bench: Bench) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "A"])
    with pytest.raises(InvalidInput, match="columns 1, 2"):
        await bench.take(encoded(table), file="t.parquet")
    with pytest.raises(InvalidInput, match="no columns"):
        await bench.take(encoded(pa.table({})), file="t.parquet")


@pytest.mark.slow
async def test_damaged_files(bench: Bench) -> None:
    """Bytes changed anywhere: an error of ours, or rows; the parent always goes on."""
    whole, source = encoded(TABLE), random.Random(3)
    for n in range(12):
        damaged = bytearray(whole)
        for _ in range(source.randint(1, 40)):
            damaged[source.randrange(4, len(damaged))] = source.randrange(256)
        try:
            await bench.take(bytes(damaged[: source.choice([len(damaged), len(damaged) - 9])]), f"t{n}", "t.parquet")
        except LakehouseError as error:
            assert error.detail and error.fix
    assert (await bench.take(whole, "sound", "t.parquet")).row_count == 2
    assert bench.scratch() == []
