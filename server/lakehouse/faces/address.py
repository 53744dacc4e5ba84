"""The address of a running server as people write it, and where MCP is answered there."""

from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from lakehouse.errors import InvalidInput

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def mcp_address(
    url: str, option: str, toolsets: str | None = None, read_only: bool | None = None, profile: str | None = None
) -> str:
    """`http://host:port` as the URL of its /mcp, with what a client is to see of it.

    Raises InvalidInput naming the `option` it was given with.
    """
    parts = _parts(url, option)
    path = parts.path.rstrip("/")
    path = path if path.endswith("/mcp") else f"{path}/mcp"
    chosen = {"toolsets": toolsets, "read_only": "true" if read_only else None, "profile": profile}
    asked = urlencode({name: value for name, value in chosen.items() if value}, safe=",")
    query = "&".join(part for part in (parts.query, asked) if part)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def is_here(url: str) -> bool:
    """Whether it is an address of this machine's own."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def bound_address(bind: str) -> str:
    """Where the server that listens at `bind` is reached from this machine."""
    host, _, port = bind.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]', '::') else host}:{port}"


def _parts(url: str, option: str) -> SplitResult:
    fix = "Write it like http://127.0.0.1:3110."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{option}: {url[:200]!r} is no URL: {error}.", fix=fix) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isascii() or not url.isprintable():
        raise InvalidInput(f"{option}: {url[:200]!r} is no http:// or https:// URL.", fix=fix)
    if " " in url or parts.fragment:
        raise InvalidInput(f"{option}: {url[:200]!r} holds a blank or a fragment.", fix=fix)
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(f"{option}: a URL with a password in it ends up in files and lists.", fix=fix)
    return parts
