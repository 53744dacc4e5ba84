"""OpenAI-compatible routes of embeddings and chat; refusals, slowness and answers are scripted."""

import json
from typing import Any

from tests.doubles.fake_ollama import vector
from tests.doubles.server import Answer, Request, Server

DIMENSION = 8
TOO_MANY = Answer(429, {"error": {"message": "Rate limit reached", "type": "rate_limit_error", "code": "rate_limit"}})
BROKEN = Answer(500, {"error": {"message": "The server had an error", "type": "server_error", "code": None}})


def said(content: str | None = None, *, finish: str = "stop", **calls: dict[str, Any]) -> Answer:
    """A chat's answer: a text, or calls of tools, each NAME=ARGUMENTS."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for n, (name, given) in enumerate(calls.items(), 1)
        ]
        finish = "tool_calls"
    return Answer(
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "fake",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        },
    )


class FakeOpenAI(Server):
    """`POST /v1/embeddings` gives eight components a text, `/v1/chat/completions` says the last message again.

    A request without the right key is refused with it.
    """

    def __init__(self, port: int = 0, *, key: str = "sk-test-0123456789") -> None:
        super().__init__(port)
        self.key = key

    def answer(self, request: Request) -> Answer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        sent = headers.get("authorization", "").removeprefix("Bearer ")
        if sent != self.key:
            return Answer(401, {"error": {"message": f"Incorrect API key provided: {sent}", "type": "auth"}})
        if request.path == "/v1/chat/completions":
            return said(f"You said: {request.body['messages'][-1]['content']}")
        if request.path != "/v1/embeddings":
            return Answer(404, {"error": {"message": "no such route", "type": "invalid_request_error"}})
        given = request.body["input"]
        texts = given if isinstance(given, list) else [given]
        rows = [
            {"object": "embedding", "index": place, "embedding": vector(text)[:DIMENSION]}
            for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        # Order is by `index`, not by place.
        return Answer(200, {"object": "list", "data": rows[::-1], "model": request.body["model"], "usage": usage})
