"""The modes through the door and in workflows: the names there are, what each takes, and how each fails."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.doubles.fake_ollama import FakeOllama
from tests.flows import by_id, ran, scripted
from tests.searching import texts

import lakehouse
from lakehouse import InvalidInput, Lakehouse, LakehouseError, Upstream
from lakehouse.engine.workflows.references import Output

pytestmark = pytest.mark.anyio
CASES: dict[str, list[Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "cases" / "modes.yaml").read_text(encoding="utf-8")
)
SEVEN = (
    *("matrix.search", "matrix.relevance", "matrix.downgrade", "distillation.score", "drift.scorer"),
    *("fixture.echo", "fixture.upper"),
)
LATER = ("pathway.search", "rag.ask", "validate", "truth.check")
ANSWERS = [
    {
        **{"match": "Extract what", "repeat": True, "input_tokens": 7, "output_tokens": 3, "cost_usd": 0.01},
        "json": {"facts": [{"text": "It says hello.", "evidence": "hello"}]},
    },
    {"match": "Judge how sure", "json": {"facts": [{"n": 1, "confidence": 9}]}},
    {"match": "Decide for each claim", "json": {"claims": [{"n": 1, "verdict": "supported", "evidence": "say hello"}]}},
    {"match": "Attack each", "json": {"attacks": [{"n": 1, "action": "keep"}]}},
    {"match": "Say hello.", "content": "hello"},
]


@pytest.fixture
async def stocked(lake: Lakehouse) -> Lakehouse:
    """A corpus to search, and a model that answers to a text that says hello, and fails for any other."""
    await texts(lake, "w", {"w1": "forklift driver", "w2": "welder"})
    scripted(
        lake,
        {"match": "Say nothing.", "repeat": True, "error": {"code": "upstream", "detail": "502: overloaded"}},
        *ANSWERS,
    )
    return lake


async def test_the_modes_there_are(lake: Lakehouse) -> None:
    """A-S20-5, S21.2: the seven original ones, ours, every step of the table; none of parts that do not exist."""
    steps = {step["mode"]: step for step in (await lake.call("workflow.modes"))["modes"]}
    assert steps.keys() >= {*SEVEN, *CASES}
    assert not steps.keys() & {*LATER}
    ours = {name for name, step in steps.items() if not step["tool"]}
    assert ours - {"datasets.names", "results.ids"} <= {*CASES}  # those two complete what people type


@pytest.mark.parametrize("name", CASES)
async def test_each_mode(stocked: Lakehouse, name: str) -> None:
    """A-S21-1: it works in a workflow, names a field that is missing, and an error behind it is the node's."""
    good, required, failing = CASES[name]
    if good != "-":
        state = await ran(stocked, f"  - {{id: it, mode: {name}, with: {good!r}}}")
        assert state.record.status == "completed", by_id(state)["it"].failure
        assert Output(by_id(state)["it"].text, True).value
    if required != "-":
        without = {key: value for key, value in good.items() if key != required}
        with pytest.raises(InvalidInput, match=required):
            await stocked.call(name, without)
    if failing != "-":
        given, code = failing
        with pytest.raises(LakehouseError) as raised:
            await stocked.call(name, given)
        assert raised.value.code == code
        state = await ran(stocked, f"  - {{id: it, mode: {name}, with: {given!r}}}")
        failure = by_id(state)["it"].failure
        assert state.record.status == "failed" and failure is not None and failure.code == code


async def test_a_backend_that_refuses(home: Path) -> None:
    """S21.4: another status than OK is an error of the node, with status and an excerpt."""
    with FakeOllama() as ollama:
        settings = {"embed.provider": "ollama", "embed.ollama_url": ollama.url, "embed.model": "nobody"}
        async with lakehouse.open(home, overrides=settings) as lake:
            with pytest.raises(Upstream, match=r"404.*not found"):
                await lake.call("embed.text", {"texts": ["a"]})
            state = await ran(lake, "  - {id: it, mode: embed.text, with: {texts: [a]}}")
            failure = by_id(state)["it"].failure
            assert failure is not None and "404" in failure.detail and "not found" in failure.detail


async def test_relevance_and_downgrade(lake: Lakehouse) -> None:
    """A-S21-2: Connector is kept, Registry dropped. A-S21-3: a strong model is downgraded, a weak one is not."""
    content = "use crate::catalog::Registry;\npub struct Connector { url: String }"
    chunks = [{"id": "c", "text": "Connector opens the url"}, {"id": "r", "text": "Registry holds names"}]
    focus = {"path": "crates/ingest/src/connector.rs", "content": content}
    nodes = f"""
  - {{id: split, mode: matrix.relevance, with: {{focus: {focus!r}, chunks: {chunks!r}}}}}
  - {{id: strong, mode: matrix.downgrade, with: {{mode: codereview_lakehouse, model: x-ai/grok-4.1-fast}}}}
  - {{id: weak, mode: matrix.downgrade, with: {{mode: codereview_lakehouse, model: "qwen3.5:latest"}}}}
"""
    done = {path: Output(node.text, True).value for path, node in by_id(await ran(lake, nodes)).items()}
    assert [chunk["id"] for chunk in done["split"]["kept"]] == ["c"]
    assert [chunk["id"] for chunk in done["split"]["dropped"]] == ["r"]
    assert (done["strong"]["mode"], done["weak"]["mode"]) == ("codereview_isolation", "codereview_lakehouse")


async def test_evidence_and_drift(lake: Lakehouse) -> None:
    """A-S21-4, A-S21-5, A-S24-1: attempt_1 is accepted, an empty record and no records at all are errors."""
    record = {"source": "scrum_review", "markers": ["attempt_1"]}
    assert (await lake.call("distillation.score", {"record": record}))["category"] == "accepted"
    for empty in ({}, {"source": "scrum_review"}):
        with pytest.raises(InvalidInput, match=r"record.*(is required|is empty)"):
            await lake.call("distillation.score", {"record": empty})
    drift = await lake.call("drift.scorer", {"entries": [{"record": record, "category": "accepted"}]})
    assert (drift["drifted"], drift["shift_matrix"]) == (0, []) and "entries" not in drift
    entries = [{"record": record, "category": "rejected"}]
    drift = await lake.call("drift.scorer", {"entries": entries, "include_entries": True})
    assert drift["shift_matrix"] == [{"from": "rejected", "to": "accepted", "count": 1}]
    assert drift["entries"][0]["from"] == "rejected"
    with pytest.raises(InvalidInput, match="entries: there are none"):
        await lake.call("drift.scorer", {"entries": []})


async def test_each_question_of_a_pass_is_observed(stocked: Lakehouse) -> None:
    """A knowledge pass asks through the door: its questions are calls of their own, children of the node's."""
    state = await ran(stocked, "  - {id: it, mode: knowledge.extract, with: {text: Say hello.}}")
    node = by_id(state)["it"]
    (op,) = node.ops
    ops = {one["id"]: one for one in (await stocked.call("observer.recent", {"limit": 50}))["ops"]}
    assert ops[op]["op"] == "knowledge.extract" and ops[op]["parent"] == state.record.id
    assert [one["op"] for one in ops.values() if one.get("parent") == op] == ["llm.chat"]
    took = Output(node.text, True).value
    assert (took["calls"], took["input_tokens"], took["cost_usd"]) == (1, 7, 0.01)
    assert (node.tokens, node.cost_usd) == (10, 0.01)


async def test_an_answer_that_was_cut_off(lake: Lakehouse) -> None:
    """It is not asked for again: it would be cut off again. The error says what helps."""
    model = scripted(lake, {"content": '{"facts": [', "finish_reason": "length"})
    with pytest.raises(Upstream, match="cut off") as raised:
        await lake.call("knowledge.extract", {"text": "Say hello."})
    assert "part_chars" in raised.value.fix and len(model.asked) == 1


async def test_what_a_pass_costs_counts_for_the_run(stocked: Lakehouse) -> None:
    """A run's budget binds its steps, too: two extractions are over it."""
    nodes = "  - {id: it, mode: knowledge.consensus, with: {text: Say hello.}}\n  - {id: on, mode: fixture.echo}"
    state = await ran(stocked, nodes.replace("echo}", "echo, depends_on: [it]}"), root="max_cost_usd: 0.015")
    assert state.record.status == "failed" and "max_cost_usd" in str(state.record.error)


PACKAGE = '''
"""A mode of somebody else's."""

from typing import Annotated

from pydantic import BaseModel

from lakehouse import Lakehouse, mode


class Said(BaseModel):
    """What is said."""

    words: str


@mode()
async def say(lake: Lakehouse, to: Annotated[str, "To whom."]) -> Said:
    """Greet somebody."""
    return Said(words=f"Hello, {to}.")
'''


async def test_a_mode_of_an_installed_package(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S21-7: one from an entry point is listed, and runs in a workflow."""
    info = tmp_path / "greetings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[lakehouse]\ngreeting = lh_greeting_modes\n", encoding="utf-8")
    (tmp_path / "lh_greeting_modes.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    async with lakehouse.open(home) as lake:
        listed = (await lake.call("workflow.modes", {"name": "greeting.say"}))["modes"]
        assert listed[0]["arguments"]["required"] == ["to"] and not listed[0]["tool"]
        state = await ran(lake, "  - {id: it, mode: greeting.say, with: {to: $ARGUMENTS}}", message="Ada")
        assert by_id(state)["it"].text == '{"words":"Hello, Ada."}'
