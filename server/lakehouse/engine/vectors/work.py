"""One caller's change of an index, waiting to be committed. Load it in a worker thread."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lakehouse.engine.vectors.batch import Batch
from lakehouse.engine.vectors.format import SegmentRef
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.snapshot import State


@dataclass(eq=False)
class Work:
    """A batch, or a segment to `attach`, or what is `made` of the very state it is put on. What came of it, too.

    `existed` and `error` are its outcome.
    """

    batch: Batch
    epoch: int  # of the index it was checked for
    attach: tuple[Segment, SegmentRef] | None = None
    must_exist: bool = False
    made: Callable[[State], Batch] | None = None
    existed: list[bool] = field(default_factory=list)
    error: Exception | None = None
    taken: bool = False

    @property
    def alone(self) -> bool:
        """Whether it is a log entry of its own."""
        return self.attach is not None or self.made is not None
