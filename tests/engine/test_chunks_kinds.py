"""What each chunker makes of a document: where it cuts, what it calls the pieces, what it says of them."""

from itertools import pairwise
from typing import Any

from lakehouse.engine.chunks import PLACES, Piece, chunk, chunk_ids

WORDS = "Some words of a section that is long enough to stand alone. " * 6
GUIDE = f"""---
title: Guide
---
# Guide

{WORDS}

## Install

```sh
# not a heading
```

{WORDS}

## Options ##

{WORDS}

### Deep

{WORDS}

Setext
------
{WORDS}
## Options
{WORDS}
"""


def keys(pieces: list[Piece]) -> list[str]:
    return [piece.key for piece in pieces]


def by_key(pieces: list[Piece]) -> dict[str, Piece]:
    return {piece.key: piece for piece in pieces}


def steady(piece: Piece) -> tuple[str, dict[str, Any]]:
    """What of a piece does not depend on where it stands."""
    return piece.text, {name: value for name, value in piece.fields.items() if name not in PLACES}


def test_markdown_is_cut_at_headings() -> None:
    pieces = chunk("markdown", GUIDE, max_chars=800)
    assert keys(pieces) == [
        "Guide",
        "Guide/Install",
        "Guide/Options",
        "Guide/Options/Deep",
        "Guide/Setext",
        "Guide/Options~2",
    ]
    install = by_key(pieces)["Guide/Install"]
    assert install.text.startswith("Guide\n## Install\n\n```sh\n# not a heading\n```")
    lines = GUIDE.split("\n")
    first = lines.index("## Install") + 1
    assert install.fields == {
        "heading": "Guide > Install",
        "level": 2,
        "line_start": first,
        "line_end": first + 6,
    }
    assert pieces[0].text.startswith("---\ntitle: Guide\n---\n# Guide")
    assert by_key(pieces)["Guide/Options/Deep"].text.startswith("Guide > Options\n### Deep")


def test_a_change_in_one_section_leaves_the_others_as_they_are() -> None:
    before = by_key(chunk("markdown", GUIDE, max_chars=800))
    after = by_key(chunk("markdown", GUIDE.replace("```sh", f"More.\n{WORDS}\n\n```sh"), max_chars=800))
    assert {key for key in before if key in after and steady(before[key]) == steady(after[key])} == {
        key for key in before if key != "Guide/Install"
    }


def test_a_long_section_is_windowed_under_its_heading() -> None:
    pieces = chunk("markdown", f"# A\n\n## B\n\n{WORDS * 4}", max_chars=600, overlap=60)
    assert keys(pieces) == ["A/B", "A/B:2", "A/B:3"]
    assert pieces[0].text.startswith("# A\n\n## B") and pieces[1].text.startswith("A > B\nwords of")


def test_tiny_sections_go_with_what_follows_below_the_same_parent() -> None:
    text = "# A\n\n## B\n\nshort\n\n## C\n\nshort too\n\n# D\n\nend\n"
    assert [piece.text.splitlines()[0] for piece in chunk("markdown", text, max_chars=2000)] == ["# A"]
    text = f"# A\n{WORDS}\n## B\n\nshort\n\n# D\n\nend\n"
    assert keys(chunk("markdown", text, max_chars=2000)) == ["A", "A/B", "D"]


def test_what_only_looks_like_a_heading() -> None:
    for text in (
        "    # code\n",
        "```\n# a\n~~~\n# b\n",
        "<!--\n# a\n-->\n",
        "<pre>\n# a\n</pre>\n",
        "#hashtag\n",
        "####### seven\n",
        "- item\n---\n",
        "> quote\n---\n",
        "| a |\n---\n",
        "para\n\n---\n",
        "---\na: 1\n# comment\n---\n",
    ):
        assert keys(chunk("markdown", text, max_chars=2000)) == [""], text
    for text, title in (("# a #", "a"), ("# a#", "a#"), ("  ## *b*  ##  \r\n", "*b*"), ("one\ntwo\n===", "one two")):
        assert keys(chunk("markdown", text, max_chars=2000)) == [title], text


SOURCE = '''"""Doc."""
import os

LIMIT = 1


# About Store.
@dec
class Store(Base):
    """A store."""

    name: str = ""

    def __init__(self): pass

    # Says it.
    @property
    def x(self):
        return 1

    @x.setter
    def x(self, v): ...


def main():
    return Store()
'''
RUST = """//! Module.
use catalogd::Registry;

/// A connector.
#[derive(Debug)]
pub struct Connector {
    registry: Registry,
}

impl Connector {
    /// Opens.
    pub fn open(bucket: Bucket) -> Connector {
        todo!()
    }

    pub fn close(self) {}
}

impl fmt::Display for Connector {
    fn fmt(&self) {}
}
"""


def test_python_by_symbol() -> None:
    pieces = chunk("auto", SOURCE, path="a.py", max_chars=2000)
    assert keys(pieces) == ["", "Store", "Store.__init__", "Store.x", "Store.x~2", "main"]
    found = by_key(pieces)
    assert found[""].fields["symbols"] == ["LIMIT"] and "symbol" not in found[""].fields
    assert (
        found["Store"].text.startswith("# About Store.\n@dec\nclass Store(Base):")
        and "name: str" in found["Store"].text
    )
    assert found["Store.x"].text == (
        "class Store(Base):\n    # Says it.\n    @property\n    def x(self):\n        return 1"
    )
    assert found["Store.x"].fields == {
        "symbol": "Store.x",
        "symbol_kind": "method",
        "parent": "Store",
        "language": "python",
        "line_start": 16,
        "line_end": 19,
    }
    assert found["main"].fields["symbol_kind"] == "function"


def test_rust_by_symbol() -> None:
    pieces = chunk("code", RUST, path="misleading.go", max_chars=2000)
    assert keys(pieces) == ["Connector", "Connector.open", "Connector.close", "Connector.fmt"]
    found = by_key(pieces)
    assert found["Connector"].text.startswith("//! Module.\nuse catalogd::Registry;\n\n/// A connector.\n")
    assert found["Connector.open"].text.startswith("impl Connector {\n    /// Opens.\n")
    assert found["Connector.close"].text == "impl Connector {\n    pub fn close(self) {}\n}"
    assert found["Connector.fmt"].text.startswith("impl fmt::Display for Connector {")


def test_typescript_and_go_by_symbol() -> None:
    text = "import x from 'y';\n\n/** Draws. */\nexport const App = (props: P) => {\n  return <b>{props.x}</b>;\n};\n\n"
    text += "export default class View extends Base {\n  @input() size = 1;\n\n  draw(): void {}\n}\n"
    pieces = chunk("auto", text, path="a.tsx", max_chars=2000)
    assert keys(pieces) == ["App", "View", "View.draw"]
    assert pieces[0].text.startswith("import x") and "/** Draws. */\nexport const App" in pieces[0].text
    text = "package a\n\n// Store keeps.\ntype Store struct {\n\tx int\n}\n\n"
    text += "// Open opens.\nfunc (s *Store) Open() error {\n\treturn nil\n}\n"
    pieces = chunk("auto", text, path="a.go", max_chars=2000)
    assert keys(pieces) == ["Store", "Store.Open"]
    assert pieces[1].text.startswith("// Open opens.\nfunc") and pieces[1].fields["parent"] == "Store"


def test_a_method_that_moves_or_whose_neighbour_changes_is_the_same_piece() -> None:
    before = by_key(chunk("code", SOURCE, path="a.py", max_chars=2000))
    after = by_key(
        chunk("code", SOURCE.replace("LIMIT = 1", "LIMIT = 1\n\n\ndef new(): ..."), path="a.py", max_chars=2000)
    )
    assert set(after) - set(before) == {"new"}
    assert all(steady(before[key]) == steady(after[key]) for key in before)


def test_a_long_function_is_windowed_under_its_first_line() -> None:
    body = "".join(f"        self.value_{n} = compute({n}, [1, 2])\n" for n in range(40))
    pieces = chunk("code", f"class A:\n    def long(self):\n{body}", path="a.py", max_chars=600, overlap=50)
    assert keys(pieces)[:3] == ["A", "A.long", "A.long:2"]
    assert pieces[2].text.startswith("class A:\ndef long(self):\n        self.value_")
    assert all(piece.fields["symbol"] == "A.long" for piece in pieces[1:])


def test_code_that_does_not_parse_still_has_its_symbols() -> None:
    pieces = chunk("code", "def broken(:\n    x = = 1\n\n\ndef whole():\n    return 1\n", path="a.py", max_chars=2000)
    assert "def broken" in "".join(piece.text for piece in pieces) and "return 1" in pieces[-1].text
    prose = "Nothing here is code. " * 3
    assert chunk("code", prose, path="a.txt", max_chars=2000) == chunk("plain", prose, max_chars=2000)


def test_tables_repeat_their_header() -> None:
    text = "\ufeffid,text\r\n" + "".join(f'{n},"row ""{n}""\r\nsecond, line"\r\n' for n in range(1, 30)) + "30,end"
    pieces = chunk("table", text, max_chars=200)
    assert all(piece.text.startswith("id,text\n") for piece in pieces)
    spans = [(piece.fields["row_start"], piece.fields["row_end"]) for piece in pieces]
    assert spans[0][0] == 1 and spans[-1][1] == 30
    assert all(one[1] + 1 == two[0] for one, two in pairwise(spans))
    assert keys(pieces)[:2] == ["row1", f"row{spans[1][0]}"]
    assert keys(chunk("table", text + "\r\n31,more", max_chars=200))[: len(pieces) - 1] == keys(pieces)[:-1]


def test_tables_of_other_kinds() -> None:
    (piece,) = chunk("table", "| a | b |\n|---|:-:|\n| 1 | 2 |\n", max_chars=200)
    assert piece.text == "| a | b |\n|---|:-:|\n| 1 | 2 |" and piece.fields["row_end"] == 1
    (piece,) = chunk("table", 'a\tb\n1\t"no, no"\n', path="x.tsv", max_chars=200)
    assert piece.fields == {"row_start": 1, "row_end": 1, "line_start": 2, "line_end": 2}
    assert keys(chunk("table", "only,a,header", max_chars=200)) == ["header"]
    wide = ",".join(f"column{n}" for n in range(40))
    assert keys(chunk("table", f"{wide}\n1,2\n", max_chars=200)) == ["header", "header:2", "row1"]
    long = chunk("table", "a,b\n1," + "word " * 90, max_chars=200)
    assert keys(long)[:2] == ["row1", "row1:2"] and all(piece.text.startswith("a,b\n") for piece in long)
    stray = chunk("table", 'a,b\n1,5" pipe\n2,x\n', max_chars=200)
    assert stray[0].fields["row_end"] == 2


def test_an_id_that_would_be_too_long_has_a_hash() -> None:
    ids = chunk_ids("d" * 490, [Piece("x", "Guide/" + "long " * 10), Piece("y", "other " * 10), Piece("z")])
    assert [len(id) for id in ids] == [501, 501, 490] and len(set(ids)) == 3
