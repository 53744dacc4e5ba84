"""Trigger rules: every rule over every combination of states."""

from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import yaml

from lakehouse.engine.workflows.model import Trigger
from lakehouse.engine.workflows.running.trigger import fires

STATES = {"c": "completed", "f": "failed", "s": "skipped"}
TABLE = yaml.safe_load((Path(__file__).parents[2] / "cases" / "trigger_rules.yaml").read_text())


def test_every_rule_is_in_the_table() -> None:
    assert set(TABLE) == set(get_args(Trigger))


@pytest.mark.parametrize("rule", get_args(Trigger))
def test_a_rule_over_up_to_three_dependencies(rule: Trigger) -> None:
    for count in range(4):
        for letters in product("cfs", repeat=count):
            wanted = TABLE[rule]["".join(sorted(set(letters)))]
            assert fires(rule, [STATES[letter] for letter in letters]) is wanted, letters  # type: ignore[misc]
