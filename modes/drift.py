"""How far what was judged once is from how it would be judged now."""

from functools import partial
from typing import Annotated

import anyio.to_thread

from lakehouse import InvalidInput, Lakehouse, mode
from lakehouse.engine.drift import Drift, Persisted, scorer_drift


@mode()
async def scorer(
    lake: Lakehouse,
    entries: Annotated[list[Persisted], "Records with the categories they were given."],
    include_entries: Annotated[bool, "Tell of each record, too."] = False,
) -> Drift:
    """Score records again, and tell how many are sorted elsewhere now, and where they went.

    Example: {"entries": [{"record": {"source": "audit", "severity": "warn"}, "category": "accepted"}]}.
    """
    if not entries:
        raise InvalidInput("entries: there are none.", fix="Give records with their categories.")
    return await anyio.to_thread.run_sync(partial(scorer_drift, entries, include_entries=include_entries))
