"""PDF: a row for each page; scans, locked, damaged and crafted documents."""

import hashlib
import io
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import anyio
import pypdf
import pytest
from tests.engine.ingesting import Bench

from lakehouse.engine.ingest import pages
from lakehouse.engine.ingest.engine import Engine, Table
from lakehouse.engine.ingest.plain import Limits
from lakehouse.errors import InvalidInput, LakehouseError, NotInstalled, TooLarge

LIMITS = Limits(2**30, 2**24)


def document(*texts: str, stream: bytes | None = None) -> bytes:
    """A PDF with a page for each text, written by hand; `stream` replaces what the pages draw."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    bodies: dict[int, bytes] = {}
    for text in texts:
        drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1") if stream is None else stream
        objects.append("")
        bodies[len(objects)] = drawn
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, made in enumerate(objects, 1):
        places.append(len(out))
        body = bodies.get(number)
        if body is None:
            out += f"{number} 0 obj\n{made}\nendobj\n".encode()
        else:
            packed = zlib.compress(body)
            head = f"{number} 0 obj\n<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode()
            out += head + packed + b"\nendstream\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def locked(data: bytes, password: str) -> bytes:
    writer = pypdf.PdfWriter(io.BytesIO(data))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.slow
@pytest.mark.anyio
async def test_pages_are_rows(bench: Bench) -> None:
    """S7.11, A-S7-8: {doc_id, source_name, page, text}; a page without text is empty, and that is said."""
    data = document("Hello Lakehouse", "", "page three")
    made = await bench.take(data, file="report.pdf")
    assert [(c.name, c.type) for c in made.columns] == [
        ("doc_id", "string"),
        ("source_name", "string"),
        ("page", "int64"),
        ("text", "string"),
    ]
    doc_id = hashlib.sha256(data).hexdigest()
    texts = ["Hello Lakehouse", "", "page three"]
    assert bench.table(made).to_pylist() == [
        {"doc_id": doc_id, "source_name": "report.pdf", "page": n, "text": text} for n, text in enumerate(texts, 1)
    ]
    assert made.warnings == ["1 of 3 pages have no text (scans need OCR first): 2"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_locked_documents(bench: Bench) -> None:
    """One that needs a password is refused; one that opens without is read."""
    with pytest.raises(InvalidInput, match="encrypted"):
        await bench.take(locked(document("secret"), "user"), file="t.pdf")
    made = await bench.take(locked(document("open"), ""), file="t.pdf")
    assert bench.table(made)["text"].to_pylist() == ["open"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_document_that_takes_too_long(bench: Bench) -> None:
    """A page that unpacks to 70 MB of text takes its reader a minute: who stops waiting leaves nothing behind."""
    huge = document("", stream=b"BT (" + b"x" * 70_000_000 + b") Tj ET")
    with anyio.move_on_after(1) as wait:
        await bench.take(huge, file="huge.pdf")
    assert wait.cancelled_caught and bench.objects() == {} and bench.scratch() == []
    assert (await bench.take(document("after"), file="t.pdf")).row_count == 1


def test_memory_is_bounded() -> None:
    """A reader's process gets no more than it may have."""
    code = "from lakehouse.engine.ingest.memory import bound; bound(2**30, '1MB'); bytearray(3 * 2**30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "MemoryError" in done.stderr


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read bytes as the child does, here: the limits of memory would stay with the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "bound", lambda *_: None)

    def read(data: bytes, limits: Limits = LIMITS) -> Table:
        path = tmp_path / "source.pdf"
        path.write_bytes(data)
        return pages.ingest(Engine(path, "256MB", 1, lambda *_: None), limits, {}, {}, "source.pdf")

    return read


def test_crafted_documents(inside: Any) -> None:
    good = document("a", "b")
    circle = good.replace(b"/Kids [5 0 R 7 0 R]", b"/Kids [2 0 R 2 0 R]")
    none = good.replace(b"/Kids [5 0 R 7 0 R] /Count 2", b"/Kids [] /Count 0          ")
    assert circle != good and none != good
    for data in (circle, none, b"%PDF-1.4\n", good[:60], b"%PDF-1.4\n" + b"<<" * 5000):
        with pytest.raises(InvalidInput):
            inside(data)
    with pytest.raises(TooLarge, match="max_cell_bytes"):
        inside(document("x" * 5000), Limits(2**30, 1024))


@pytest.mark.slow
def test_damaged_documents(inside: Any) -> None:
    """Whatever is broken, the answer is a table or an error that says so."""
    data, chance = document("one", "two", "three"), random.Random(3)
    outcomes = set[str]()
    for number in range(80):
        broken = bytearray(data)
        if number % 4 == 0:
            del broken[chance.randrange(len(broken)) :]
        for _ in range(chance.randrange(1, 20)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            outcomes.add(type(inside(bytes(broken))).__name__)
        except LakehouseError as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"Table", "InvalidInput"}


def test_without_the_extra(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(NotInstalled, match="pypdf") as raised:
        inside(document("a"))
    assert "lakehouse-mcp[pdf]" in raised.value.fix
