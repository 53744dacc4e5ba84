"""Data as Markdown: what is shown, and that nothing in the data acts."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic import ValidationError

from lakehouse.engine.markdown import Section, block, document, fenced, inline
from lakehouse.errors import InvalidInput

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "markdown.yaml").read_text(encoding="utf-8"))
READER = MarkdownIt("gfm-like", {"linkify": False})
PLAIN = {"paragraph_open", "paragraph_close", "inline", "text", "softbreak", "hardbreak", "text_special"}
# Every character that means something somewhere in Markdown, and some that mean nothing.
TEXTS = st.text(st.sampled_from("*_`[]()<>!#|\\~&;=+-.:/\"'{}$ \t\n1a9éa\u202e"), max_size=24)
HOSTILE = [
    *("<script>x</script>", "![x](http://a/b.png)", "[x](javascript:a)", "# h", "- a\n- b", "1. a", "> q", "a\n==="),
    *(
        "a\n---",
        "***",
        "~~a~~",
        "`a`",
        "a|b\n-|-\n1|2",
        "&lt;b&gt;",
        "<http://a.b>",
        "    code",
        "```\nx\n```",
        "a  \nb",
    ),
    *(
        "\\*a*",
        "a\\",
        "__a__",
        "_a_",
        "a_b_c",
        "#",
        "a #",
        "<!-- x",
        "[a]: http://b",
        "\t- a",
        "$x$",
        "a\u202eb",
        "+ a",
    ),
]


@pytest.mark.parametrize(("data", "given", "expected"), CASES, ids=lambda value: str(value)[:30])
def test_documents(data: Any, given: dict[str, Any], expected: str) -> None:
    sections = [Section(**one) for one in given["sections"]] if "sections" in given else None
    assert document(data, title=given.get("title", ""), sections=sections) == expected


def tokens(text: str) -> list[Token]:
    return [inner for token in READER.parse(text) for inner in (token, *(token.children or ()))]


def said(text: str) -> str:
    """What a reader of a text sees of it, by words."""
    found = [
        " " if "break" in t.type or t.type == "paragraph_close" else t.content
        for t in tokens(text)
        if t.type != "inline"
    ]
    return " ".join("".join(found).replace("\u202e", "").split())


def seen(text: str) -> str:
    return " ".join(text.replace("\u202e", "").split())


@settings(max_examples=200)
@given(TEXTS)
def test_a_value_is_shown_and_does_nothing(text: str) -> None:
    """As a paragraph, in a list, in a heading and in a table, a reader sees the text itself and nothing else."""
    for shown in (inline(text), block(text)):
        assert {token.type for token in tokens(shown)} <= PLAIN, shown
        assert said(shown) == seen(text), shown
    if seen(text):
        assert said(document([text])) == seen(text)
        (row,) = [t for t in READER.parse(document([{"a": text, "b": 1}])) if t.type == "tbody_open"]
        assert row.level == 1
        cells = [t.content for t in READER.parse(document([{"a": text, "b": 1}])) if t.type == "inline"]
        assert len(cells) == 4 and said(cells[2]) == seen(text)
        heading = READER.parse(document(text, sections=[Section(heading="{.}")]))
        assert heading[0].type == "heading_open" and said(heading[1].content) == seen(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values(text: str) -> None:
    for shown in (inline(text), block(text)):
        assert {token.type for token in tokens(shown)} <= PLAIN
        assert said(shown) == seen(text)


@settings(max_examples=60)
@given(TEXTS)
@example("```\n````\n")
def test_code_stays_in_its_fence(text: str) -> None:
    fences = [token for token in READER.parse(fenced(text)) if token.type == "fence"]
    assert len(fences) == 1 and fences[0].content == text.replace("\u202e", "") + "\n"


@pytest.mark.parametrize(
    ("section", "match"),
    [
        ({"text": "{m}"}, r"sections\.0\.text: there is no 'm'"),
        ({"text": "{"}, "a brace stands alone"),
        ({"text": "{n.__class__}"}, "there is no 'n.__class__'"),
        ({"text": "{n!r}"}, "is no path"),
        ({"list": "n"}, r"sections\.0\.list: it is no array"),
        ({"list": "rows", "item": "{idd}"}, r"sections\.0\.item: there is no 'idd'"),
        ({"each": "rows", "parts": [{"text": "{x}"}]}, r"sections\.0\.parts\.0\.text: there is no 'x'"),
        ({"table": "rows", "columns": {"A": "a b"}}, "is no path"),
    ],
    ids=str,
)
def test_what_is_not_there_is_named(section: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        document({"n": 1, "rows": [{"id": 1}]}, sections=[Section(**section)])


@pytest.mark.parametrize("section", [{}, {"text": "a", "list": "b"}, {"parts": []}, {"txt": "a"}], ids=str)
def test_what_is_no_section(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Section(**section)


def test_deep_data_ends() -> None:
    """Past six headings the rest is shown as JSON."""
    data: Any = {"x": 1}
    for _ in range(200):
        data = {"deeper": data}
    assert document(data).count("#") == 1 + 2 + 3 + 4 + 5 + 6
