"""The iterations of a loop, each durable, until something says that it is done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lakehouse.engine.workflows.model import Control
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.gates import asked, kept
from lakehouse.engine.workflows.running.step import Step, Stop
from lakehouse.errors import Unprocessable


@dataclass(frozen=True)
class Round:
    """How an iteration ended: whether a channel says that the loop is done, and what is kept with it."""

    done: bool
    extra: Mapping[str, Any] = field(default_factory=dict)


Once = Callable[[int, Scope], Awaitable[Round]]  # an iteration's number, and its scope
Put = Callable[[int], Output]  # what the iteration of a number, which has ended, put out


async def repeat(step: Step, control: Control, once: Once, put: Put, before: int = 0) -> Output:
    """Run iterations until one is the last; its output. Killed, it goes on with the iteration it was in.

    The first has the number `before + 1`. Raises Unprocessable after `max_iterations`; resumed then, it may run as
    many again. Raises Pause where it is interactive and somebody has to answer, and Stop for a rejection.
    """
    if "iteration" not in kept(step):
        await step.keep(iteration=before, first=before, begun=before)
    elif kept(step).get("exhausted"):
        await step.keep(begun=kept(step)["iteration"], exhausted=False)
    while True:
        state = kept(step)
        number, ran = state["iteration"], state["iteration"] - state["begun"]
        output = put(number) if number > state["first"] else Output("")
        if state.get("complete"):
            return output
        if ran >= control.max_iterations:
            await step.keep(exhausted=True)
            raise Unprocessable(
                f"it was not done after max_iterations = {control.max_iterations}.",
                fix="Resume the run for as many again, or raise max_iterations.",
            )
        said, heard = "", state.get("heard", 0)
        if control.interactive and ran:
            message = step.scope.along(LOOP_PREV_OUTPUT=output.text).text(control.gate_message)
            answer = asked(step, heard, message, ("approve", "reject"))
            if answer.decision == "reject":
                raise Stop(f"{step.path} was rejected{f': {answer.text}' if answer.text else '.'}")
            said, heard = answer.text, heard + 1
        step.tell("iteration", n=number + 1, max=control.max_iterations)
        found = await once(number + 1, step.scope.along(LOOP_PREV_OUTPUT=output.text, LOOP_USER_INPUT=said))
        # Whoever is to be heard is heard before a model's word that it is done counts.
        done = found.done and (not control.interactive or control.signal_completes or bool(heard))
        await step.keep(iteration=number + 1, complete=done, heard=heard, **found.extra)
