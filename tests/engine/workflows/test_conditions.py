"""`when:`: what holds, what does not, and what cannot be told."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scopes import cases, records

from lakehouse.engine.workflows.references import MissingReference, Scope
from lakehouse.engine.workflows.references.conditions import Malformed, parsed

NODES = records(
    {
        "kind": {"text": "BUG"},
        "n": {"text": "7\n"},
        "j": {"value": {"score": 0.8, "ok": True, "o": {"a": 1}, "z": None}},
        "gone": {"status": "skipped"},
        "bad": {"status": "failed"},
        "s": {"value": {"f": None}},
    }
)
SCOPE = Scope({"mode": "fast", "n": 3}, {}, NODES, {"s": {"properties": {"f": {}, "g": {}}}})


@pytest.mark.parametrize("case", cases("conditions.yaml"), ids=lambda case: case["when"])
def test_conditions(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(MissingReference, match=re.escape(case["error"])):
            SCOPE.when(case["when"])
        return
    found = SCOPE.when(case["when"])
    if "malformed" in case:
        assert not found
        assert found.reason == "when_condition_parse_error"
        assert case["malformed"] in found.warning
    else:
        assert bool(found) is found.held is case["held"]
        assert found.reason == ("" if found.held else "when_condition")
        assert not found.warning


PIECES = [
    "$kind.output",
    "$n.output",
    "$no.output",
    "$j.ok",
    "$",
    " == ",
    "!=",
    ">",
    "'BUG'",
    "'",
    "7",
    "&&",
    "||",
    "(",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_a_condition_or_is_malformed(text: str) -> None:
    """Whatever it is, it holds, does not, or names what it cannot find: nothing else comes out of it."""
    try:
        clauses = parsed(text)
    except Malformed:
        assert not SCOPE.when(text)
        return
    assert all(clauses)
    try:
        assert SCOPE.when(text).held in (True, False)
    except MissingReference as missing:
        assert missing.detail.startswith("$")
