"""Bad input: a clear error that names the line, and nothing stored."""

import gzip
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.ingesting import Bench, read

from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, NotFound, TooLarge, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# What is wrong, the file, its name, and words the error must hold.
BAD = [
    ("empty", b"", "t.csv", "empty"),
    ("blank", b"\n\n", "t.csv", "empty"),
    ("only a header", b"a,b\n", "t.csv", "no row"),
    ("only a header, no end", b"a,b", "t.csv", "no row"),
    ("a blank first line", b"\na,b\n1,2\n", "t.csv", "line 1"),
    ("header names twice", b"a,B,a,b\n1,2,3,4\n", "t.csv", "columns 1, 3 are all called 'a'; columns 2, 4"),
    ("a column without a name", b"a,,c\n1,2,3\n", "t.csv", "column 2 has no name"),
    ("a control character in a name", b"a\x1eb,c\n1,2\n", "t.csv", "column 1 holds a control character"),
    ("a header without end", b'"a,b\n' + b"1,2\n" * 300_000, "t.csv", "header has no end"),
    ("too many columns", b",".join(b"c%d" % n for n in range(10_001)) + b"\n", "t.csv", "10001 columns"),
    ("too few cells", b"a,b,c\n1,2,3\n4,5\n", "t.csv", "line 3, column 'c': the row has 2 cells, the header 3"),
    ("too many cells", b"a,b\n1,2\n3,4,5\n", "t.csv", "line 3: the row has 3 cells, the header 2"),
    ("a surplus empty cell", b"a,b\n1,2,\n", "t.csv", "line 2: the row has 3 cells, the header 2"),
    ("a surplus quoted empty cell", b'a,b\n1,2,""\n', "t.csv", "line 2: the row has 3 cells"),
    ("lines in quotes are counted", b'a,b\n1,"2\n2\n2"\n3\n', "t.csv", "line 5, column 'b'"),
    ("the same with CRLF", b'a,b\r\n1,"2\r\n2"\r\n3\r\n', "t.csv", "line 4, column 'b'"),
    ("the same with CR", b'a,b\r1,"2\r2"\r3\r', "t.csv", "line 4, column 'b'"),
    ("the same after a mark", b'\xef\xbb\xbfa,b\n1,"2\n2"\n3\n', "t.csv", "line 4, column 'b'"),
    ("the same among mixed ends", b"a,b\n1,2\r\n3\n5,6\r\n", "t.csv", "line 3, column 'b'"),
    ("the same in gzip", gzip.compress(b"a,b\n1,2\n3\n", mtime=0), "t.csv.gz", "line 3, column 'b'"),
    ("a quote never closed", b'a,b\n1,2\n3,"x\n5,6\n', "t.csv", "line 3: a quote"),
    ("too few cells, one of them long", b"a,b,c\n1," + b"x" * 2_000_000 + b"\n", "t.csv", "line 2, column 'c'"),
    ("a quote never closed in the only row", b'a,b\n1,"x\n', "t.csv", "line 2: a quote"),
    ("text after a quote", b'a,b\n1,"x"y\n', "t.csv", "line 2: a quote"),
    ("bytes that are not UTF-8", b'a,b\n1,"x\n"\n3,caf\xe9\n', "t.csv", "line 4: the bytes e9 are not UTF-8"),
    ("the same far down", b"a\n" + b"x\n" * 1_000_000 + b"\xff\n", "t.csv", "line 1000002: the bytes ff"),
    ("half a character at the end", b"a\nx\n\xc3", "t.csv", "line 3: the bytes c3"),
    ("UTF-16 without a mark", "a,b\n1,2\n".encode("utf-16-le"), "t.csv", "UTF-16"),
    ("gzip cut short", gzip.compress(os.urandom(5000))[:-20], "t.csv.gz", "gzip data is damaged"),
    ("zstd cut short", pa.compress(b"a\n" * 99, "zstd", asbytes=True)[:-3], "t.csv.zst", "zstd data is damaged"),
    ("gzip in name only", b"a,b\n1,2\n", "t.csv.gz", "not compressed"),
    ("Parquet called CSV", b"PAR1 and so on PAR1", "t.csv", "looks like Parquet"),
    ("an image called CSV", b"\x89PNG\r\n\x1a\n...", "t.csv", "looks like a PNG image"),
    ("a spreadsheet called CSV", b"PK\x03\x04...", "t.csv", "looks like a ZIP archive"),
    ("a PDF called JSON", b"%PDF-1.7 ...", "t.json", "looks like PDF"),
    ("JSON called CSV", b'[{"a":1}]', "t.csv", "looks like JSON"),
    ("JSON Lines called CSV", b'{"a":1}\n{"a":2}\n', "t.csv", "looks like JSON"),
    ("CSV called JSON", b"a,b\n1,2\n", "t.json", "not JSON"),
    ("CSV called Parquet", b"a,b\n1,2\n", "t.parquet", "not Parquet"),
    ("JSON called Parquet", b'{"a":1}', "t.parquet", "not Parquet"),
    ("Parquet cut short", b"PAR1", "t.parquet", "cannot be read as Parquet"),
    ("an unknown suffix", b"a,b\n1,2\n", "t.dat", "does not end like a format"),
]


@pytest.mark.parametrize(("data", "file", "words"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
async def test_bad_files(bench: Bench, data: bytes, file: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await bench.take(data, file=file)
    assert words in caught.value.detail and caught.value.fix
    assert str(bench.home) not in str(caught.value)
    assert bench.objects() == {} and bench.scratch() == []


async def test_bad_rows_are_listed(bench: Bench) -> None:
    """Up to 100 of them with line, column, value and reason; the first few in words."""
    rows = [b"%d,x" % n if n % 3 else b"%d" % n for n in range(1000)]
    with pytest.raises(InvalidInput) as caught:
        await bench.take(b"a,b\n" + b"\n".join(rows) + b"\n")
    listed = caught.value.data["rows"]
    assert [row["line"] for row in listed] == [2 + 3 * n for n in range(100)]
    assert set(listed[0]) == {"line", "column", "value", "reason"}
    assert "line 2, column 'b'" in caught.value.detail and "97 or more" in caught.value.detail


async def test_values_that_contradict_a_type_asked_for(bench: Bench) -> None:
    """S7.5: line, column and value, cut at 80 characters; nothing stored."""
    with pytest.raises(InvalidInput) as caught:
        await bench.take(b'n,t\n1,"a\nb"\n2,c\n' + b"x" * 200 + b",d\n", types={"n": "BIGINT"})
    (row,) = caught.value.data["rows"]
    assert (row["line"], row["column"], row["value"]) == (5, "n", "x" * 80)
    with pytest.raises(InvalidInput, match="Did you mean zip"):
        await bench.take(b"zip,n\n1,2\n", types={"zipp": "VARCHAR"})
    with pytest.raises(InvalidInput, match="not a type"):
        await bench.take(b"zip,n\n1,2\n", types={"zip": "BLOB"})
    assert bench.objects() == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "::"}, "delimiter"),
        ({"encoding": "rot13"}, "encoding"),
        ({"source": "xml"}, "source"),
        ({"source": "json", "delimiter": ","}, "delimiter"),
        ({"source": "parquet", "encoding": "latin-1"}, "encoding"),
        ({"encoding": "utf-16-le"}, "not utf-16-le"),
    ],
)
async def test_bad_options(bench: Bench, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        await bench.take(b"a,b\n1,23\n", **options)


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "x\n"])
async def test_bad_names(bench: Bench, name: str) -> None:
    """A-S7-5."""
    with pytest.raises(InvalidInput, match="name"):
        await bench.take(b"a\n1\n", name)


async def test_paths(bench: Bench, tmp_path: Path) -> None:
    """A missing file, a folder, a pipe that would block for ever, and folders outside the roots."""
    take = bench.ingester.ingest_path
    with pytest.raises(NotFound):
        await take(tmp_path / "no.csv", "t")
    (tmp_path / "d.csv").mkdir()
    for folder in (tmp_path / "d.csv", tmp_path):
        with pytest.raises(NotFound, match="no data file"):
            await take(folder, "t")
    os.mkfifo(tmp_path / "p.csv")
    with pytest.raises(InvalidInput, match="not a regular file"):
        await take(tmp_path / "p.csv", "t")
    with pytest.raises(InvalidInput, match="not a regular file"):
        await take(Path("/dev/zero"), "t", source="csv")
    with pytest.raises(InvalidInput, match="path"):
        await take(Path("a\x00b.csv"), "t")


async def test_roots(tmp_path: Path) -> None:
    """Symbolic links are followed before the roots are looked at, and what is outside is not even said to exist."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    bench = Bench(tmp_path, roots=(inside,))
    (inside / "t.csv").write_bytes(b"a\n1\n")
    (outside / "t.csv").write_bytes(b"a\n1\n")
    (inside / "link.csv").symlink_to(outside / "t.csv")
    assert (await bench.ingester.ingest_path(inside / "t.csv", "t", anywhere=False)).row_count == 1
    paths = ("in/link.csv", "out/t.csv", "out/none.csv", "in/../out/t.csv", "in2/t.csv")
    for path in paths:
        with pytest.raises(Forbidden, match=r"ingest\.roots"):
            await bench.ingester.ingest_path(tmp_path / path, "t", anywhere=False)


async def test_a_file_too_large_to_write(tmp_path: Path) -> None:
    """A-S7-7: a failure after the writer opened; the process may write no file over the limit, whatever it reads."""
    source, folder = tmp_path / "t.csv", tmp_path / "out"
    folder.mkdir()
    source.write_text("a\n" + "".join(f"{os.urandom(64).hex()}\n" for _ in range(5000)), encoding="utf-8")
    with pytest.raises(TooLarge, match="max_path_bytes"):
        await read(source, folder, max_bytes=50_000)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; needs the right to mount one."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield place
    # Lazily: a file that a failed test left open would keep it there, and every later run from removing old folders.
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk(tmp_path: Path, full_disk: Path) -> None:
    """A-S7-7: the error says so, and nothing is left."""
    bench = Bench(full_disk)
    rows = "".join(f"{os.urandom(64).hex()}\n" for _ in range(20_000))
    plain, packed = tmp_path / "t.csv", tmp_path / "t.csv.gz"
    plain.write_text("a\n" + rows, encoding="utf-8")
    packed.write_bytes(gzip.compress(b"a\n" + rows.encode(), 1))
    for source in (plain, packed):
        with pytest.raises(Upstream, match="disk of the data directory is full"):
            await bench.ingester.ingest_path(source, "t")
        assert bench.objects() == {} and bench.scratch() == []
    await bench.aclose()


async def test_rubbish_under_every_suffix(bench: Bench, seconds: Callable[[float], float]) -> None:
    """Random and cut-up bytes end in an error of ours or in a dataset; never in a hang, a crash or a leftover."""
    source = random.Random(7)
    pool = [
        b"a,b\n1,2\n",
        b'{"a":1}\n',
        b'[{"a":',
        b"PAR1",
        b'"',
        b"\n",
        b"\r",
        b"\x00",
        b"\xff\xfe",
        b",",
        b"]}",
        b"\x1f\x8b",
    ]
    end = time.monotonic() + seconds(4)
    for n in range(10_000):
        if time.monotonic() > end:
            break
        parts = [
            source.choice(pool) if source.random() < 0.8 else source.randbytes(5) for _ in range(source.randint(1, 9))
        ]
        file = f"t.{source.choice(['csv', 'tsv', 'json', 'jsonl', 'parquet', 'csv.gz', 'jsonl.zst'])}"
        try:
            stored = await bench.take(b"".join(parts), f"t{n}", file)
        except LakehouseError as error:
            assert error.http < 500 and error.detail and error.fix, (error, parts, file)
        else:
            assert bench.table(stored).num_rows == stored.row_count
    assert bench.scratch() == []
