"""The language of workflow files: text in, a Workflow out, with everything that is wrong or strange about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse.engine.workflows.language.file import File
from lakehouse.engine.workflows.language.findings import line_of
from lakehouse.engine.workflows.language.root import gather, understood
from lakehouse.engine.workflows.language.source import Around, Source
from lakehouse.engine.workflows.language.tiers import FEATURES, Feature
from lakehouse.engine.workflows.model import Workflow
from lakehouse.engine.workflows.problems import Problem


@dataclass(frozen=True)
class Loaded:
    """What a text was understood as. `workflow` is None exactly where there are errors.

    `features` are the features of the language it uses, each with its tier; see `FEATURES`. `used` are the texts it
    was put together from besides its own, by kind and name: `("command", "review")`; a command or script of a workflow
    that it includes or starts is under `("command", "block/review")`. `missing` are the names it uses that are not
    there: commands, scripts and workflows. `lines` are the lines of places such as `nodes.review.when`.
    """

    workflow: Workflow | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    features: tuple[tuple[str, str], ...] = ()
    used: Mapping[tuple[str, str], Source] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    source: Source = field(default_factory=lambda: Source("", ""))
    nodes: int = 0  # those of includes and loop groups counted, too

    def line(self, where: str) -> int:
        """The line of a place in the file; 0 if it is not known."""
        return line_of(self.lines, where)

    def placed(self, found: Iterable[Problem]) -> list[Problem]:
        """What was found in the workflow, with its lines in the file."""
        return [replace(one, line=self.line(one.where)) for one in found]

    def report(self, errors: Iterable[Problem] = (), warnings: Iterable[Problem] = ()) -> dict[str, Any]:
        """All of it as JSON, with what else was found, which gets its lines here."""
        wrong = [*self.errors, *self.placed(errors)]
        strange = [*self.warnings, *self.placed(warnings)]
        return {
            "file": self.source.path,
            "name": self.workflow.name if self.workflow is not None else self.source.name,
            "valid": not wrong,
            "errors": [vars(one) for one in wrong],
            "warnings": [vars(one) for one in strange],
            "features": [{"feature": name, "tier": tier} for name, tier in self.features],
            "missing": {kind: list(self.missing.get(kind, ())) for kind in ("commands", "scripts", "workflows")},
            "nodes": self.nodes,
        }


def load(source: Source, around: Around, *, deep: bool = True) -> Loaded:
    """Understand a workflow file. It never raises for what a file holds.

    Without `deep`, `used` may lack texts of children that lie more than three deep: nothing can be run from that.
    """
    file = File(source, around)
    workflow = understood(file)
    if deep:
        gather(file.shared)
    found = file.findings
    return Loaded(
        workflow,
        tuple(found.errors),
        tuple(found.warnings),
        tuple(sorted(found.features.items())),
        file.shared.used,
        {kind: tuple(names) for kind, names in found.missing.items()},
        found.lines,
        source,
        file.shared.nodes,
    )


__all__ = ["FEATURES", "Around", "Feature", "Loaded", "Problem", "Source", "load"]
