"""The litellm provider against a local OpenAI-compatible server, in a process of its own: litellm warns on import."""

import json
import subprocess
import sys

import pytest
from tests.doubles.fake_openai import BROKEN, TOO_MANY, FakeOpenAI, said
from tests.doubles.server import COMPUTE, HANG, Answer

from lakehouse import config
from lakehouse.engine.chat import Chat, ChatRequest, Message
from lakehouse.engine.chat.litellm import strict
from lakehouse.errors import Unavailable

CHILD = """
import json, os, socket, sys
import anyio
from dataclasses import asdict, replace
from lakehouse import config
from lakehouse.engine.chat import Chat, ChatRequest, Message, Offer, ToolCall
from lakehouse.errors import LakehouseError

outside, connect = [], socket.socket.connect
def watched(self, address):
    if address[0] not in ("127.0.0.1", "localhost"):
        outside.append(str(address))
        raise OSError("no network in tests")
    return connect(self, address)
socket.socket.connect = watched

async def tried(chat, request):
    try:
        return asdict(await chat.ask(request))
    except LakehouseError as error:
        return {"error": type(error).__name__, "text": str(error), "data": error.data}

async def main(base, key):
    os.environ["KEY_FOR_TEST"] = key
    settings = config.Chat(
        provider="litellm", model="openai/tiny", large="openai/gpt-5-mini", medium="ollama_chat/other",
        api_base=base, api_key_env="KEY_FOR_TEST", timeout_secs=20,
    )
    chat = Chat(settings)
    hi = ChatRequest((Message("user", "hi"),))
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    tool = Offer("query_sql", "Ask.", {"type": "object", "properties": {"sql": {"type": "string"}}})
    call = ToolCall("call_1", "query_sql", {"sql": "select 1"})
    talk = (*hi.messages, Message("assistant", "", (call,)), Message("tool", "1", (), "call_1"))
    asked = [
        hi,
        replace(hi, model="large", max_tokens=5, schema=closed, effort="max", thinking="enabled"),
        replace(hi, schema=closed, effort="low", temperature=0),
        replace(hi, tools=(tool,)),
        replace(hi, messages=talk, json=True),
        hi, hi, hi, hi,
    ]
    answers = [await tried(chat, one) for one in asked]
    answers.append(await tried(chat, replace(hi, model="medium")))
    os.environ["KEY_FOR_TEST"] = "sk-wrong-9876543210"
    answers.append(await tried(chat, hi))
    hasty = Chat(settings.model_copy(update={"timeout_secs": 0.3}))
    answers.append(await tried(hasty, hi))
    with anyio.move_on_after(0.3) as limit:
        await chat.ask(hi)
    await hasty.aclose()
    await chat.aclose()
    json.dump({"answers": answers, "outside": outside, "cancelled": limit.cancelled_caught}, sys.stdout)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.slow
def test_end_to_end() -> None:
    """Good answers, what is sent of a request, 429, 500, nonsense, a refused key (hidden), a hanging server."""
    with FakeOpenAI() as fake:
        fake.script.extend([COMPUTE, said("cut", finish="length"), COMPUTE, said(query_sql={"sql": "select 1"})])
        fake.script.extend([COMPUTE, TOO_MANY, BROKEN, Answer(200, b"<html>"), Answer(200, {"choices": []})])
        fake.script.extend([COMPUTE, HANG, HANG])
        child = subprocess.run(
            [sys.executable, "-X", "dev", "-c", CHILD, f"{fake.url}/v1", fake.key],
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout)
    good, cut, loose, called, formed, too_many, broken, nonsense, empty, other, refused, slow = report["answers"]
    sent = [request.body for request in fake.requests]
    assert (good["content"], good["model"], good["provider"]) == ("You said: hi", "openai/tiny", "openai")
    assert (good["input_tokens"], good["output_tokens"], good["finish_reason"]) == (11, 7, "stop")
    assert good["priced"] is False and sent[0] == {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    # A model litellm knows: it enforces the schema, has a price, and takes an effort, at its nearest rung.
    assert (cut["finish_reason"], cut["enforced"], cut["priced"]) == ("length", True, True) and cut["cost_usd"] > 0
    assert sent[1]["response_format"]["json_schema"]["strict"] is True and sent[1]["reasoning_effort"] == "high"
    assert "temperature" not in sent[1] and "thinking" not in sent[1] and "thinking" in cut["notes"][0]
    # One that it does not know: the schema is part of the question.
    assert sent[2]["temperature"] == 0 and sent[2]["reasoning_effort"] == "low"
    assert loose["enforced"] is False
    assert "response_format" not in sent[2] and '"additionalProperties": false' in sent[2]["messages"][0]["content"]
    assert called["finish_reason"] == "tool_calls"
    assert called["tool_calls"] == [{"id": "call_1", "name": "query_sql", "arguments": {"sql": "select 1"}}]
    assert sent[3]["tools"][0]["function"]["name"] == "query_sql"
    assert [message["role"] for message in sent[4]["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent[4]["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"sql": "select 1"}'
    assert sent[4]["response_format"] == {"type": "json_object"} and formed["content"] == "You said: 1"
    assert [one["error"] for one in (too_many, broken, nonsense, empty)] == ["ChatFailed"] * 4
    assert too_many["data"] == {"upstream_status": 429} and "429" in too_many["text"]
    assert broken["data"] == {"upstream_status": 500} and "no choice" in empty["text"]
    # Another provider's model gets neither the key nor the address.
    assert other["error"] == "ChatFailed" and all("other" not in body.get("model", "") for body in sent)
    assert refused["data"] == {"upstream_status": 401} and "9876543210" not in refused["text"]
    assert slow["error"] == "TimedOut" and "chat.timeout_secs" in slow["text"]
    assert report["cancelled"] is True
    assert all("11434" in address for address in report["outside"])
    assert len(fake.requests) == 12
    assert "unclosed" not in child.stderr and "never awaited" not in child.stderr


@pytest.mark.anyio
async def test_without_the_key_it_says_where_to_put_it() -> None:
    chat = Chat(config.Chat(provider="litellm", model="openai/tiny", api_key_env="NO_SUCH_VARIABLE"))
    with pytest.raises(Unavailable, match="NO_SUCH_VARIABLE") as missing:
        await chat.ask(ChatRequest((Message("user", "hi"),)))
    assert "chat.api_key_env" in missing.value.fix


def test_what_an_enforcing_provider_can_enforce() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    assert strict(closed) and strict({"type": "array", "items": closed})
    assert not strict({**closed, "required": []}) and not strict({**closed, "additionalProperties": True})
    assert not strict({"type": "array", "items": {"type": "object"}})
