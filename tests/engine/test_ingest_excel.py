"""Excel workbooks: types from cells, what is left out is said, and damaged or crafted files are refused."""

import datetime as dt
import io
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from tests.engine.ingesting import Bench

from lakehouse.engine.ingest import workbook
from lakehouse.engine.ingest.engine import Engine, Table
from lakehouse.engine.ingest.memory import size_of
from lakehouse.engine.ingest.plain import Limits
from lakehouse.errors import InvalidInput, LakehouseError, NotInstalled, TooLarge

LIMITS = Limits(2**30, 2**24)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def sheet(*rows: list[Any]) -> bytes:
    """A workbook of one sheet."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    return saved(book)


def altered(data: bytes, part: str, change: Any) -> bytes:
    """The same workbook with one member of its archive changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == part else old.read(name))
    return out.getvalue()


def people() -> bytes:
    book = openpyxl.Workbook()
    page = book.active
    page.title = "People"
    page.append(["id", "name", "score", "ok", "day", "at", "zip", "sum", None, "time", "mixed", 2024])
    page.append([1, "a", 1.5, True, dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 3, 4, 5), "007", "=A2+1"])
    page["J2"], page["K2"] = dt.time(3, 4), 1
    page.append([])
    page.append([2, "b", 2, False, dt.date(2024, 1, 2), dt.datetime(2024, 1, 1), "12", "#N/A"])
    page["C4"], page["K4"], page["L4"] = "#DIV/0!", "x", 10**12
    page["A6"] = 5
    page.merge_cells("A6:B6")
    book.create_sheet("Other").append(["x"])
    book["Other"].append([1])
    book.create_sheet("Hidden").sheet_state = "hidden"
    return saved(book)


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_sheet(bench: Bench) -> None:
    """Types are those of the cells: text that looks like a number stays text. What has no value is said."""
    made = await bench.take(people(), file="people.xlsx")
    assert [(c.name, c.type) for c in made.columns] == [
        ("id", "int64"),
        ("name", "string"),
        ("score", "double"),
        ("ok", "bool"),
        ("day", "date32[day]"),
        ("at", "timestamp[us]"),
        ("zip", "string"),
        ("sum", "string"),
        ("time", "string"),
        ("mixed", "string"),
        ("2024", "int64"),
    ]
    rows = bench.table(made).to_pylist()
    assert rows[0] == {
        **{"id": 1, "name": "a", "score": 1.5, "ok": True, "day": dt.date(2024, 1, 1)},
        **{"at": dt.datetime(2024, 1, 1, 3, 4, 5), "zip": "007", "sum": None, "time": "03:04:00", "mixed": "1"},
        "2024": None,
    }
    assert [row["score"] for row in rows] == [1.5, None, None] and rows[2]["id"] == 5 and rows[1]["2024"] == 10**12
    assert len(rows) == 3 and rows[1]["mixed"] == "x" and rows[1]["at"] == dt.datetime(2024, 1, 1)
    said = " / ".join(made.warnings)
    assert "2 cells with errors are null: C4, H4" in said and "A6:B6" in said and "'Other'" in said
    assert "no value in 'sum'" in said and "Hidden" not in said
    assert (await bench.datasets.get("t")).provenance["sheet"] == "People"


@pytest.mark.slow
@pytest.mark.anyio
async def test_options(bench: Bench) -> None:
    """A sheet by name or number, a header below a title, types asked for, and the cells that contradict them."""
    made = await bench.take(people(), "other", "people.xlsx", sheet="Other")
    assert bench.table(made).to_pydict() == {"x": [1]} and made.warnings == []
    assert (await bench.take(people(), "other", "people.xlsx", sheet="2")).existing
    titled = sheet(["Report 2024"], [], ["id", "day"], [1, dt.date(2024, 1, 1)], [2, "soon"])
    made = await bench.take(titled, "titled", "t.xlsx", header_row=3, types={"id": "VARCHAR"})
    assert bench.table(made).to_pydict() == {"id": ["1", "2"], "day": ["2024-01-01", "soon"]}
    with pytest.raises(InvalidInput, match=r"line 5, column 'day': 'soon' is not a DATE") as raised:
        await bench.take(titled, "u", "t.xlsx", header_row=3, types={"day": "DATE"})
    assert raised.value.data["rows"][0]["line"] == 5
    with pytest.raises(InvalidInput, match="csv has none"):
        await bench.take(b"a\n1\n", sheet="x")
    with pytest.raises(InvalidInput, match="encoding"):
        await bench.take(titled, file="t.xlsx", encoding="latin-1")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read bytes as the child does, here: the limits of memory would stay with the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workbook, "bound", lambda *_: None)

    def read(data: bytes, **options: Any) -> Table:
        path = tmp_path / "source.xlsx"
        path.write_bytes(data)
        engine = Engine(path, "256MB", 1, lambda *_: None)
        asked = {"sheet": None, "header_row": None, **options}
        return workbook.ingest(engine, asked.pop("limits", LIMITS), {}, {}, **asked)

    return read


def test_what_cannot_be_a_table(inside: Any) -> None:
    for data, options, words in (
        (sheet(), {}, "empty"),
        (sheet(["a", "b"]), {}, "no row"),
        (sheet(["a", None, "c"], [1, 2, 3]), {}, "column B"),
        (sheet(["a"], [1, 2]), {}, "B2"),
        (sheet(["a", "A"], [1, 2]), {}, "columns 1, 2"),
        (people(), {"sheet": "Peple"}, "Peple"),
        (people(), {"sheet": "9"}, "9"),
        (people(), {"header_row": 99}, "empty"),
    ):
        with pytest.raises(InvalidInput, match=words):
            inside(data, **options)
    with pytest.raises(InvalidInput) as raised:
        inside(people(), sheet="Peple")
    assert "People" in raised.value.fix


def test_without_the_extra(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sheet(["a"], [1])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(NotInstalled, match="openpyxl") as raised:
        inside(data)
    assert "lakehouse-mcp[excel]" in raised.value.fix


@pytest.mark.slow
def test_crafted_workbooks(inside: Any) -> None:
    """Sizes that lie, rows and columns beyond Excel's, archives and XML that unpack to more than they may."""
    page = "xl/worksheets/sheet1.xml"
    good = sheet(["a", "b"], [1, 2], [3, 4])
    lied = inside(altered(good, page, lambda xml: xml.replace(b'ref="A1:B3"', b'ref="A1:A1"')))
    assert lied.rows == 2 and len(lied.columns) == 2
    for before, after in ((b'r="3"', b'r="99999999"'), (b'r="B3"', b'r="ZZZ3"')):
        with pytest.raises(InvalidInput):
            inside(altered(good, page, lambda xml, b=before, a=after: xml.replace(b, a)))
    with pytest.raises(TooLarge, match="max_path_bytes"):
        inside(altered(good, page, lambda xml: xml + b" " * 2**20), limits=Limits(2**20, 2**20))
    laughs = b'<!DOCTYPE x [<!ENTITY a "' + b"ha" * 1000 + b'">'
    laughs += b"".join(
        b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 50) for n in range(6)
    )  # 2,000 × 50^6 characters
    laughs += b"]>"
    with pytest.raises(LakehouseError):
        inside(altered(good, page, lambda xml: laughs + xml.replace(b"<v>1</v>", b"<v>&g;</v>")))


@pytest.mark.slow
def test_damaged_workbooks(inside: Any) -> None:
    """Whatever is broken, the answer is a table or an error that says so."""
    data, chance = people(), random.Random(7)
    outcomes = set[str]()
    for number in range(60):
        broken = bytearray(data)
        if number % 3 == 0:
            del broken[chance.randrange(len(broken)) :]
        for _ in range(chance.randrange(1, 30)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        if number % 3 == 1:
            part = chance.choice(
                ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"]
            )
            at = chance.random()
            broken = bytearray(altered(data, part, lambda xml, at=at: xml[: int(len(xml) * at)] + b"<" + xml[5:50]))
        try:
            outcomes.add(type(inside(bytes(broken))).__name__)
        except LakehouseError as error:
            outcomes.add(type(error).__name__)
    assert "InvalidInput" in outcomes and outcomes <= {"Table", "InvalidInput"}


@pytest.mark.slow
@pytest.mark.anyio
async def test_other_files_by_that_name(bench: Bench) -> None:
    for data, words in (
        (b"a,b\n1,2\n", "Excel"),
        (b"\xd0\xcf\x11\xe0" + b"\x00" * 600, "old or encrypted"),
        (b"", "empty"),
    ):
        with pytest.raises(InvalidInput, match=words):
            await bench.take(data, file="t.xlsx")
    with pytest.raises(InvalidInput, match="Excel workbook"):
        await bench.take(b"PK\x03\x04" + b"\x00" * 600, file="t.xlsx")
    assert bench.objects() == {} and bench.scratch() == []


def test_sizes() -> None:
    assert [size_of(text) for text in ("512MB", "1.5 GiB", "2kb", "1TiB")] == [512 * 10**6, 3 * 2**29, 2000, 2**40]
