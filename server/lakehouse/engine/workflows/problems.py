"""What is wrong with a workflow, or only strange: where, what, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from lakehouse.errors import InvalidInput, Unprocessable

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
        kind = UnknownMode if any(map(_names_no_mode, errors)) else cls
        apart = "\n  " if len(errors) > 1 else " "
        told = "".join(f"{apart}{error}" for error in errors[:MAX_TOLD])
        more = f"{apart}and {len(errors) - MAX_TOLD} more." if len(errors) > MAX_TOLD else ""
        return kind(
            f"{f'workflow {name}' if name else 'the workflow'} cannot run:{told}{more}",
            fix="Mend the file; workflow_validate tells everything that is wrong with it.",
            data={"errors": [vars(error) for error in errors]},
        )


class UnknownMode(CannotRun):
    """A workflow that names a mode there is not: what was asked for is wrong, wherever it came from."""

    code, http, exit = InvalidInput.code, InvalidInput.http, InvalidInput.exit


def _names_no_mode(problem: Problem) -> bool:
    return problem.where.endswith(".mode")
