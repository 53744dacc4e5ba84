"""Signals that end loops."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.engine.workflows.signals import signalled, without_promise

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases" / "signals.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_a_signal_counts_where_it_should(case: dict[str, Any]) -> None:
    assert signalled(case["text"], case["signal"]) is case["done"]


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_between_tags_every_signal_counts(text: str, signal: str) -> None:
    assert signalled(f"{text}<promise>{signal}</promise>{text}", signal)


def test_a_promise_is_no_part_of_the_output() -> None:
    assert without_promise("Three.\n<promise>COMPLETE</promise>\n") == "Three."
    assert without_promise("a <Promise>x\ny</promise> b") == "a  b"
    assert without_promise("  as it is \n") == "  as it is \n"


def test_promises_are_found_in_time_that_grows_with_the_text() -> None:
    """A reply of opened promises without end is read once."""
    assert without_promise("<promise>" * 40_000) == "<promise>" * 40_000
    text = "a <promise>b <PROMISE>c</promise> d</promise> e<promise> f"
    assert without_promise(text) == "a  d</promise> e<promise> f"
