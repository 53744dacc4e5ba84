"""The iterations of a loop, each durable, until something says that it is done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

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
    many again. An interactive one pauses after each: an approval without a word confirms that it is done, where a
    channel says so and `signal_completes` does not let that suffice; any other answer is the input of one more
    iteration, a wordless one as `Approved`. Raises Pause until there is an answer, and Stop for a rejection.
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
        said, heard, unconfirmed = "", state.get("heard", 0), state.get("unconfirmed", False)
        if ran >= control.max_iterations and not unconfirmed:
            await _exhausted(step, control)
        if control.interactive and number > state["first"]:
            message = step.scope.along(LOOP_PREV_OUTPUT=output.text).text(control.gate_message)
            answer = asked(step, heard, message, ("approve", "reject"), {})
            if answer.decision == "reject":
                raise Stop(f"{step.path} was rejected{f': {answer.text}' if answer.text else '.'}")
            if unconfirmed and not answer.text.strip():
                return output
            said, heard = answer.text if answer.text.strip() else "Approved", heard + 1
            if ran >= control.max_iterations:
                await _exhausted(step, control)
        step.tell("iteration", n=number + 1, max=control.max_iterations)
        found = await once(number + 1, step.scope.along(LOOP_PREV_OUTPUT=output.text, LOOP_USER_INPUT=said))
        complete = found.done and (control.signal_completes or not control.interactive)
        await step.keep(
            iteration=number + 1,
            complete=complete,
            unconfirmed=found.done and not complete,
            heard=heard,
            **found.extra,
        )


async def _exhausted(step: Step, control: Control) -> NoReturn:
    await step.keep(exhausted=True)
    raise Unprocessable(
        f"it was not done after max_iterations = {control.max_iterations}.",
        fix="Resume the run for as many again, or raise max_iterations.",
    )
