"""What is tried again, how often, and after how long."""

import pytest

from lakehouse.engine.workflows.language.nodes import AGAIN
from lakehouse.engine.workflows.model import Bash, Node, Prompt, Retry
from lakehouse.engine.workflows.references import MissingReference
from lakehouse.engine.workflows.running.retry import classed, delay
from lakehouse.errors import (
    Busy,
    Forbidden,
    InvalidInput,
    LakehouseError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    Upstream,
)


class Later(Unavailable):
    retry_after = 7


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (Busy("no room"), "transient"),
        (TimedOut("too long"), "transient"),
        (Later("not yet"), "transient"),
        (Unavailable("not usable"), "unknown"),
        (Unauthorized("no token"), "fatal"),
        (Forbidden("not yours: timeout"), "fatal"),
        (InvalidInput("value: 429 is too many"), "fatal"),
        (TooLarge("over the limit"), "fatal"),
        (MissingReference("$a.output: rate limit"), "fatal"),
        (Upstream("HTTP 429 Too Many Requests"), "transient"),
        (Upstream("The model is OVERLOADED"), "transient"),
        (Upstream("connect ECONNREFUSED"), "transient"),
        (Upstream("502 Bad Gateway"), "transient"),
        (Upstream("HTTP 401: timeout"), "fatal"),
        (Upstream("your Credit Balance is too low"), "fatal"),
        (Upstream("Permission denied (rate limit)"), "fatal"),
        (Upstream("14290 rows"), "unknown"),
        (Unprocessable("it exited with code 3"), "transient"),
        (LakehouseError("KeyError: 'x'"), "unknown"),
    ],
)
def test_classes(error: LakehouseError, wanted: str) -> None:
    assert classed(error) == wanted


def test_a_prompt_is_tried_twice_again_and_a_script_only_when_it_says_so() -> None:
    error = Upstream("503")
    prompt, script = Node("a", Prompt("x"), retry=AGAIN), Node("b", Bash("x"))
    assert [delay(prompt, error, failures) for failures in (1, 2, 3)] == [3.0, 6.0, None]
    assert delay(script, error, 1) is None
    patient = Node("b", Bash("x"), retry=Retry(4, 1.5))
    assert [delay(patient, error, failures) for failures in (1, 2, 3, 4, 5)] == [1.5, 3.0, 6.0, 12.0, None]


def test_what_is_unknown_is_tried_again_only_by_who_asks_for_it() -> None:
    unknown, fatal = Upstream("a blank answer"), Upstream("403")
    assert delay(Node("a", Prompt("x"), retry=AGAIN), unknown, 1) is None
    eager = Node("a", Prompt("x"), retry=Retry(1, 1.0, "all"))
    assert (delay(eager, unknown, 1), delay(eager, fatal, 1)) == (1.0, None)


def test_an_error_may_ask_for_more_time() -> None:
    node = Node("a", Bash("x"), retry=Retry(5, 2.0))
    assert [delay(node, Busy("no room", retry_after=5), failures) for failures in (1, 2, 3)] == [5.0, 5.0, 8.0]
