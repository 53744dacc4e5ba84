"""Adds Lakehouse to an MCP client's list of servers, and leaves everything else in that file as it is."""

import json
import os
import re
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.declare import TOOLSETS
from lakehouse.errors import Conflict, InvalidInput, did_you_mean
from lakehouse.faces.address import bound_address, is_here, mcp_address
from lakehouse.faces.install.clients import CLIENTS, TOKEN_VARIABLE, Client
from lakehouse.faces.install.jsontext import JsonText, NotPlain

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Wish:
    """What the entry is to do. `http` is a URL, or empty for where our own server listens."""

    home: str | None = None
    config: str | None = None
    name: str | None = None
    toolsets: str | None = None
    read_only: bool | None = None
    http: str | None = None
    gateway: str | None = None
    project: str | None = None
    force: bool = False


def install(client: str, wish: Wish) -> dict[str, Any]:
    """Write the entry into the client's file.

    Raises InvalidInput for a file that is not plain JSON of the usual shape, which is left alone and shown what to
    paste; Conflict where there is another entry of that name and `force` is not wished.
    """
    known, name = CLIENTS[client], _name(wish)
    entry, asked = _entry(known, wish, name)
    path = _file(known, client, wish)
    told = {"client": known.title, "name": name, "file": str(path)}
    before, state = _read(path, known, name, entry)
    try:
        text = JsonText(before)
        found = text.value
        servers, inputs = found.get(known.key, {}), found.get("inputs", [])
        if not isinstance(servers, dict) or (asked and not isinstance(inputs, list)):
            raise NotPlain(f"{known.key!r} or 'inputs' is not what {known.title} writes there")
        there = servers.get(name)
        missing = [one for one in asked if one not in inputs]
        if there == entry and not missing:
            return {**told, "written": False, "next": "It is there already."}
        if there not in (None, entry) and not wish.force:
            raise Conflict(
                f"{path} has another server called {name}: {json.dumps(_shown(there), ensure_ascii=False)[:500]}.",
                fix="Use --name for another name, or --force to replace it.",
            )
        if there != entry:
            text.put([known.key, name], entry)
        for one in missing:
            text.append("inputs", one)
    except NotPlain as error:
        raise _refused(path, f"{error}; it was left as it is", known, name, entry) from None
    try:
        mode = 0o600 if wish.project is None else 0o644
        _write(path, text.whole.encode(), state, mode if state is None else stat.S_IMODE(state.st_mode))
    except OSError as error:
        raise _refused(path, f"it cannot be written: {error.strerror}", known, name, entry) from None
    return {**told, "written": True, "entry": entry, "next": known.then + _token_note(known, entry)}


def shown(client: str, wish: Wish) -> dict[str, Any]:
    """What a file of the client would hold that has our entry alone."""
    known, name = CLIENTS[client], _name(wish)
    _file(known, client, wish)
    entry, asked = _entry(known, wish, name)
    return {**({"inputs": asked} if asked else {}), known.key: {name: entry}}


def _name(wish: Wish) -> str:
    name = wish.name or ("lakehouse" if wish.http is None else "lakehouse-http")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"--name: {name[:100]!r} is no name.", fix="Use letters, digits, - and _, at most 64.")
    return name


def _file(client: Client, called: str, wish: Wish) -> Path:
    if wish.project is None:
        return client.file()
    if not client.project_file:
        raise InvalidInput(f"--project: {client.title} has one file for all projects.", fix="Leave --project out.")
    folder = Path(wish.project).expanduser().absolute()
    if not folder.is_dir():
        raise InvalidInput(f"--project: there is no folder {folder}.", fix=f"lakehouse install {called} --project DIR")
    return folder / client.project_file


def _entry(client: Client, wish: Wish, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The entry, and the inputs the client has to ask for."""
    for toolset in (wish.toolsets or "").split(",") if wish.toolsets else ():
        if toolset.strip() not in TOOLSETS:
            fix = did_you_mean(toolset.strip(), TOOLSETS, f"Known are: {', '.join(TOOLSETS)}.")
            raise InvalidInput(f"--toolsets: there is none called {toolset.strip()[:100]!r}.", fix=fix)
    if wish.http is None:
        return client.over_pipes(_command(), _arguments(wish)), []
    if wish.gateway is not None:
        raise InvalidInput("--http and --gateway are two ways to the same; use one.", fix="Leave one of them out.")
    if not client.token:
        raise InvalidInput(
            f"--http: the file of {client.title} takes servers over pipes only.",
            fix="Use `--gateway URL` here, which starts a small process that talks to the server; or add the URL in "
            "Settings > Connectors.",
        )
    from lakehouse.config import read

    settings = read(wish.home, wish.config).config
    url = mcp_address(wish.http or bound_address(settings.server.bind), "--http", wish.toolsets, wish.read_only)
    needed = settings.auth.needed or not is_here(url)
    asked = {
        "type": "promptString",
        "id": f"{name}-token",
        "description": f"The token of the Lakehouse server {name}",
        "password": True,
    }
    return client.over_http(url, name, needed), [asked] if needed and client.asks else []


def _arguments(wish: Wish) -> list[str]:
    # A program started from a desktop has none of this shell's variables.
    home, config = wish.home or _variable("LAKEHOUSE_HOME"), wish.config or _variable("LAKEHOUSE_CONFIG")
    found = []
    for option, value in (("--home", home), ("--config", config)):
        found += [option, str(Path(value).expanduser().absolute())] if value else []
    found.append("stdio")
    if wish.gateway is not None:
        mcp_address(wish.gateway, "--gateway")
        found += ["--gateway", wish.gateway]
    found += ["--toolsets", wish.toolsets] if wish.toolsets else []
    return found + (["--read-only"] if wish.read_only else [])


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _command() -> list[str]:
    """How this very Lakehouse is started, from anywhere: a desktop program does not have the shell's PATH."""
    script = sys.argv[0]
    if Path(script).stem in ("lakehouse", "lakehouse-mcp") and (found := shutil.which(script)):
        if any(part.startswith(("archive-v", "environments-v", "builds-v")) for part in Path(found).parts):
            raise InvalidInput(
                f"this Lakehouse, {found}, lies in uv's cache, which is emptied at times.",
                fix="Install it for good, with `uv tool install`, and use that one.",
            )
        return [os.path.abspath(found)]  # not resolved: the link stays where it is when what it leads to is renewed
    return [os.path.abspath(sys.executable), "-m", "lakehouse"]


def _read(path: Path, client: Client, name: str, entry: dict[str, Any]) -> tuple[str, os.stat_result | None]:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise _refused(path, "it is not a plain file", client, name, entry)
        return path.read_bytes().decode(), state
    except FileNotFoundError:
        return "", None
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, ValueError) else f"it cannot be read: {error.strerror}"
        raise _refused(path, reason, client, name, entry) from None


def _shown(entry: Any) -> Any:
    """An entry without the values of its variables and headers, which may be secrets."""
    if not isinstance(entry, dict):
        return entry
    hidden = ("env", "headers")
    return {k: dict.fromkeys(v, "…") if k in hidden and isinstance(v, dict) else v for k, v in entry.items()}


def _refused(path: Path, reason: str, client: Client, name: str, entry: dict[str, Any]) -> InvalidInput:
    snippet = json.dumps({name: entry}, ensure_ascii=False)[1:-1]
    return InvalidInput(f"{path}: {reason}.", fix=f"Put this into its {client.key!r} yourself: {snippet}")


def _write(path: Path, content: bytes, state: os.stat_result | None, mode: int) -> None:
    """Replace a file at once, or not at all; a link stays one, and who may read it stays the same."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        if state is not None and hasattr(os, "chown"):
            with suppress(OSError):
                os.chown(temporary, state.st_uid, state.st_gid)
        if _changed(target, state):
            raise Conflict(f"{path} was changed meanwhile.", fix="Try again.")
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _changed(path: Path, before: os.stat_result | None) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return before is not None
    if before is None:
        return True
    return (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns)


def _token_note(client: Client, entry: dict[str, Any]) -> str:
    if "headers" not in entry:
        return ""
    if client.asks:
        return " It asks for the token then."
    return f" Set {TOKEN_VARIABLE} in the environment it is started from."


__all__ = ["Wish", "install", "shown"]
