"""Records as rows of the file of runs, and back. What changes of a run is apart from what it was started with."""

import json
from collections.abc import Mapping
from typing import Any

from lakehouse.engine.workflows.runs.outputs import clean
from lakehouse.engine.workflows.runs.record import Event, Failure, NodeRecord, Planned, RunRecord, Starter

FORMAT = 1  # of the file, as its user_version
SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, workflow TEXT NOT NULL, profile TEXT, parent TEXT, rerun_of TEXT, depth INTEGER NOT NULL,
    started_at REAL NOT NULL, status TEXT NOT NULL, ended_at REAL, error TEXT, outcome INTEGER, result TEXT NOT NULL,
    result_file TEXT, starter TEXT NOT NULL, message TEXT NOT NULL, inputs TEXT NOT NULL, plan TEXT NOT NULL,
    bundle TEXT NOT NULL);
CREATE INDEX runs_by_time ON runs (started_at);
CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL;
CREATE TABLE nodes (
    run TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    text TEXT NOT NULL, file TEXT, typed INTEGER NOT NULL, failure TEXT, started_at REAL, ended_at REAL,
    attempts INTEGER NOT NULL, ops TEXT NOT NULL, cost_usd REAL NOT NULL, tokens INTEGER NOT NULL, model TEXT NOT NULL,
    extra TEXT NOT NULL, PRIMARY KEY (run, path)) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL,
    data TEXT NOT NULL);
CREATE INDEX events_by_run ON events (run);
"""

ADD_RUN = f"INSERT OR REPLACE INTO runs VALUES ({', '.join('?' * 18)})"
CHANGE_RUN = (
    "UPDATE runs SET status = ?, ended_at = ?, error = ?, outcome = ?, result = ?, result_file = ? WHERE id = ?"
)
PUT_NODE = f"INSERT OR REPLACE INTO nodes VALUES ({', '.join('?' * 17)})"
ADD_EVENT = "INSERT INTO events (run, at, kind, path, data) VALUES (?, ?, ?, ?, ?)"
_RUN = (
    "id, workflow, parent, rerun_of, depth, started_at, status, ended_at, error, outcome, result, result_file, "
    "starter, message"
)
WHOLE_RUN = f"SELECT {_RUN}, inputs, plan, bundle FROM runs"
LISTED_RUN = f"SELECT {_RUN} FROM runs"
NODES = (
    "SELECT path, kind, status, reason, text, file, typed, failure, started_at, ended_at, attempts, ops, cost_usd, "
    "tokens, model, extra FROM nodes WHERE run = ?"
)


def run_row(record: RunRecord, file: str | None) -> tuple[Any, ...]:
    """A run with what it was started with. `file` holds its result, where that is long."""
    starter = record.starter
    return (
        record.id,
        record.workflow,
        starter.profile,
        record.parent,
        record.rerun_of,
        record.depth,
        record.started_at,
        record.status,
        record.ended_at,
        _failure(record.error),
        record.outcome,
        "" if file else clean(record.result),
        file,
        json.dumps({**vars(starter), "toolsets": list(starter.toolsets)}),
        clean(record.message),
        json.dumps(dict(record.inputs)),
        json.dumps([[one.id, one.kind, list(one.depends_on), one.mode] for one in record.plan]),
        json.dumps(dict(record.bundle)),
    )


def changed_row(record: RunRecord, file: str | None) -> tuple[Any, ...]:
    """What changes of a run, and its id."""
    result = "" if file else clean(record.result)
    return record.status, record.ended_at, _failure(record.error), record.outcome, result, file, record.id


def node_row(run: str, record: NodeRecord, file: str | None) -> tuple[Any, ...]:
    """A node. `file` holds its text, where that is long."""
    return (
        run,
        record.path,
        record.kind,
        record.status,
        record.reason,
        "" if file else clean(record.text),
        file,
        record.typed,
        _failure(record.failure),
        record.started_at,
        record.ended_at,
        record.attempts,
        " ".join(record.ops),
        record.cost_usd,
        record.tokens,
        record.model,
        json.dumps(dict(record.extra)) if record.extra else "",
    )


def event_row(run: str, event: Event) -> tuple[Any, ...]:
    """An event."""
    return run, event.at, event.kind, event.path, json.dumps(dict(event.data)) if event.data else ""


def run_of(row: tuple[Any, ...]) -> tuple[RunRecord, str | None]:
    """A run of a row of WHOLE_RUN or LISTED_RUN, and the file of its result."""
    (id, workflow, parent, rerun_of, depth, started_at, status, ended_at, error, outcome, result, file, *rest) = row
    starter = json.loads(rest[0])
    inputs, plan, bundle = rest[2:] or ("{}", "[]", "{}")
    record = RunRecord(
        id=id,
        workflow=workflow,
        bundle=json.loads(bundle),
        inputs=json.loads(inputs),
        message=rest[1],
        starter=Starter(**{**starter, "toolsets": tuple(starter["toolsets"])}),
        status=status,
        started_at=started_at,
        ended_at=ended_at,
        error=_failure_of(error),
        result=result,
        outcome=None if outcome is None else bool(outcome),
        parent=parent,
        rerun_of=rerun_of,
        depth=depth,
        plan=tuple(Planned(id, kind, tuple(after), mode) for id, kind, after, mode in json.loads(plan)),
    )
    return record, file


def node_of(row: tuple[Any, ...]) -> tuple[NodeRecord, str | None]:
    """A node of a row of NODES, and the file of its text."""
    (path, kind, status, reason, text, file, typed, failure, *rest) = row
    started_at, ended_at, attempts, ops, cost_usd, tokens, model, extra = rest
    record = NodeRecord(
        path,
        kind,
        status,
        reason,
        text,
        bool(typed),
        _failure_of(failure),
        started_at,
        ended_at,
        attempts,
        tuple(ops.split()),
        cost_usd,
        tokens,
        model,
        json.loads(extra) if extra else {},
    )
    return record, file


def event_of(row: tuple[Any, ...]) -> tuple[int, Event]:
    """An event, and its number."""
    seq, at, kind, path, data = row
    return seq, Event(at, kind, path, _loaded(data))


def _loaded(data: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(data) if data else {}
    return found


def _failure(failure: Failure | None) -> str | None:
    return None if failure is None else json.dumps([failure.code, failure.detail, failure.fix])


def _failure_of(text: str | None) -> Failure | None:
    return None if text is None else Failure(*json.loads(text))
