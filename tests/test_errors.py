"""The error table: one code, HTTP status and exit code a class, and one shape for every face."""

import pickle
import re

import pytest

from lakehouse import errors
from lakehouse.errors import Busy, Conflict, InvalidInput, LakehouseError, by_code, did_you_mean

TABLE = {
    "LakehouseError": ("internal", 500, 70),
    "InvalidInput": ("invalid_request", 400, 65),
    "Unauthorized": ("unauthorized", 401, 77),
    "Forbidden": ("forbidden", 403, 77),
    "NotFound": ("not_found", 404, 66),
    "Conflict": ("conflict", 409, 73),
    "TooLarge": ("too_large", 413, 74),
    "Unprocessable": ("unprocessable", 422, 65),
    "NotInstalled": ("not_implemented", 501, 69),
    "Upstream": ("upstream", 502, 69),
    "Busy": ("busy", 503, 75),
    "Unavailable": ("unavailable", 503, 75),
    "TimedOut": ("timeout", 504, 75),
}
KINDS = {n: k for n, k in vars(errors).items() if isinstance(k, type) and issubclass(k, LakehouseError)}


class Drifted(Conflict):
    """What an engine part derives from one of the table."""

    def __init__(self, name: str, *, fix: str = "") -> None:
        super().__init__(f"dataset {name} has another schema.", fix=fix, data={"name": name})
        self.name = name


def test_the_classes_are_the_table() -> None:
    assert {name: (kind.code, kind.http, kind.exit) for name, kind in KINDS.items()} == TABLE


def test_the_docstring_is_the_table() -> None:
    """The table on top of errors.py is what people read; it is held to the classes."""
    row = re.compile(r"^ *([A-Z]\w+) +([a-z_]+) +(\d+) +exit (\d+) ", re.MULTILINE)
    found = {name: (code, int(http), int(leave)) for name, code, http, leave in row.findall(errors.__doc__ or "")}
    assert found == TABLE


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda k: k.__name__)
def test_problem_details(kind: type[LakehouseError]) -> None:
    error = kind("it is so.", fix="Do that.", data={"line": 3})
    problem = error.problem()
    assert problem | {"retry_after": 5} == {
        "type": f"lakehouse:{kind.code}",
        "title": kind.code,
        "status": kind.http,
        "detail": "it is so.",
        "fix": "Do that.",
        "data": {"line": 3},
        "retry_after": 5,
    }
    assert str(error) == f"{kind.code}: it is so. Do that."


def test_what_is_not_known_is_left_out() -> None:
    assert set(InvalidInput("no.").problem()) == {"type", "title", "status", "detail"}
    assert str(InvalidInput("no.")) == "invalid_request: no."
    assert Busy("full.", retry_after=30).problem()["retry_after"] == 30


@pytest.mark.parametrize(
    "error",
    [InvalidInput("a.", fix="b.", data={"c": [1]}), Busy("full.", retry_after=30), Drifted("orders", fix="Evolve it.")],
    ids=lambda e: type(e).__name__,
)
def test_pickling_keeps_everything(error: LakehouseError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert again.args == error.args
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda k: k.__name__)
def test_a_code_names_its_class(kind: type[LakehouseError]) -> None:
    again = by_code(kind.code, "it is so.", fix="Do that.", data={"line": 3})
    assert type(again) is kind
    assert (again.detail, again.fix, again.data) == ("it is so.", "Do that.", {"line": 3})


def test_a_code_of_a_derived_class_and_an_unknown_one() -> None:
    assert type(by_code(Drifted.code, "drift.")) is Conflict
    assert type(by_code("from_the_future", "what?")) is LakehouseError


def test_a_fix_for_a_name_that_is_not_there() -> None:
    """The nearest first; else what there is, cut at 20; else what the caller says."""
    names = ["orders", "order_lines", "people"]
    assert did_you_mean("order", names) == "Did you mean orders?"
    assert did_you_mean("order", ["order1", "order2", *names]) == "Did you mean orders or order2 or order1?"
    assert did_you_mean("zzz", names) == "There are: order_lines, orders, people."
    assert did_you_mean("zzz", (f"n{i:02}" for i in range(21))).endswith("n18, n19, ….")
    assert did_you_mean("zzz", names, "Ask.") == "Ask."
