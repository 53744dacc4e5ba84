"""Every shipped tool, called once for real over stdio with what it is meant for; each answer fits its schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
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
        ("get_vector", {"index": "raw", "id": "a"}),
        ("search_vectors", {"index": "raw", "vector": [1, 0], "k": 1}),
        ("delete_vector", {"index": "raw", "id": "a"}),
        ("delete_index", {"name": "raw"}),
        ("workflow_modes", {"name": "sql.query"}),
        ("observer_recent", {}),
        ("observer_stats", {}),
        ("doctor", {}),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
def test_every_tool_answers_as_its_schema_says(command: list[str], home: Path, tmp_path: Path, era: str) -> None:
    """A-S2-1."""
    (tmp_path / "jobs.csv").write_text("id,role\n1,forklift driver\n2,nurse\n", encoding="utf-8")
    with wire(command, home, LAKEHOUSE_INGEST__ROOTS=str(tmp_path)) as server:
        if era == "2025-11-25":
            server.shake_hands()
        envelope = {"_meta": META} if era == "2026-07-28" else {}
        tools = {tool["name"]: tool for tool in server.ask("tools/list", envelope)["result"]["tools"]}
        called, handle = set(), ""
        for name, arguments in steps(tmp_path):
            answer = _checked(server, tools[name], {"name": name, "arguments": arguments, **envelope})
            handle = answer.get("handle") or handle
            called.add(name)
        assert handle.startswith("lakehouse://results/")
        _checked(server, tools["get_result"], {"name": "get_result", "arguments": {"id": handle}, **envelope})
        assert called | {"get_result"} == set(tools)


def _checked(server: Wire, tool: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    result = server.ask("tools/call", params)["result"]
    assert not result.get("isError"), result
    answer: dict[str, Any] = result["structuredContent"]
    jsonschema.validate(answer, tool["outputSchema"])
    assert json.loads(result["content"][0]["text"]) == answer
    return answer
