"""A reranker as Cohere's, Jina's and Infinity's servers are: `POST …/rerank`; refusals and slowness are scripted."""

from tests.doubles.server import Answer, Request, Server

BROKEN = Answer(500, {"error": {"message": "The server had an error"}})
SHORT = Answer(200, {"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], "meta": {}})
NONSENSE = Answer(200, b"<html>")


def relevance(query: str, document: str) -> float:
    """The share of the question's words that stand in the text."""
    words = set(query.lower().split())
    return len(words & set(document.lower().split())) / len(words)


class FakeRerank(Server):
    """Scores texts by the words they share with the question; the best come first, as such services answer."""

    def __init__(self, port: int = 0, *, key: str = "sk-rerank-0123456789") -> None:
        super().__init__(port)
        self.key = key

    def answer(self, request: Request) -> Answer:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("bearer ")
        if sent != self.key:
            return Answer(401, {"message": f"invalid api token {sent}"})
        if not request.path.endswith("/rerank"):
            return Answer(404, {"message": "no such route"})
        texts = [text if isinstance(text, str) else text["text"] for text in request.body["documents"]]
        scored = [{"index": n, "relevance_score": relevance(request.body["query"], t)} for n, t in enumerate(texts)]
        results = sorted(scored, key=lambda one: -float(one["relevance_score"]))[: request.body.get("top_n")]
        return Answer(200, {"id": "r", "results": results, "meta": {"billed_units": {"search_units": 1}}})
