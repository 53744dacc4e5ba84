"""What past work is worth learning from."""

from typing import Annotated

import anyio.to_thread

from lakehouse import Lakehouse, mode
from lakehouse.engine.distillation import EvidenceRecord, Score, score_record


@mode()
async def score(lake: Lakehouse, record: Annotated[EvidenceRecord, "The evidence."]) -> Score:
    """Sort a piece of work into accepted, partially_accepted, rejected or needs_human_review, by fixed rules.

    Example: {"record": {"source": "scrum_review", "markers": ["attempt_1"]}}.
    """
    return await anyio.to_thread.run_sync(score_record, record)
