"""Tests of workflow files: a dry run with stubs, held against what is expected of it.

workflow: name
input: {…}
stubs: {node: what it puts out}
expect: {status: completed, arguments: {node: {…}}, outputs: {node: …}, result: …}
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse.engine.workflows.language.reading import plain, read
from lakehouse.engine.workflows.language.source import Source
from lakehouse.engine.workflows.lifting.file import TESTS
from lakehouse.engine.workflows.part import Workflows
from lakehouse.engine.workflows.problems import Problem
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.dry import Dry
from lakehouse.engine.workflows.runs import Starter
from lakehouse.errors import LakehouseError

PATIENCE = 60.0
KEYS = frozenset({"workflow", "input", "message", "stubs", "expect"})


async def failures_of(workflows: Workflows, file: str, name: str, starter: Starter) -> list[Problem]:
    """What the test beside a workflow's file finds, `_tests/<its file's name>`; nothing where there is none."""
    if not file:
        return []
    path = Path(file)
    beside = path.parent / TESTS / f"{path.stem}.yaml"

    def found() -> str | None:
        try:
            return beside.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    text = await anyio.to_thread.run_sync(found)
    return [] if text is None else await failures(workflows, text, starter, name)


async def failures(
    workflows: Workflows, test: str, starter: Starter, name: str, definition: str | None = None
) -> list[Problem]:
    """What a test finds of a workflow, or of a text in its place."""
    given, wrong, _ = await anyio.to_thread.run_sync(read, Source("test", test))
    if given is None:
        return [Problem(f"{TESTS}.{one.where}", one.message, one.fix) for one in wrong]
    case: dict[str, Any] = plain(given)
    unknown = sorted(set(case) - KEYS)
    expect = case.get("expect")
    if unknown or not isinstance(expect, Mapping):
        said = f"{unknown[0]!r} is not a key of a test." if unknown else "it expects nothing."
        return [Problem(TESTS, said, f"It has {', '.join(sorted(KEYS))}.")]
    dry = Dry(case.get("stubs") or {})
    try:
        record = await workflows.start(
            name,
            starter,
            definition=definition,
            inputs=case.get("input") or {},
            message=str(case.get("message") or ""),
            dry=dry,
        )
    except LakehouseError as error:
        return [Problem(TESTS, error.detail, error.fix)]
    state = await workflows.wait(record.id, PATIENCE)
    nodes = {node.path: node for node in state.nodes}
    found = [
        *_different("status", expect.get("status", "completed"), state.status),
        *(
            problem
            for id, one in _map(expect, "arguments")
            for problem in _different(id, one, dry.called.get(id), "with")
        ),
    ]
    for id, one in _map(expect, "outputs"):
        here = nodes.get(id)
        found += _different(id, one, Output(here.text, here.typed).value if here else None, "output")
    if "result" in expect:
        found += _different("result", expect["result"], _value(state.record.result, expect["result"]))
    return found


def _map(expect: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    found = expect.get(key)
    return list(found.items()) if isinstance(found, Mapping) else []


def _value(text: str, expected: Any) -> Any:
    if isinstance(expected, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _different(where: str, expected: Any, actual: Any, part: str = "") -> list[Problem]:
    if expected == actual:
        return []
    place = f"{TESTS}.{where}{f'.{part}' if part else ''}"
    return [Problem(place, f"expected {_short(expected)}, got {_short(actual)}.", "Mend the workflow or its test.")]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:299]}…"
