"""Every shipped tool, called once for real over stdio with what it is meant for; each answer fits its schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.test_wire import Wire, wire

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
}


def steps(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The tools in an order in which each finds what it needs."""
    return [
        ("ingest_file", {"path": str(folder / "jobs.csv"), "name": "jobs"}),
        ("list_datasets", {}),
        ("get_manifest", {"name": "jobs"}),
        ("query_sql", {"sql": "SELECT id, role FROM jobs ORDER BY id"}),
        ("query_sql", {"sql": "SELECT i, repeat('x', 100) AS x FROM range(5000) t(i)"}),
        ("explain_sql", {"sql": "SELECT role FROM jobs WHERE id > 1", "analyze": True}),
        ("query_history", {"contains": "role"}),
        ("build_corpus", {"name": "jobs", "dataset": "jobs", "text": ["role"], "id": "id"}),
        ("matrix_corpora", {}),
        ("matrix_search", {"query_text": "lift truck", "corpora": ["jobs"], "k": 2}),
        ("embed_text", {"texts": ["lift truck"]}),
        ("embed_stats", {}),
        ("storage_put", {"key": "in/more.csv", "text": "id,role\n3,cook\n"}),
        ("storage_get", {"key": "in/more.csv"}),
        ("storage_list", {"prefix": "in/"}),
        ("list_buckets", {}),
        ("register_dataset", {"name": "more", "objects": [{"key": "in/more.csv"}]}),
        ("storage_delete", {"key": "in/more.csv"}),
        ("create_index", {"name": "raw", "dimension": 2}),
        ("list_indexes", {}),
        ("get_index", {"name": "raw"}),
        ("add_vectors", {"index": "raw", "items": [{"id": "a", "vector": [1, 0], "metadata": {"n": 1}}]}),
        ("ingest_file", {"name": "embedded", "content": '[{"id": "a", "e": [1, 0]}]', "source": "json"}),
        ("import_vectors", {"index": "loaded", "dataset": "embedded", "vector": "e"}),
        ("get_vector", {"index": "raw", "id": "a"}),
        ("search_vectors", {"index": "raw", "vector": [1, 0], "k": 1}),
        ("hybrid_search", {"index": "raw", "query_vector": [1, 0], "sql": "SELECT 'a' AS id", "id_column": "id"}),
        ("optimize_index", {"name": "raw"}),
        ("calibrate_index", {"index": "raw", "k": 1}),
        ("hnsw_trials", {"index": "raw"}),
        ("snapshot_index", {"name": "raw"}),
        ("rollback_index", {"name": "raw"}),
        ("swap_index", {"name": "raw", "generation": 2}),
        ("delete_vector", {"index": "raw", "id": "a"}),
        ("delete_index", {"name": "raw"}),
        *learning(),
        *changes(folder),
        *working(),
        ("observer_recent", {}),
        ("observer_stats", {}),
        ("doctor", {}),
    ]


def working() -> list[tuple[str, dict[str, Any]]]:
    """Those of workflows; RUN is the run that was begun last, FIRST the first."""
    gate = [
        {"id": "say", "mode": "fixture.upper", "with": {"text": "hi"}},
        {"id": "ask", "depends_on": ["say"], "approval": {"message": "Go on?"}},
    ]
    definition = json.dumps({"name": "gated", "description": "It asks.", "nodes": gate})
    return [
        ("workflow_list", {}),
        ("workflow_modes", {"name": "sql.query"}),
        ("workflow_validate", {"definition": definition}),
        ("workflow_run", {"definition": definition}),
        ("workflow_status", {"run": "RUN", "timeline": True}),
        ("workflow_runs", {"status": "paused"}),
        ("workflow_logs", {"run": "RUN"}),
        ("workflow_reject", {"run": "RUN"}),
        ("workflow_resume", {"run": "RUN"}),
        ("workflow_rerun", {"run": "RUN"}),
        ("workflow_approve", {"run": "RUN"}),
        ("workflow_diff", {"a": "FIRST", "b": "RUN"}),
        ("workflow_from_ops", {"of": ["RUN"]}),
        ("workflow_rerun", {"run": "RUN"}),
        ("workflow_cancel", {"run": "RUN"}),
        ("workflow_triggers", {}),
    ]


def learning() -> list[tuple[str, dict[str, Any]]]:
    """Those that judge results, and those that keep what was learned of them."""
    answer = {"query_text": "lift truck", "answer_id": "1", "answer_corpus": "jobs"}
    click = {"answer_id": "1", "answer_corpus": "jobs", "kind": "open", "ts": 1700000000}
    chunk = {"text": "fn open() {}"}
    return [
        ("check_corpora", {}),
        ("matrix_relevance", {"focus": {"path": "src/db.rs", "content": "fn open() {}"}, "chunks": [chunk]}),
        ("matrix_downgrade", {"mode": "codereview_lakehouse", "model": "x-ai/grok-4.1-fast"}),
        ("playbook_record", {**answer, "score": 1}),
        ("playbook_record_bulk", {"entries": [{**answer, "score": 0.5}, 7]}),
        ("playbook_feedback", {**answer, "verdict": "accept"}),
        ("playbook_clicks", {"session_id": "s", "query_text": "lift truck", "clicks": [click]}),
        ("playbook_lookup", {}),
        ("playbook_quarantine", {"ids": ["pb-none"], "reason": "try"}),
        ("playbook_forget", {"ids": ["pb-none"]}),
        ("playbook_report", {}),
    ]


def changes(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Those that change, describe, export and keep datasets."""
    rule = {"rule": "unique", "columns": ["id"]}
    keep = {
        "name": "roles",
        "question": "Who has this role?",
        "sql": "FROM jobs WHERE role = $r",
        "params": {"r": "cook"},
    }
    return [
        ("plan_ingest", {"name": "jobs", "content": "id,role\n3,cook\n", "mode": "append"}),
        ("ingest_file", {"name": "jobs", "content": "id,role\n3,cook\n", "mode": "upsert", "key": ["id"]}),
        ("register_delta", {"name": "jobs", "rows": [{"id": 3, "role": "chef"}, {"id": 4, "role": "clerk"}]}),
        ("delete_rows", {"name": "jobs", "where": "id = 4"}),
        ("compact_dataset", {"name": "jobs"}),
        ("set_expectations", {"name": "jobs", "expectations": [rule]}),
        ("check_expectations", {"name": "jobs"}),
        ("profile_dataset", {"name": "jobs"}),
        ("schema_card", {"names": ["jobs"]}),
        ("dataset_history", {"name": "jobs"}),
        ("diff_dataset", {"name": "jobs", "before": 1}),
        ("drop_dataset", {"name": "jobs"}),
        ("restore_dataset", {"name": "jobs"}),
        ("import_datasets", {"folder": str(folder / "parquet")}),
        ("export_sql", {"sql": "FROM jobs", "path": str(folder / "jobs.parquet")}),
        ("save_query", keep),
        ("list_queries", {"search": "role"}),
        ("run_query", {"name": "roles", "params": {"r": "chef"}}),
        ("verify_query", {"name": "roles"}),
        ("delete_query", {"name": "roles"}),
        ("set_profile", {"name": "mine", "bucket": "primary", "datasets": ["jobs"]}),
        ("list_profiles", {}),
        ("activate_profile", {"name": "mine"}),
        ("delete_profile", {"name": "mine"}),
        ("storage_errors", {}),
        ("storage_replay", {}),
        ("journal_append", {"action": "reviewed", "entity_type": "dataset", "entity_id": "jobs"}),
        ("journal_query", {"entity_id": "jobs"}),
        ("gc", {}),
        ("fsck", {}),
        ("backup", {"path": str(folder / "lake.tar.zst")}),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
def test_every_tool_answers_as_its_schema_says(command: list[str], home: Path, tmp_path: Path, era: str) -> None:
    """A-S2-1."""
    (tmp_path / "jobs.csv").write_text("id,role\n1,forklift driver\n2,nurse\n", encoding="utf-8")
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "parquet" / "one.parquet")
    roots = {f"LAKEHOUSE_{part}__ROOTS": str(tmp_path) for part in ("INGEST", "EXPORT")}
    spare = {"name": "spare", "url": (tmp_path / "spare").as_uri()}
    settings = {"LAKEHOUSE_STORAGE__BUCKETS": json.dumps([spare]), "LAKEHOUSE_STORAGE__RESCUE": "spare", **roots}
    with wire(command, home, **settings) as server:
        if era == "2025-11-25":
            server.shake_hands()
        envelope = {"_meta": META} if era == "2026-07-28" else {}
        tools = {tool["name"]: tool for tool in server.ask("tools/list", envelope)["result"]["tools"]}
        called, handle, runs = set(), "", [""]
        for name, given in steps(tmp_path):
            told = json.dumps(given).replace('"RUN"', f'"{runs[-1]}"').replace('"FIRST"', f'"{runs[0]}"')
            arguments = json.loads(told)
            answer = _checked(server, tools[name], {"name": name, "arguments": arguments, **envelope})
            handle = answer.get("handle") or handle
            called.add(name)
            if name in ("workflow_run", "workflow_rerun"):
                runs = [*filter(None, runs), answer["run_id"]]
        assert handle.startswith("lakehouse://results/")
        export = {"id": handle, "path": str(tmp_path / "result.csv")}
        for name, arguments in (("get_result", {"id": handle}), ("export_result", export)):
            _checked(server, tools[name], {"name": name, "arguments": arguments, **envelope})
            called.add(name)
        assert called | {"ingest_postgres"} == set(tools)  # that one needs a database, and has tests with one


def _checked(server: Wire, tool: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    result = server.ask("tools/call", params)["result"]
    assert not result.get("isError"), result
    answer: dict[str, Any] = result["structuredContent"]
    jsonschema.validate(answer, tool["outputSchema"])
    assert json.loads(result["content"][0]["text"]) == answer
    return answer
