"""A node that calls one of our own capabilities."""

import math
from collections.abc import Mapping
from typing import Any

from lakehouse.engine.workflows.model import Mode
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.step import Step


async def run_mode(step: Step) -> Output:
    """Call it with what `with:` stands for; its answer is the output."""
    body = step.node.body
    assert isinstance(body, Mode)
    answer = await step.call(body.name, {name: step.scope.given(v) for name, v in step.node.given.items()})
    if isinstance(answer, Mapping):
        step.spend(_number(answer, "cost_usd"), int(_number(answer, "input_tokens") + _number(answer, "output_tokens")))
    return Output.of(answer)


def _number(answer: Mapping[str, Any], name: str) -> float:
    """What a mode that asks models says it took, as llm.chat does."""
    found = answer.get(name)
    return found if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < math.inf else 0
