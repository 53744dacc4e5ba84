"""An Ollama whose vectors and answers are pure functions of the request.

python -m tests.doubles.fake_ollama        # on 127.0.0.1:11435
"""

import hashlib
import struct
import threading
from typing import Any

from tests.doubles.server import Answer, Request, Server

DIMENSION = 768
MODELS = ("nomic-embed-text", "all-minilm", "llama3.2")
PORT = 11435


def vector(prompt: str) -> list[float]:
    """768 components in [-1, 1): eight big-endian words of SHA-256(prompt ‖ block number) a block.

    Component j = word j mod 8 of block j div 8, over 2^31, minus 1.
    """
    components: list[float] = []
    for block in range(DIMENSION // 8):
        digest = hashlib.sha256(prompt.encode() + struct.pack(">I", block)).digest()
        components += [word / 2**31 - 1 for word in struct.unpack(">8I", digest)]
    return components


class FakeOllama(Server):
    """`batches=False` is an Ollama from before `/api/embed`; `truncates` ends chats with `done_reason: length`."""

    def __init__(self, port: int = 0, *, batches: bool = True, truncates: bool = False) -> None:
        super().__init__(port)
        self._batches = batches
        self._truncates = truncates

    def answer(self, request: Request) -> Answer:
        body = request.body
        if request.path == "/health":
            return Answer(200, {"status": "ok"})
        if request.path == "/api/tags":
            return Answer(200, {"models": [{"name": name, "model": name} for name in MODELS]})
        if request.path not in {"/api/embed", "/api/embeddings", "/api/chat", "/api/generate"} or (
            request.path == "/api/embed" and not self._batches
        ):
            return Answer(404, b"404 page not found")
        model = body.get("model", "")
        if model not in MODELS:
            return Answer(404, {"error": f'model "{model}" not found, try pulling it first'})
        if request.path == "/api/embed":
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            return Answer(200, {"model": model, "embeddings": [vector(text) for text in texts]})
        if request.path == "/api/embeddings":
            return Answer(200, {"embedding": vector(body["prompt"])})
        return Answer(200, self._said(request.path, model, body))

    def _said(self, path: str, model: str, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["messages"][-1]["content"] if path == "/api/chat" else body["prompt"]
        text = f"[{model}] {asked}"
        said = {"message": {"role": "assistant", "content": text}} if path == "/api/chat" else {"response": text}
        tokens = {"prompt_eval_count": len(asked.split()), "eval_count": len(text.split())}
        return said | tokens | {"model": model, "done": True, "done_reason": "length" if self._truncates else "stop"}


if __name__ == "__main__":
    with FakeOllama(PORT):
        threading.Event().wait()
