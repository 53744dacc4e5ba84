"""Answers that were written down."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from lakehouse import config
from lakehouse.engine.chat import Chat, ChatReply, ChatRequest, Message
from lakehouse.engine.chat.scripted import Scripted
from lakehouse.errors import InvalidInput, NotInstalled, TimedOut, Upstream

pytestmark = pytest.mark.anyio


async def asked(script: Scripted, text: str = "hello", node: str = "") -> ChatReply:
    return await script.ask(ChatRequest((Message("user", text),), node=node), "")


async def test_answers_are_chosen_by_text_and_node() -> None:
    script = Scripted(
        [
            {"match": "red", "content": "rose"},
            {"node": "review", "content": "fine"},
            {"json": {"a": 1}},
            {"repeat": True, "content": "again"},
        ]
    )
    assert (await asked(script, node="group#2/review")).content == "fine"
    assert (await asked(script, "something red")).content == "rose"
    assert (await asked(script, "something red")).content == '{"a": 1}'
    assert [(await asked(script)).content for _ in range(2)] == ["again", "again"]


async def test_an_answer_has_what_a_providers_has() -> None:
    call = {"name": "sql_query", "arguments": {"sql": "select 1"}}
    script = Scripted(
        [{"tool_calls": [call], "input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5, "model": "m"}, {"error": "429"}]
    )
    reply = await asked(script)
    assert (reply.input_tokens, reply.output_tokens, reply.cost_usd, reply.model) == (3, 4, 0.5, "m")
    assert reply.finish_reason == "tool_calls" and reply.tool_calls[0].arguments == {"sql": "select 1"}
    with pytest.raises(Upstream, match="429"):
        await asked(script)
    with pytest.raises(Upstream, match="no answer left for n"):
        await asked(script, node="n")


async def test_an_error_has_its_code_and_status() -> None:
    script = Scripted([{"error": {"code": "timeout", "detail": "slow"}}, {"error": {"detail": "no", "status": 401}}])
    with pytest.raises(TimedOut, match="slow"):
        await asked(script)
    with pytest.raises(Upstream) as failed:
        await asked(script)
    assert failed.value.data == {"upstream_status": 401}


async def test_an_answer_may_take_its_time() -> None:
    script = Scripted([{"content": "late", "delay": 60}])
    with anyio.move_on_after(0.01) as limit:
        await asked(script)
    assert limit.cancelled_caught


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1", "no list"),
        ("- {contents: x}", "answer 1: contents"),
        ("- ok\n- {delay: soon}", "answer 2: delay"),
        ("- [", "cannot be read"),
    ],
)
async def test_a_script_that_is_none_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "script.yaml").write_text(text)
    chat = Chat(config.Chat(provider="scripted", script=tmp_path / "script.yaml"))
    with pytest.raises(InvalidInput, match=said):
        await chat.ask(ChatRequest((Message("user", "hi"),)))


@pytest.mark.parametrize("settings", [{}, {"provider": "litellm"}])
async def test_without_a_provider_it_says_what_to_set(settings: dict[str, Any]) -> None:
    with pytest.raises(NotInstalled, match="no chat model") as none:
        await Chat(config.Chat(**settings)).ask(ChatRequest((Message("user", "hi"),)))
    assert "chat.model" in none.value.fix
