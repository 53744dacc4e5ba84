"""The filter language: what each condition means; columns of typed values answer as one item by itself does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.engine.filters import Filter, checked
from lakehouse.engine.filters.reading import MAX_CONDITIONS, MAX_DEPTH, MAX_TEXT, MAX_VALUES
from lakehouse.engine.vectors import fields, masks, typed
from lakehouse.errors import InvalidInput

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "filters.yaml").read_text(encoding="utf-8"))
ITEMS: dict[str, Any] = CASES["items"]


def parsed(given: dict[str, Any]) -> Filter:
    """A filter that is not empty."""
    found = Filter.parse(given)
    assert found is not None
    return found


def stored(metas: list[Any]) -> tuple[fields.Fields, list[str]]:
    """Metadata as a segment has it: columns read back from their file, and the JSON texts."""
    texts = [json.dumps(meta, ensure_ascii=False) for meta in metas]
    sink = pa.BufferOutputStream()
    fields.write(typed.of_texts(texts), pa.PythonFile(sink, "w"))
    return fields.read(sink.getvalue(), len(metas)), texts


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: json.dumps(case["filter"]))
def test_what_a_filter_lets_through(case: dict[str, Any]) -> None:
    """A-S14-4, A-S14-5, A-S14-6: equality, malformed metadata and each operator, for one item and for columns."""
    wanted = parsed(case["filter"])
    assert [name for name, meta in ITEMS.items() if wanted.matches(meta)] == case["lets"]
    columns, texts = stored([*ITEMS.values()])
    mask = masks.of(wanted, columns, texts)
    assert [name for name, met in zip(ITEMS, mask.tolist(), strict=True) if met] == case["lets"]
    assert masks.of_values(wanted, [*ITEMS.values()]).tolist() == mask.tolist()


@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES["bad"], ids=lambda case: json.dumps(case["filter"]))
async def test_what_is_no_filter_names_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        await checked(case["filter"])
    assert caught.value.detail.startswith(case["says"])
    assert case.get("fix", "") in caught.value.fix
    assert caught.value.fix


def deep(levels: int) -> dict[str, Any]:
    return {"$not": deep(levels - 1)} if levels else {"a": 1}


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    "given",
    [
        deep(MAX_DEPTH + 1),
        {"a": {"$eq": nested(MAX_DEPTH + 1)}},
        {f"f{i}": 1 for i in range(MAX_CONDITIONS + 1)},
        {"a": list(range(MAX_VALUES + 1))},
        {"a": {"$regex": "x" * (MAX_TEXT + 1)}},
        {"a" * (MAX_TEXT + 1): 1},
        {"a": float("nan")},
        {"a": 10**5000},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": {"$prefix": "\ud800"}},
        {"a": object()},
    ],
    ids=range(12),
)
def test_filters_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Filter.parse(given)
    assert caught.value.detail.startswith(("filter", "'filter"))
    assert len(caught.value.detail) < 500


@pytest.mark.parametrize("given", [None, {}])
def test_an_empty_filter_is_none(given: Any) -> None:
    """S14.1: null or empty is no condition."""
    assert Filter.parse(given) is None


def test_a_filter_keeps_its_own_values() -> None:
    given: dict[str, Any] = {"a": {"$eq": [1, 2]}}
    wanted = parsed(given)
    given["a"]["$eq"].append(3)
    assert wanted.matches({"a": [1, 2]})


def test_patterns_that_others_hang_on_are_linear() -> None:
    """RE2 reads each text once, whatever the pattern."""
    wanted = parsed({"a": {"$regex": "^(a+)+$"}})
    columns, texts = stored([{"a": "a" * 100 + "!"}, {"a": "a" * 50_000 + "!"}, {"a": "a" * 50_000}])
    assert masks.of(wanted, columns, texts).tolist() == [False, False, True]


NAMES = st.sampled_from(["a", "b", "a.b", "b.a", "c"])
NUMBERS = st.sampled_from([0, 1, -1, 1.0, 1.5, 2**53, 2**53 + 1, -(2**53) - 1, 2**70, 1e300, -0.0])
TEXTS = st.sampled_from(["", "a", "A", "ab", "b", "é", "𝄞", "￿", "1", "x" * 128, "x" * 129, "x" * 128 + "y"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=2),
    max_leaves=5,
)
METAS = st.dictionaries(NAMES, VALUES, max_size=4) | SCALARS | st.lists(SCALARS, max_size=2)
PATHS = st.sampled_from(["a", "b", "a.b", "a.a.b", "b.a", "c", "none"])
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$contains"]), VALUES),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=6)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS | TEXTS),
    st.tuples(st.sampled_from(["$prefix", "$contains"]), TEXTS),
    st.tuples(st.just("$regex"), st.sampled_from(["^a", "x{100}y", "b$", "", "(?i)A"])),
    st.tuples(st.just("$exists"), st.booleans()),
)
TESTS = st.builds(lambda path, test: {path: {test[0]: test[1]}}, PATHS, OPERATIONS)
FILTERS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=4,
)


@given(st.lists(METAS, min_size=1, max_size=12), FILTERS)
def test_columns_answer_as_each_item_does(metas: list[Any], given: dict[str, Any]) -> None:
    wanted = parsed(given)
    expected = [wanted.matches(meta) for meta in metas]
    columns, texts = stored(metas)
    assert masks.of(wanted, columns, texts).tolist() == expected
    assert masks.of(wanted, columns, pa.array(texts, pa.large_string())).tolist() == expected
    assert masks.of_values(wanted, metas).tolist() == expected


def test_many_values_are_looked_up_together() -> None:
    metas = [{"a": f"v{i % 400}", "n": i % 300} for i in range(1000)]
    columns, texts = stored(metas)
    for asked in ({"a": [f"v{i}" for i in range(0, 800, 2)]}, {"n": list(range(0, 600, 3))}):
        wanted = parsed(asked)
        assert masks.of(wanted, columns, texts).tolist() == [wanted.matches(meta) for meta in metas]
        assert np.count_nonzero(masks.of(wanted, columns, texts)) > 100
