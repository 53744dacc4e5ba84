"""Files from web servers: only from hosts that are allowed, only from addresses that are public or allowed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.addresses import checked
from lakehouse.engine.ingest.source import source_of
from lakehouse.engine.progress import Progress
from lakehouse.errors import Forbidden, InvalidInput, NotFound, TimedOut, TooLarge, Upstream

if TYPE_CHECKING:
    import ssl

    import httpx

_REDIRECTS = 5
_TYPES = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched. `url` is where it came from, without what came after `?`, which may hold a key."""

    path: Path
    filename: str
    source: str
    url: str


async def fetch(url: str, source: str | None, folder: Path, settings: config.Ingest, progress: Progress) -> Fetched:
    """Fetch a URL into a file of `folder`. Its format is `source`, else what its name or its content type says.

    Each address the host's name has is checked, and the connection goes to one that was: a second answer of the
    resolver is never asked for. A redirect is checked like the URL itself.

    Raises Forbidden for hosts and addresses that are not allowed, InvalidInput, NotFound, TooLarge, TimedOut, Upstream.
    """
    if not settings.url_hosts:
        raise Forbidden("url: reading from URLs is off.", fix="Name the hosts that may be read in ingest.url_hosts.")
    verify = await anyio.to_thread.run_sync(_trust)
    import httpx

    path = folder / "fetched"
    timeout = settings.remote_timeout_secs
    try:
        # No proxy of the environment: it would resolve the name for itself.
        async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=timeout) as client:
            async with _answered(client, url, settings) as (response, final):
                filename, kind = _format(response, final, source)
                await _saved(response, path, settings.max_url_bytes, progress)
    except httpx.TimeoutException:
        raise TimedOut(
            f"url: the server left a request unanswered for {timeout:g} seconds.",
            fix="Try again, or raise ingest.remote_timeout_secs.",
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Upstream(f"url: it cannot be fetched: {str(error)[:200]}.", fix="Check the URL and the server.") from None
    parts = urlsplit(final)
    return Fetched(path, filename, kind, f"{parts.scheme}://{parts.netloc}{parts.path}")


def _trust() -> "ssl.SSLContext":
    """Whose certificates are believed. Blocking, and so is the first import of the client."""
    import httpx

    return httpx.create_ssl_context()


@asynccontextmanager
async def _answered(
    client: "httpx.AsyncClient", url: str, settings: config.Ingest
) -> AsyncIterator[tuple["httpx.Response", str]]:
    """The answer to a URL or to what it redirects to, and the URL that gave it."""
    for _ in range(_REDIRECTS + 1):
        request = await _request(client, url, settings)
        response = await client.send(request, stream=True)
        try:
            if response.is_redirect:
                url = urljoin(url, response.headers["location"])
                continue
            if response.status_code in (404, 410):
                raise NotFound(f"url: the server says {response.status_code}.", fix="Check the URL.")
            if response.status_code != 200:
                raise Upstream(f"url: the server says {response.status_code}.", fix="Check that it is open to anybody.")
            yield response, url
            return
        finally:
            await response.aclose()
    raise Upstream(f"url: it redirects over {_REDIRECTS} times.", fix="Give the URL it ends at.")


async def _request(client: "httpx.AsyncClient", url: str, settings: config.Ingest) -> "httpx.Request":
    """The request for a URL, to an address of its host that may be reached."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput("url: it is not one.", fix="Write https://host/path.") from None
    if parts.scheme not in (("http", "https") if settings.url_http else ("https",)) or not host:
        raise InvalidInput("url: only https:// is read.", fix="Write https://host/path; ingest.url_http allows http.")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("url: it holds a user or a password, which would be kept.", fix="Leave them out.")
    if not any(fnmatchcase(host.lower(), pattern.lower()) for pattern in settings.url_hosts):
        raise Forbidden(f"url: {host[:100]} is not a host that may be read.", fix="Add it to ingest.url_hosts.")
    port = port or (443 if parts.scheme == "https" else 80)
    addresses = await anyio.to_thread.run_sync(checked, host, port, settings.internal_networks, "url")
    address = addresses[0]
    target = f"[{address}]" if ":" in address else address
    shown = f"[{host}]" if ":" in host else host
    return client.build_request(
        "GET",
        parts._replace(netloc=f"{target}:{port}", fragment="").geturl(),
        # Compressed by the file's own format only: what arrives is counted, and unpacked within limits.
        headers={
            "Host": shown if parts.port is None else f"{shown}:{port}",
            "Accept-Encoding": "identity",
            "User-Agent": "lakehouse",
        },
        extensions={"sni_hostname": host},  # whom the certificate must be for
    )


def _format(response: "httpx.Response", url: str, source: str | None) -> tuple[str, str]:
    """What the file is called, and its format."""
    header = Message()
    header["content-disposition"] = response.headers.get("content-disposition", "")
    given = header.get_filename() or unquote(urlsplit(url).path)
    name = PurePosixPath(given.replace("\\", "/")).name or "download"
    if source is not None:
        return name, source_of(name, source)
    try:
        return name, source_of(name)
    except InvalidInput:
        kind = _TYPES.get(response.headers.get("content-type", "").partition(";")[0].strip().lower())
        if kind is None:
            raise
        return name, kind


async def _saved(response: "httpx.Response", path: Path, limit: int, progress: Progress) -> None:
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "x-gzip", "zstd"):
        raise Upstream("url: the server sends an encoding that was not asked for.", fix="Fetch the file by hand.")
    announced = response.headers.get("content-length", "")
    total = int(announced) if announced.isdecimal() else 0
    done = 0
    async with await anyio.open_file(path, "wb") as file:
        async for block in response.aiter_raw():
            done += len(block)
            if max(done, total) > limit:
                raise TooLarge(f"url: the file is over {limit} bytes.", fix="Raise ingest.max_url_bytes.")
            await file.write(block)
            await progress(min(done / total, 1) if total else 0, 100, "fetching")
