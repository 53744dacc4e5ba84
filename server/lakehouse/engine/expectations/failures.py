"""What is said when data does not hold what is expected of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.expectations.judge import Finding

LISTED = 100
_SHOWN = 3


class Broken(InvalidInput):
    """Data does not hold what is expected of its dataset; `data["rows"]` has up to 100 rows, which broke which."""


def broken(name: str, findings: Sequence["Finding"]) -> Broken:
    """The error for findings that are errors, the first few in words, up to 100 rows as data."""
    said = [f"{finding.expectation}: {finding.words}" for finding in findings[:_SHOWN]]
    more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    # Some of each: a rule that every row breaks must not hide the others.
    each = max(1, LISTED // max(1, len(findings)))
    rows = [row for finding in findings for row in finding.rows[:each]][:LISTED]
    return Broken(
        f"dataset {name!r} expects what does not hold: {'; '.join(said)}{more}.",
        fix="Mend these rows (nothing was stored), set them aside with quarantine=true, or change what is expected "
        "with set_expectations.",
        data={
            "rows": [row.model_dump(exclude_none=True) for row in rows],
            "broken": [finding.model_dump(exclude={"rows"}) for finding in findings[:LISTED]],
        },
    )
