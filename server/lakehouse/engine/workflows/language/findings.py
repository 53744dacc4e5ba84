"""What is found while a file is read: errors, warnings, features it uses, lines."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lakehouse.engine.workflows.language.tiers import TIERS
from lakehouse.engine.workflows.problems import Problem
from lakehouse.errors import did_you_mean

MAX_FINDINGS = 200  # of errors, and of warnings: a file of 10,000 bad nodes needs no more


@dataclass
class Findings:
    """All that is found in one file."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    features: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  # by place
    missing: dict[str, list[str]] = field(default_factory=lambda: {"commands": [], "scripts": [], "workflows": []})

    def error(self, where: str, message: str, fix: str = "") -> None:
        """Something that keeps the file from being run."""
        if len(self.errors) < MAX_FINDINGS:
            self.errors.append(Problem(where, message, fix, self.line(where)))

    def warn(self, where: str, message: str, fix: str = "") -> None:
        """Something that is strange about it."""
        if len(self.warnings) < MAX_FINDINGS:
            self.warnings.append(Problem(where, message, fix, self.line(where)))

    def used(self, feature: str) -> None:
        """It uses a feature of the language."""
        if feature in TIERS:
            self.features[feature] = TIERS[feature]

    @property
    def full(self) -> bool:
        """Whether nothing more that is wrong is told."""
        return len(self.errors) >= MAX_FINDINGS

    def unknown(self, where: str, key: str, known: Collection[str]) -> None:
        """A key that nothing is known of: it is dropped, with advice."""
        if len(self.warnings) >= MAX_FINDINGS:
            return  # advice takes a millisecond
        fix = did_you_mean(key, known, "It is left out.")
        self.warn(f"{where}.{key}" if where else key, f"{key[:60]!r} is not a key here.", fix)

    def lacks(self, kind: str, name: str) -> None:
        """A command, script or workflow that is named and not there."""
        if name not in self.missing[kind]:
            self.missing[kind].append(name)

    def line(self, where: str) -> int:
        """The line of a place, or of what it is in; 0 where neither is known."""
        return line_of(self.lines, where)


def line_of(lines: Mapping[str, int], where: str) -> int:
    """The line of a place, or of the nearest place around it."""
    while where not in lines and "." in where:
        where = where.rpartition(".")[0]
    return lines.get(where, 0)
