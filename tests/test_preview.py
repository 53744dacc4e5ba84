"""Previews: the same shape, within the limit, and as much of the whole as fits."""

from typing import Any

import pytest

from lakehouse.preview import compact, shortened


def nested(depth: int, inner: Any) -> Any:
    """A value within `depth` lists and objects."""
    for level in range(depth):
        inner = [inner] if level % 2 else {"in": inner}
    return inner


@pytest.mark.parametrize(
    "value",
    [
        {"rows": [[n, "x" * 50] for n in range(5000)]},
        {"text": "é" * 100_000},
        {"a": {"b": {"items": list(range(50_000))}}, "c": "kept"},
        {"items": [{"n": n} for n in range(5000)]},
        {"items": [{str(n): n for n in range(5000)}]},
        {"deep": nested(150, "x" * 100_000)},
    ],
)
def test_a_preview_fits(value: dict[str, Any]) -> None:
    short = shortened(value, 5000)
    assert len(compact(short)) <= 5000 and short.keys() == value.keys()


def test_a_row_with_one_long_text_keeps_its_other_columns() -> None:
    short = shortened({"rows": [[1, "x" * 100_000, "end"], [2, "y" * 9, "end"]], "row_count": 2}, 5000)
    assert [[row[0], row[2]] for row in short["rows"]] == [[1, "end"], [2, "end"]]
    assert 1000 < len(short["rows"][0][1]) < 5000 and short["row_count"] == 2
    alike = shortened({"rows": [[n, "x" * 100_000] for n in range(3)]}, 5000)
    assert len(alike["rows"]) == 1 and alike["rows"][0][0] == 0 and len(alike["rows"][0][1]) > 1000
