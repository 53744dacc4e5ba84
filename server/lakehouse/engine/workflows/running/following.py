"""A live run, followed by somebody who waits for it."""

from collections.abc import Callable

import anyio

from lakehouse.engine.progress import Progress
from lakehouse.engine.workflows.running.live import Live

QUIET_SECS = 10.0  # after which it is said what runs: a client that hears nothing takes a call for dead


async def watched(live_now: Callable[[], Live | None], progress: Progress) -> None:
    """Report each event until the run is no longer live: nodes that ended, of how many and the end, and what happened.

    Between two ends the number grows by less than one, so that each report is further than the one before.
    """

    seen, ended, since = 0, 0, 0

    async def tell(live: Live, words: str) -> None:
        nonlocal since
        await progress(ended + since / (since + 1), len(live.workflow.nodes) + 1, words)
        since += 1

    while (live := live_now()) is not None:
        heard = live.heard
        told, seen = live.told(seen), live.happened
        for words in told:
            if len(live.settled) > ended:
                ended, since = len(live.settled), 0
            await tell(live, words)
        with anyio.move_on_after(QUIET_SECS) as quiet:
            await heard.wait()
        if quiet.cancelled_caught and (doing := live.doing()):
            await tell(live, f"{doing} running")
