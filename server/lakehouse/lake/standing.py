"""Who makes the running call, and what that decides: the open lake as its caller stands to it."""

from contextlib import suppress
from typing import TYPE_CHECKING, cast

import anyio

from lakehouse import observe
from lakehouse.errors import Conflict, Unavailable, Unprocessable
from lakehouse.lake.hold import Hold
from lakehouse.observe import Caller

if TYPE_CHECKING:
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.workflows.runs import Starter
    from lakehouse.engine.workflows.runs.report import RunReport


STOP_SHARE = 0.8  # of the seconds a server that stops gives its calls, which who waits for a run waits on
RUN_SECS = 60.0  # that a call waits for a run: clients give up on longer ones
SPARE_SECS = 2.0  # of its time limit that it leaves for beginning and telling


class Standing(Hold):
    """What of an open lake depends on the call that runs."""

    @property
    def caller(self) -> Caller:
        """Who made the running call."""
        call = observe.current.get()
        return call.caller if call is not None else Caller()

    @property
    def profile(self) -> "Profile | None":
        """What the running call is bound to; None: nothing, it sees everything."""
        call = observe.current.get()
        return cast("Profile | None", call.scope) if call is not None else None

    @property
    def via(self) -> str:
        """The face the running call came through: mcp, http, cli, python, or workflow."""
        return self.caller.via

    @property
    def room(self) -> int | None:
        """Bytes of JSON whoever makes the running call is shown: `server.max_text_bytes` over MCP, else all."""
        call = observe.current.get()
        if call is not None and (call.limit is not None or call.node):
            return call.limit  # a node of a workflow is given all of it
        return self.config.server.max_text_bytes if self.via == "mcp" else None

    @property
    def key(self) -> str:
        """The same whenever the running call of a workflow's node is made again; empty for other calls."""
        call = observe.current.get()
        return call.key if call is not None else ""

    def check_starts(self) -> None:
        """Raises Unprocessable within a node of a run: such a call could start itself, over and over."""
        call = observe.current.get()
        if call is not None and call.node:
            raise Unprocessable(
                f"{call.name} cannot be called from a node.",
                fix="Use a node `workflow: NAME`: it counts how deep runs lie, and is resumed with them.",
            )

    async def followed(self, run: str, wait: float | None = None, *, own: bool = False) -> "RunReport":
        """A run once it has ended or pauses; one that takes longer than `wait` seconds as it is then.

        Nobody waits past the running call's time limit, nor where this process ends with its call: whoever made that
        call follows the run. `own`: the call began it, so that it is cancelled with the call. Raises Unavailable when
        the server stops before the run ends: it can be resumed.
        """
        call = observe.current.get()
        limit = max(0.0, self.config.server.long_timeout_secs - SPARE_SECS)
        patience = min(RUN_SECS if wait is None else wait, limit)
        if self.brief and (call is None or call.parent is None):
            patience = 0.0
        report = call.progress if call is not None else observe.no_progress
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._leave, group.cancel_scope)
            try:
                await self.workflows.wait(run, patience, report)
            except anyio.get_cancelled_exc_class():
                if own and not self.stopping.is_set():
                    with anyio.CancelScope(shield=True), suppress(Conflict):
                        await self.workflows.cancel(run, "whoever started it cancelled the call.")
                raise
            except Exception as error:  # raised below: out of here it would come as a group of one
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        state = await self.workflows.state(run)
        if state.live and group.cancel_scope.cancelled_caught and self.stopping.is_set():
            raise Unavailable(
                f"the server stops while run {run} is under way.",
                fix="Once it answers again, workflow_status tells how that stands; workflow_resume goes on with it.",
            )
        return await self.workflows.report(state)

    async def _leave(self, scope: anyio.CancelScope) -> None:
        """Leave a scope when the server stops, in time to tell it."""
        await self.stopping.wait()
        await anyio.sleep(STOP_SHARE * self.config.server.drain_secs)
        scope.cancel()

    @property
    def starter(self) -> "Starter":
        """Whoever makes the running call, as is kept of one who starts a run of a workflow."""
        from lakehouse.lake.steps import starter_of

        return starter_of(self.caller)
