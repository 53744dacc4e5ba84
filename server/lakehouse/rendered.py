"""The catalogue as plain JSON, rendered once: what `tools/list`, discovery and `--help` show.

Deriving some 40 schemas costs up to a fifth of a bare start, so the rendering is kept in the user's cache folder under
a key of everything it depends on. It is derived data: a missing, stale or damaged file is rendered anew.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lakehouse
from lakehouse.errors import TooLarge
from lakehouse.sources import cache_folder, plugin_files, query_files, source_of, workflow_tools

if TYPE_CHECKING:
    from lakehouse.catalogue import Catalogue
    from lakehouse.declare import Capability

FORMAT = 6


def rendered(folders: Sequence[Path] = (), home: Path | None = None) -> dict[str, Any]:
    """The rendering of the shipped and the given project folders' capabilities, from the cache when it is current.

    With a `home`, that of the queries and workflows saved in that data directory, too.
    """
    path = cache_folder() / f"catalogue-{_key(folders, home)}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        if all(_stamp(Path(name)) == stamp for name, stamp in found["watched"].items()):
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # not there, torn, or of another format: render anew
    from lakehouse.catalogue import Catalogue

    fresh = render(Catalogue(folders, home))
    # What was left out may have been for a reason of this moment, or of this process's environment.
    if not fresh["skipped"]:
        _keep(path, fresh)
    return fresh


def render(catalogue: "Catalogue") -> dict[str, Any]:
    """The catalogue as JSON data: tools, resources, prompts, and what was left out."""
    return {
        "tools": [_tool(c) for c in catalogue.public()],
        "resources": [_resource(c) for c in catalogue.of("resource")],
        "prompts": [_prompt(c) for c in catalogue.of("prompt")],
        "downloads": [_download(c) for c in catalogue.of("download")],
        "groups": catalogue.groups,
        "instructions": catalogue.instructions,
        "skipped": [{"origin": s.origin, "reason": s.reason} for s in catalogue.skipped],
        # Files of installed plugins; those of folders are part of the key.
        "watched": {name: _stamp(Path(name)) for name in sorted(catalogue.watched)},
    }


def _tool(capability: "Capability") -> dict[str, Any]:
    facts = capability.facts
    return {
        "name": capability.name,
        "mcp_name": capability.mcp_name,
        "title": capability.title,
        "description": capability.description,
        "input_schema": capability.input_schema,
        "output_schema": capability.output_schema,
        "effect": facts.effect,
        "idempotent": facts.idempotent,
        "toolsets": list(facts.toolsets),
        "command": capability.command,
        "short": facts.short,
        "short_defaults": dict(facts.short_defaults or {}),
        "method": capability.method,
        "route": capability.route,
        "status": facts.status,
        "max_body": facts.max_body,
        "upload": capability.upload is not None,
        "tells": facts.tells,
    }


def _download(capability: "Capability") -> dict[str, Any]:
    return {
        "name": capability.name,
        "title": capability.title,
        "description": capability.description,
        "input_schema": capability.input_schema,
        "method": capability.method,
        "route": capability.route,
        "max_body": capability.facts.max_body,
        "formats": dict(capability.facts.formats or {}),
    }


def _resource(capability: "Capability") -> dict[str, Any]:
    facts = capability.facts
    return {
        "name": capability.name,
        "uri": facts.uri,
        "title": capability.title,
        "description": capability.description,
        "mime_type": facts.mime_type,
        "binary": capability.binary,
        "complete": dict(facts.complete or {}),
        "listed": facts.listed,
    }


def _prompt(capability: "Capability") -> dict[str, Any]:
    schema = capability.input_schema
    required = schema.get("required", [])
    return {
        "name": capability.name,
        "mcp_name": capability.mcp_name,
        "title": capability.title,
        "description": capability.description,
        "arguments": [
            {"name": name, "description": inner.get("description", ""), "required": name in required}
            for name, inner in schema["properties"].items()
        ],
        "complete": dict(capability.facts.complete or {}),
    }


def _key(folders: Sequence[Path], home: Path | None) -> str:
    """A digest of everything a rendering is derived from."""
    package = Path(__file__).parent
    parts: list[Any] = [FORMAT, lakehouse.__version__, sys.version_info[:3], [str(folder) for folder in folders]]
    for folder, below, names in os.walk(package):
        below[:] = sorted(f for f in below if f != "__pycache__")
        parts += [(folder, n, _stamp(Path(folder, n))) for n in sorted(names) if n.endswith(".py")]
    files = [*plugin_files(folders), *query_files(folders, home), *workflow_tools(folders, home)]
    parts += [(str(file), _digest(file)) for file in files]
    # Installing or removing a package changes its folder's time; entry points themselves take 30 ms to read.
    parts += [(entry, _stamp(Path(entry))) for entry in sys.path if entry]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _digest(path: Path) -> str | None:
    """What a file holds; None for one that would be left out anyway, and then nothing is kept."""
    try:
        return hashlib.sha256(source_of(path)).hexdigest()
    except (OSError, TooLarge):
        return None


def _stamp(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _keep(path: Path, value: dict[str, Any]) -> None:
    from lakehouse.observe import log

    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value), encoding="utf-8")
        temporary.replace(path)
        for old in path.parent.glob("catalogue-*.json"):
            if old != path and old.stat().st_mtime < path.stat().st_mtime - 7 * 24 * 3600:
                old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("catalogue.cache cannot be written: %s", error.strerror)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
