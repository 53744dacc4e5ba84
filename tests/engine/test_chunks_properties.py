"""Every chunker: no line lost, no piece too long, no key twice, the same again; whatever the text is."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.engine.chunks import KINDS, chunk, chunk_ids, kind_of
from lakehouse.errors import InvalidInput

SHIPPED = sorted(Path(lakehouse.__file__).parent.rglob("*.py"))
LINES = (
    "",
    "---",
    "===",
    "# A",
    "## B ##",
    "### ",
    "```",
    "~~~ sh",
    "<!--",
    "-->",
    "a,b",
    '1,"x',
    'y"',
    "| a | b |",
    "|---|---|",
    "use a::{B, C};",
    "impl<T> X<T> {",
    "    pub fn open(&self) {",
    "}",
    "class Store:",
    "    def x(self):",
    "        return 'é 東京'",
    "@dec",
    "/// says",
    "export const f = () => {",
    "type T = number",
    "func (s *Store) Open() {",
    "X = 1; Y = 2",
    "one two three four five six seven eight nine ten eleven twelve thirteen " * 3,
    "x" * 450,
    "\x00\t\r",
    "\ufeff",
    "\u2028 \x0b \x85",
)
TEXTS = st.lists(st.sampled_from(LINES) | st.text(max_size=12), max_size=40).map("\n".join)
PATHS = ("", "a.py", "a.rs", "a.go", "a.ts", "a.jsx", "a.tsv")
NUMBER = re.compile(r"\S+")


def check(kind: str, text: str, path: str, max_chars: int, overlap: int) -> None:
    pieces = chunk(kind, text, path=path, max_chars=max_chars, overlap=overlap)
    assert pieces == chunk(kind, text, path=path, max_chars=max_chars, overlap=overlap)
    assert all(0 < len(piece.text) <= max_chars and piece.text.strip() for piece in pieces)
    keys = [piece.key for piece in pieces]
    assert len(set(keys)) == len(keys)
    assert len(set(chunk_ids("d" * 500, pieces))) == len(keys)
    text = text.removeprefix("\ufeff")
    whole = "\n".join(piece.text for piece in pieces)
    count = text.count("\n") + 1
    for piece in pieces:
        if "line_start" in piece.fields:
            assert 1 <= piece.fields["line_start"] <= piece.fields["line_end"] <= count
    for line in text.split("\n"):
        words = NUMBER.findall(line)
        if len(line) < max_chars // 4:
            assert not words or all(word in whole for word in words), line
    # Not a character is missing, however the lines were cut.
    left = iter(re.sub(r"\s", "", whole))
    assert all(char in left for char in re.sub(r"\s", "", text))


@settings(max_examples=60, deadline=None)
@example("x" * 999, "a.py", 200, 100)
@example("# A\n\nx\n# A\ny\n# A~2\nz", "", 200, 0)
@given(TEXTS, st.sampled_from(PATHS), st.integers(200, 700), st.integers(0, 100))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_and_no_piece_is_too_long(
    kind: str, text: str, path: str, max_chars: int, overlap: int
) -> None:
    check(kind, text, path, max_chars, overlap)


@pytest.mark.parametrize("path", SHIPPED[::12], ids=lambda path: path.stem)
def test_real_source_is_kept_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    check("auto", text, path.name, 800, 100)
    check("auto", text.replace("\n", "\r\n"), path.name, 400, 0)


HOSTILE = {
    "one long line": "word " * 100_000,
    "one long word": "x" * 500_000,
    "brackets": "(" * 50_000,
    "closed brackets": "[" * 50_000 + "]" * 50_000,
    "modules in modules": "mod a{" * 8_000 + "}" * 8_000,
    "headings": "# a\n" * 20_000,
    "nested headings": "".join(f"{'#' * (1 + n % 6)} part {n}\n" for n in range(10_000)),
    "fences never closed": "```\n" + "# a\n" * 20_000,
    "quotes never closed": "a,b\n" + '"x\n' * 20_001,
    "blank": " \n" * 100_000,
    "spaces in a heading": "# a" + " " * 100_000 + "#",
    "underlined": "a\n" * 20_000 + "===\n",
    "bytes of nothing": "\x00" * 100_000,
    "one-line functions": "def f(): pass\n" * 5_000,
    "table": "a,b\n" + "1,2\n" * 30_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end(name: str) -> None:
    """Their time is linear: what is quadratic in any of these runs into the test's limit."""
    text = HOSTILE[name]
    for kind, path in (("plain", ""), ("markdown", ""), ("table", ""), ("code", "a.rs"), ("code", "a.py")):
        pieces = chunk(kind, text, path=path, max_chars=2000, overlap=200)
        assert bool(pieces) == bool(text.strip())
        assert sum(len(piece.text) for piece in pieces) >= len("".join(text.split()))


def test_auto_goes_by_the_suffix() -> None:
    kinds = {"a/b.MD": "markdown", "b.py": "code", "x.tsx": "code", "t.csv": "table", "a.txt": "plain", ".md": "plain"}
    assert {path: kind_of(path) for path in kinds} == kinds
    assert kind_of("folder.md/README") == kind_of("") == "plain"
    assert chunk("auto", "# A\n\ntext", path="a.md", max_chars=200) == chunk("markdown", "# A\n\ntext", max_chars=200)


def test_a_kind_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInput, match="chunker: there is no 'markdwon'") as caught:
        chunk("markdwon", "x", max_chars=200)
    assert "markdown" in caught.value.fix


def test_plain_ids_are_the_document_or_numbers() -> None:
    short, long = (chunk("plain", text, max_chars=200) for text in ("a few words", "words " * 60))
    assert chunk_ids("d", short) == ["d"]
    assert chunk_ids("d", long) == ["d#0", "d#1"]
