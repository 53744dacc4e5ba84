"""The official conformance suite: the scored sets of both revisions, against every feature and `lakehouse serve`.

Each set is run once; what is asserted on is the list of checks it leaves behind, scenario by scenario.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml
from tests.conformance.conftest import PACKAGES, Served, run_node

REVISIONS = ("2025-11-25", "2026-07-28")
SUITE = PACKAGES / "conformance"
Check = dict[str, Any]
Run = Callable[[Served, str], dict[str, list[Check]]]

# Checks that are skipped, and why that is right.
SKIPPED = {
    name: "we promise no notifications: lists say how long they hold (cacheScope, ttlMs), and are asked for again"
    for name in (
        "sep-2575-server-sends-subscription-ack",
        "sep-2575-server-tags-subscription-id",
        "sep-2575-server-honors-notification-filter",
        "sep-2575-server-sends-prompts-list-changed-on-subscription",
        "sep-2575-server-sends-tools-list-changed-on-subscription",
    )
}
# Scenarios no revision scores that we leave out, and why. The other unscored ones must pass like the scored.
LEFT_OUT = {
    "server-sse-polling": "it resumes broken streams, which the current revision has given up",
    "tasks-": "an extension; a long call reports progress and can be cancelled",
}
# What needs more of a server than any capability of ours does; the scored sets above have it.
BY_HAND = {
    "logging-set-level",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-with-logging",
    "tools-call-sampling",
    "tools-call-elicitation",
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "resources-subscribe",
    "resources-unsubscribe",
    "prompts-get-embedded-resource",
    "prompts-get-with-image",
    "json-schema-2020-12",
    "input-required-result-",
}
# Checks of other scenarios that need such a tool.
UNTESTABLE = {
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
}


@cache
def scenarios(revision: str) -> list[str]:
    """Those of a revision's server set that are ours to pass, scored or not."""
    wanted = yaml.safe_load((SUITE / "requirements" / f"{revision}.yaml").read_text(encoding="utf-8"))
    more = [entry["scenario"] for entry in wanted["not_scored"] if entry["leg"] == "server"]
    return [name for name in [*wanted["server"], *more] if not begins(name, LEFT_OUT)]


def begins(name: str, prefixes: Any) -> bool:
    return any(name.startswith(prefix) for prefix in prefixes)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a revision's set against a server, once; gives the checks of each scenario."""

    @cache
    def ran(server: str, revision: str) -> dict[str, list[Check]]:
        folder = tmp_path_factory.mktemp("checks")
        arguments = ("--url", server, "--requirements", revision, "-o", str(folder))
        said = run_node(SUITE / "dist" / "index.js", "server", *arguments)
        checks: dict[str, list[Check]] = {}
        for name in scenarios(revision):
            left = sorted(folder.glob(f"server-{name}-20*/checks.json"))
            assert left, f"{name} left no checks:\n{said.stdout[-3000:]}{said.stderr[-3000:]}"
            checks[name] = json.loads(left[-1].read_text(encoding="utf-8"))
        return checks

    return lambda server, revision: ran(server.url, revision)


def faults(checks: list[Check], excused: set[str]) -> list[str]:
    return [
        f"{check['status']} {check['id']}: {check.get('errorMessage')}"
        for check in checks
        if check["status"] not in ("SUCCESS", "INFO") and check["id"] not in excused
    ]


@pytest.mark.parametrize(("revision", "scenario"), [(r, s) for r in REVISIONS for s in scenarios(r)])
def test_every_feature(everything: Served, run: Run, revision: str, scenario: str) -> None:
    checks = run(everything, revision)[scenario]
    assert any(check["status"] == "SUCCESS" for check in checks)
    assert not faults(checks, set(SKIPPED))


@pytest.mark.parametrize(
    ("revision", "scenario"), [(r, s) for r in REVISIONS for s in scenarios(r) if not begins(s, BY_HAND)]
)
def test_lakehouse_serve(real: Served, run: Run, revision: str, scenario: str) -> None:
    checks = run(real, revision)[scenario]
    untestable = {check["id"] for check in checks if check.get("details", {}).get("untestable")}
    assert untestable <= UNTESTABLE
    assert any(check["status"] == "SUCCESS" for check in checks)
    assert not faults(checks, set(SKIPPED) | untestable)


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_lakehouse_serve_sends_fits_the_schema(real: Served, run: Run, revision: str) -> None:
    """Errors and refusals too: whatever a scenario asked for in vain."""
    wire = [c for checks in run(real, revision).values() for c in checks if c["id"].startswith("wire-schema")]
    assert len(wire) > 20 and not faults(wire, set())


def test_nothing_is_excused_in_vain(everything: Served, run: Run) -> None:
    """What is no longer skipped, or is called otherwise now, leaves the lists above."""
    skipped = {
        check["id"]
        for revision in REVISIONS
        for checks in run(everything, revision).values()
        for check in checks
        if check["status"] == "SKIPPED"
    }
    assert skipped == set(SKIPPED)
    known = [scenario for revision in REVISIONS for scenario in scenarios(revision)]
    assert all(any(scenario.startswith(name) for scenario in known) for name in BY_HAND)
