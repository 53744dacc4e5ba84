"""llm.chat: a question to the chat model as a step of a workflow."""

from typing import Any

import pytest
from tests.flows import scripted

from lakehouse import Lakehouse
from lakehouse.errors import InvalidInput, NotFound, NotInstalled, Unprocessable, Upstream

pytestmark = pytest.mark.anyio

COLOUR = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


async def test_a_question_is_answered(lake: Lakehouse) -> None:
    """A-S21-1, happy path."""
    model = scripted(lake, {"content": "blue", "input_tokens": 5, "output_tokens": 1, "model": "m", "cost_usd": 0.25})
    given = {"prompt": "A colour?", "system": "Be brief.", "temperature": 0, "max_tokens": 5, "model": "small"}
    answer = await lake.call("llm.chat", given)
    assert answer.pop("latency_ms") >= 0
    assert answer == {
        "content": "blue",
        "model": "m",
        "provider": "scripted",
        "finish_reason": "stop",
        "input_tokens": 5,
        "output_tokens": 1,
        "cost_usd": 0.25,
        "notes": [],
    }
    asked = model.asked[0]
    assert [(said.role, said.content) for said in asked.messages] == [("system", "Be brief."), ("user", "A colour?")]
    assert (asked.temperature, asked.max_tokens, asked.model) == (0, 5, "small")


async def test_a_conversation_is_gone_on_with(lake: Lakehouse) -> None:
    model = scripted(lake, "green")
    said = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    assert (await lake.call("llm.chat", {"messages": said}))["content"] == "green"
    assert len(model.asked[0].messages) == 3 and model.asked[0].temperature is None


async def test_an_answer_is_data_where_that_is_asked_for(lake: Lakehouse) -> None:
    scripted(lake, {"content": "blue", "input_tokens": 2}, {"content": '{"colour": "blue"}', "input_tokens": 3}, "[1]")
    answer = await lake.call("llm.chat", {"prompt": "A colour?", "output_format": COLOUR})
    assert answer["value"] == {"colour": "blue"} and answer["input_tokens"] == 5
    assert (await lake.call("llm.chat", {"prompt": "A list?", "format": "json"}))["value"] == [1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "prompt, messages"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "prompt, messages"),
        ({"messages": []}, "prompt, messages"),
        ({"messages": [{"role": "tool", "content": "b"}]}, "role"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "modle": "x"}, "modle"),
    ],
)
async def test_a_missing_field_is_named(lake: Lakehouse, given: dict[str, Any], said: str) -> None:
    """A-S21-1, missing field."""
    scripted(lake, "x")
    with pytest.raises(InvalidInput, match=said):
        await lake.call("llm.chat", given)


async def test_what_the_provider_said_is_told(lake: Lakehouse) -> None:
    """A-S21-1, backend error: its status and its words."""
    scripted(lake, {"error": {"detail": "m failed with 500: oh no", "status": 500}}, *["no"] * 4)
    with pytest.raises(Upstream, match="500: oh no") as failed:
        await lake.call("llm.chat", {"prompt": "a"})
    assert failed.value.data == {"upstream_status": 500}
    with pytest.raises(Unprocessable, match="not JSON"):
        await lake.call("llm.chat", {"prompt": "a", "output_format": COLOUR})
    with pytest.raises(Unprocessable, match="no JSON Schema"):
        await lake.call("llm.chat", {"prompt": "a", "output_format": {"type": "objekt"}})


async def test_without_a_model_it_says_what_to_set(lake: Lakehouse) -> None:
    with pytest.raises(NotInstalled, match="no chat model"):
        await lake.call("llm.chat", {"prompt": "a"})


async def test_it_is_no_tool(lake: Lakehouse) -> None:
    with pytest.raises(NotFound, match="a step of workflows"):
        await lake.call("llm.chat", {"prompt": "a"}, via="mcp")
