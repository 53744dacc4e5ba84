"""A local web server of files, with whatever status and headers a test gives them."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.doubles.running import Running


@dataclass(frozen=True)
class Page:
    """What a path answers. Without an end, its body is sent again and again until the client leaves."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False


class Web(Running):
    """Serves `pages` by path; `asked` are the Host headers and paths of the requests."""

    def __init__(self, pages: Mapping[str, Page], certificate: Path | None = None) -> None:
        self.pages = dict(pages)
        self.asked: list[tuple[str, str]] = []
        super().__init__(self._handler())
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.headers["Host"], self.path))
                page = web.pages.get(self.path.partition("?")[0], Page(status=404))
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                if not page.endless:
                    self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                try:
                    self.wfile.write(page.body)
                    while page.endless and not web.closing.is_set():
                        self.wfile.write(page.body)
                except OSError:
                    return  # the client has seen enough

            def log_message(self, format: str, *args: object) -> None:
                """Tests are quiet."""

        return Handler
