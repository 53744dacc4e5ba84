"""What clients see of every tool: schemas that the pickiest of them accept, and few enough tokens."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lakehouse.catalogue import Catalogue
from lakehouse.declare import TOOLSETS, Capability
from lakehouse.schema import brief

CATALOGUE = Catalogue()
TOOLS = CATALOGUE.public()
SCHEMAS = [(c, side, schema) for c in TOOLS for side, schema in (("in", c.input_schema), ("out", c.output_schema))]
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
BUILT = set(
    "activate_profile add_vectors backup build_corpus calibrate_index check_corpora check_expectations "
    "compact_dataset create_index dataset_history delete_index delete_profile delete_query delete_rows "
    "delete_vector diff_dataset doctor drop_dataset embed_stats embed_text explain_sql export_result export_sql "
    "fsck gc get_index get_manifest get_result get_vector hnsw_trials hybrid_search import_datasets "
    "import_vectors ingest_file ingest_postgres journal_append journal_query list_buckets list_datasets "
    "list_indexes list_profiles list_queries matrix_corpora matrix_downgrade matrix_relevance matrix_search "
    "observer_recent observer_stats optimize_index plan_ingest playbook_clicks playbook_feedback playbook_forget "
    "playbook_lookup playbook_quarantine playbook_record playbook_record_bulk playbook_report profile_dataset "
    "query_history query_sql register_dataset register_delta restore_dataset rollback_index run_query save_query "
    "schema_card search_vectors set_expectations set_profile snapshot_index storage_delete storage_errors "
    "storage_get storage_list storage_put storage_replay swap_index verify_query "
    "workflow_approve workflow_cancel workflow_diff workflow_from_ops workflow_list workflow_logs "
    "workflow_modes workflow_reject workflow_rerun workflow_resume workflow_run workflow_runs workflow_status "
    "workflow_triggers workflow_validate".split()
)
each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda c: c.mcp_name)
each_schema = pytest.mark.parametrize(
    ("tool", "schema"), [(c, s) for c, _, s in SCHEMAS], ids=[f"{c.mcp_name}-{side}" for c, side, _ in SCHEMAS]
)


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with where it stands."""
    if not isinstance(schema, dict):
        return
    yield path or "root", schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties", "contains", "propertyNames"):
        yield from nodes(schema.get(key), f"{path}.{key}")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for place, inner in enumerate(schema.get(key, ())):
            yield from nodes(inner, f"{path}.{key}[{place}]")


def faults(schema: dict[str, Any]) -> list[str]:
    """What a picky client would reject."""
    found = []
    if schema.get("type") != "object" or "properties" not in schema:
        found.append("the root is not an object with properties")
    found += [f"the root has {key}" for key in ("anyOf", "oneOf", "allOf", "not", "enum", "$ref") if key in schema]
    if re.search(r'"\$(ref|defs|dynamicRef)"', json.dumps(schema)):
        found.append("there is a reference")
    for path, node in nodes(schema):
        kinds: Any = node.get("type")
        if kinds == "null" or (isinstance(kinds, list) and "null" in kinds):
            found.append(f"{path} is null, or may be")
        found += [
            f"{path}.{n} is not described" for n, p in node.get("properties", {}).items() if not p.get("description")
        ]
        if isinstance(node.get("items"), dict) and {"anyOf", "oneOf"} & set(node["items"]):
            found.append(f"{path} has items of several types")
        found += [
            f"{path} requires {n}, which it does not have"
            for n in set(node.get("required", ())) - set(node.get("properties", {}))
        ]
    return found


@each_schema
def test_schemas_are_portable(tool: Capability, schema: dict[str, Any]) -> None:
    """A-S2-1: every argument and result field is described; and no construct that makes a client drop the tool."""
    assert faults(schema) == []
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "array", "items": {}}, "the root is not an object"),
        ({"type": "object"}, "the root is not an object"),
        ({"type": "object", "properties": {}, "anyOf": []}, "the root has anyOf"),
        ({"type": "object", "properties": {"x": {"type": "string"}}}, ".x is not described|root.x is not described"),
        ({"type": "object", "properties": {"x": {"description": "x", "$ref": "#"}}}, "there is a reference"),
        ({"type": "object", "properties": {"x": {"description": "x", "anyOf": [{"type": "null"}]}}}, "is null"),
        ({"type": "object", "properties": {"x": {"description": "x", "type": ["string", "null"]}}}, "is null"),
        (
            {"type": "object", "properties": {"x": {"description": "x", "items": {"anyOf": [{}, {}]}}}},
            "items of several types",
        ),
        ({"type": "object", "properties": {}, "required": ["x"]}, "requires x"),
    ],
)
def test_the_lint_sees_each_fault(schema: dict[str, Any], fault: str) -> None:
    assert any(re.search(fault, found) for found in faults(schema))


@each_tool
def test_names_and_words(tool: Capability) -> None:
    """A-S2-4, its part on names; and words short enough to be read by a model at each turn."""
    assert NAME.fullmatch(tool.mcp_name)
    assert 0 < len(tool.description) <= 600
    assert 0 < len(tool.title) <= 60
    assert tool.facts.toolsets and set(tool.facts.toolsets) <= set(TOOLSETS)
    assert tool.route.startswith("/v1/")


def test_no_name_twice() -> None:
    for spelt in ([tool.mcp_name for tool in TOOLS], [(tool.method, tool.route) for tool in TOOLS]):
        assert len(spelt) == len(set(spelt))


def tokens(tools: list[Capability]) -> float:
    texts = [(t.mcp_name, t.description, json.dumps(brief(t.input_schema), separators=(",", ":"))) for t in tools]
    return sum(len("".join(text)) for text in texts) / 4


def test_all_tools_fit_in_a_prompt() -> None:
    """Name, description and input schema as a client lists them, at four characters a token."""
    assert tokens(TOOLS) < 12_000
    assert tokens([tool for tool in TOOLS if "core" in tool.facts.toolsets]) < 4_000


@pytest.mark.parametrize(
    ("whole", "shown"),
    [
        ({"properties": {}, "additionalProperties": False}, None),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"properties": {"a": {}}}),
        ({"type": "object", "additionalProperties": True}, {"type": "object"}),
        ({"additionalProperties": {"type": "string"}}, None),
        ({"type": "boolean", "default": False}, {"type": "boolean"}),
        ({"type": "integer", "default": 0}, None),
        ({"type": "string", "format": "path"}, {"type": "string"}),
        ({"type": "integer", "minimum": 1, "maximum": 9, "default": 2}, {"type": "integer", "default": 2}),
        ({"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1}, None),
        ({"type": "string", "default": ""}, {"type": "string"}),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, {"anyOf": [{"type": "number"}]}),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, None),
        ({"description": "All.", "contains": {"description": "One."}}, None),
        ({"properties": {"minimum": {}, "maxLength": {"default": {"minItems": 1}}}}, None),
        ({"properties": {"format": {"enum": ["a", False]}, "default": {}}, "items": [{"format": "x"}]}, None),
    ],
)
def test_what_models_are_not_shown(whole: dict[str, Any], shown: dict[str, Any] | None) -> None:
    """Only what the checks and the shell read; names, types, choices and other defaults stay."""
    if "minItems" in whole:
        shown = {"type": "array", "items": {"type": "string"}}
    elif "items" in whole:
        shown = whole | {"items": [{}]}
    assert brief(whole) == (whole if shown is None else shown)


@each_tool
def test_what_models_are_shown_is_portable(tool: Capability) -> None:
    shown = brief(tool.input_schema)
    assert faults(shown) == [] and list(shown["properties"]) == list(tool.input_schema["properties"])
    assert shown.get("required") == tool.input_schema.get("required")


def test_every_built_tool_is_there() -> None:
    """A-S2-1: the five original tools and those of every part that is built."""
    assert set(CATALOGUE.by_mcp_name) == BUILT


def test_nothing_shipped_is_skipped() -> None:
    assert CATALOGUE.skipped == []
