"""What is wrong with a workflow, or only strange: where, what, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from lakehouse.errors import Unprocessable

MAX_TOLD = 8


@dataclass(frozen=True)
class Problem:
    """One finding. `where` is a path into the file (`nodes.review.when`); `line` counts from 1, 0 is unknown."""

    where: str
    message: str
    fix: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.where} (line {self.line})" if self.line else self.where
        return f"{place}: {self.message}{f' {self.fix}' if self.fix else ''}"


class CannotRun(Unprocessable):
    """A workflow that parses but cannot run; `data["errors"]` are all findings."""

    @classmethod
    def of(cls, name: str, errors: Sequence[Problem]) -> "CannotRun":
        """The error for these findings."""
        told = "; ".join(map(str, errors[:MAX_TOLD]))
        more = f"; and {len(errors) - MAX_TOLD} more" if len(errors) > MAX_TOLD else ""
        return cls(
            f"workflow {name or 'without a name'} cannot run: {told}{more}",
            fix="Mend the file; workflow_validate tells everything that is wrong with it.",
            data={"errors": [vars(error) for error in errors]},
        )
