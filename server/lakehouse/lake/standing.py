"""Who makes the running call, and what that decides: the open lake as its caller stands to it."""

from typing import TYPE_CHECKING, cast

from lakehouse import observe
from lakehouse.lake.hold import Hold
from lakehouse.observe import Caller

if TYPE_CHECKING:
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.workflows.runs import Starter


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

    @property
    def starter(self) -> "Starter":
        """Whoever makes the running call, as is kept of one who starts a run of a workflow."""
        from lakehouse.lake.steps import starter_of

        return starter_of(self.caller)
