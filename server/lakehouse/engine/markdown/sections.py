"""A document of sections, each of which shows something of the data: a text, a list, a table, code, or items."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lakehouse.engine.markdown.escaping import block, fenced, inline
from lakehouse.engine.markdown.template import filled, plain, shown, value_at
from lakehouse.errors import InvalidInput

DEEPEST = 6
NONE = "None."


class Part(BaseModel):
    """A heading, and what stands under it: one of text, paragraphs, list, table and code."""

    model_config = ConfigDict(extra="forbid")
    kinds: ClassVar[tuple[str, ...]] = ("text", "paragraphs", "list", "table", "code")

    heading: str = Field("", description="Its heading, in which `{path}` is a value.")
    text: str | None = Field(None, description="A text, in which `{path}` is a value.")
    paragraphs: str | None = Field(None, description="The path of a text of several lines.")
    list: str | None = Field(None, description="The path of an array; item says what is shown of each.")
    item: str = Field("{.}", description="Of a list: a text, in which `{path}` is a value of the item.")
    numbered: bool = Field(False, description="Of a list.")
    table: str | None = Field(None, description="The path of an array of objects.")
    columns: dict[str, str] | None = Field(
        None, description="Of a table: the path of each column, left out where no row has it; default all keys."
    )
    code: str | None = Field(None, description="The path of a text to show as it is.")
    language: str = Field("", description="Of code.")
    empty: str = Field(NONE, description="What is said of an array that is empty.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in self.kinds if getattr(self, kind) is not None]
        if len(kinds) > 1 or not (kinds or self.heading):
            raise ValueError(f"it shows {' and '.join(kinds) or 'nothing'}; one of {', '.join(self.kinds)} is wanted")
        return self


class Section(Part):
    """As a part; or, with each, the parts of every item of an array."""

    kinds: ClassVar[tuple[str, ...]] = (*Part.kinds, "each")

    each: str | None = Field(None, description="The path of an array, whose items are shown one after the other.")
    parts: Sequence[Part] = Field((), description="Of each: what is shown of an item; paths are from there.")


def document(data: Any, *, title: str = "", sections: Sequence[Section] | None = None) -> str:
    """A document about some data. Without sections it shows all of it: arrays of objects as tables, arrays as lists.

    `title` is a text; in headings, texts and items `{path}` is a value of the data. Values are escaped, what stands
    around them is Markdown. Raises InvalidInput naming the section and the path.
    """
    parts = [f"# {inline(title)}"] if title.strip() else []
    level = 2 if parts else 1
    if sections is None:
        parts += _whole(data, level)
    else:
        parts += _sections(sections, data, level, "sections")
    return "\n\n".join(part for part in parts if part) + "\n"


def _sections(sections: Sequence[Part], data: Any, level: int, where: str) -> Iterator[str]:
    for number, section in enumerate(sections):
        place = f"{where}.{number}"
        if section.heading:
            yield _heading(filled(section.heading, data, f"{place}.heading"), level)
        yield from _shown(section, data, level + bool(section.heading), place)


def _shown(section: Part, data: Any, level: int, place: str) -> Iterator[str]:
    if section.text is not None:
        yield filled(section.text, data, f"{place}.text")
    elif section.paragraphs is not None:
        yield block(plain(value_at(section.paragraphs, data, f"{place}.paragraphs")))
    elif section.code is not None:
        yield fenced(plain(value_at(section.code, data, f"{place}.code")), section.language)
    else:
        kind = next((kind for kind in ("list", "table", "each") if getattr(section, kind, None) is not None), None)
        if kind is None:
            return
        items = _array(value_at(getattr(section, kind), data, f"{place}.{kind}"), f"{place}.{kind}")
        if not items:
            yield section.empty
        elif section.list is not None:
            lines = [filled(section.item, item, f"{place}.item") for item in items]
            yield "\n".join(f"{f'{n}.' if section.numbered else '-'} {line}" for n, line in enumerate(lines, 1))
        elif section.table is not None:
            yield _table(items, section.columns, place)
        elif isinstance(section, Section):
            for item in items:
                yield from _sections(section.parts, item, level, f"{place}.parts")


def _array(value: Any, where: str) -> Sequence[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{where}: it is no array.", fix="Name the path of an array, or show it as text.")
    return value


def _table(rows: Sequence[Any], columns: Mapping[str, str] | None, place: str) -> str:
    names = columns or {str(key): str(key) for row in rows if isinstance(row, Mapping) for key in row}
    if columns is None:
        cells = [[plain(row.get(key)) if isinstance(row, Mapping) else plain(row) for key in names] for row in rows]
    else:
        cells = [[shown(path, row, f"{place}.columns", optional=True) for path in names.values()] for row in rows]
        filled = [number for number in range(len(names)) if any(row[number] for row in cells)]
        cells = [[row[number] for number in filled] for row in cells]
        names = {name: path for number, (name, path) in enumerate(names.items()) if number in filled}
    lines = [[inline(name) for name in names], ["---"] * len(names), *([inline(cell) for cell in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _whole(value: Any, level: int) -> Iterator[str]:
    """All of a value: what is short first, then what has a heading of its own."""
    if isinstance(value, Mapping) and value:
        apart = {key: inner for key, inner in value.items() if isinstance(inner, Mapping | list) and inner}
        near = {key: inner for key, inner in value.items() if key not in apart}
        if near:
            yield "\n".join(f"- {inline(str(key))}: {inline(plain(inner))}" for key, inner in near.items())
        for key, inner in apart.items():
            if level > DEEPEST:
                yield f"{inline(str(key))}: {inline(plain(inner))}"
                continue
            yield _heading(inline(str(key)), level)
            yield from _whole(inner, level + 1)
    elif isinstance(value, list) and value:
        if all(isinstance(item, Mapping) for item in value):
            yield _table(value, None, "data")
        else:
            yield "\n".join(f"- {inline(plain(item))}" for item in value)
    else:
        yield NONE if value in (None, [], {}, "") else block(plain(value))


def _heading(text: str, level: int) -> str:
    return f"{'#' * min(level, DEEPEST)} {text}"
