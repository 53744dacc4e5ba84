"""A local HTTP server whose answers are computed, scripted or withheld; every request is kept."""

import json
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.doubles.running import Running

# What `script` may hold besides answers: let the request wait until the server closes, and answer as if unscripted.
HANG = "hang"
COMPUTE = "compute"


@dataclass(frozen=True)
class Request:
    """What somebody asked."""

    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """Status and body: data goes out as JSON, bytes as they are."""

    status: int
    body: Any


class Server(Running):
    """Runs in a thread inside `with`. `script` holds what the next requests get; after that `answer` decides."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.script: deque[Answer | str] = deque()
        super().__init__(self._handler(), port)

    def answer(self, request: Request) -> Answer:
        """What the server says when nothing is scripted."""
        raise NotImplementedError

    def _respond(self, request: Request) -> Answer | None:
        self.requests.append(request)
        scripted = self.script.popleft() if self.script else None
        if scripted == HANG:
            self.closing.wait()
            return None
        return scripted if isinstance(scripted, Answer) else self.answer(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else {}
                answer = server._respond(Request(self.command, self.path, body, dict(self.headers)))
                if answer is None:
                    self.close_connection = True
                    return
                data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer.body, bytes) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """Tests are quiet."""

        return Handler
