"""An OpenAI-compatible embeddings route; refusals and slowness are scripted."""

from tests.doubles.fake_ollama import vector
from tests.doubles.server import Answer, Request, Server

DIMENSION = 8
TOO_MANY = Answer(429, {"error": {"message": "Rate limit reached", "type": "rate_limit_error", "code": "rate_limit"}})
BROKEN = Answer(500, {"error": {"message": "The server had an error", "type": "server_error", "code": None}})


class FakeOpenAI(Server):
    """`POST /v1/embeddings` gives eight components a text; a request without the right key is refused with it."""

    def __init__(self, port: int = 0, *, key: str = "sk-test-0123456789") -> None:
        super().__init__(port)
        self.key = key

    def answer(self, request: Request) -> Answer:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if sent != self.key:
            return Answer(401, {"error": {"message": f"Incorrect API key provided: {sent}", "type": "auth"}})
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
