"""Settings: defaults, then lakehouse.toml, then LAKEHOUSE_<SECTION>__<KEY>, then flags. Frozen once read."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from lakehouse.config.judging import Models, Relevance, Rerank
from lakehouse.config.playbook import Playbook
from lakehouse.config.section import Section
from lakehouse.config.sections import (
    GIB,
    KIB,
    MIB,
    SECRETS,
    Auth,
    Bucket,
    Config,
    Corpora,
    Datasets,
    Embed,
    Export,
    Ingest,
    Observer,
    Plugins,
    Results,
    Server,
    Sql,
    Storage,
    Token,
    Toolset,
    Vectors,
)
from lakehouse.config.workflows import Chat, Workflows
from lakehouse.errors import InvalidInput, did_you_mean
from lakehouse.sources import below, config_file, default_home, file_values, parts

# Names that clients of earlier systems set; our own for the same setting wins.
ALIASES = {
    "LH_RELEVANCE_THRESHOLD": ("relevance", "threshold"),
    "LH_RELEVANCE_FILTER": ("relevance", "filter"),
    "LH_FORCE_FULL_ENRICHMENT": ("models", "force_full_enrichment"),
}


@dataclass(frozen=True)
class Settings:
    """A configuration, the data directory it belongs to, and where each value came from."""

    home: Path
    config: Config
    origins: Mapping[str, str]
    file: Path | None


def read(
    home: str | Path | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings for a data directory.

    `file` defaults to `LAKEHOUSE_CONFIG`, then to `lakehouse.toml` in the data directory. The working directory is
    never looked at: MCP hosts start servers inside repositories of strangers. Relative folders are meant from where the
    file lies, those of variables and flags from the working directory. `overrides` are flags by dotted name
    (`{"server.read_only": True}`).

    Raises InvalidInput naming the key when a value has the wrong type or a key is unknown.
    """
    environ = os.environ if environ is None else environ
    folder = Path(home).expanduser().resolve() if home else default_home(environ)
    path = config_file(folder, file, environ)
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    if path is not None:
        for section, keys in file_values(path).items():
            if not isinstance(keys, dict):
                raise InvalidInput(
                    f"{path}: {section} must be a section.", fix=f"Write [{section}] and its keys below."
                )
            for key, value in keys.items():
                _set(values, origins, section, key, _shaped(section, key, value, path.parent), str(path))
    for name, setting in ALIASES.items():
        if text := environ.get(name, "").strip():
            _set(values, origins, *setting, _from_text(*setting, text), name)
    for name, text in sorted(environ.items()):
        found = _named(name)
        if found:
            _set(values, origins, *found, _shaped(*found, _from_text(*found, text), Path.cwd()), name)
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.partition(".")
        _set(values, origins, section, key, _shaped(section, key, value, Path.cwd()), f"--{key.replace('_', '-')}")
    try:
        # Strict: `max_rows = true` and `read_only = "no"` are mistakes, not 1 and False.
        config = Config.model_validate(values, strict=True)
    except ValidationError as error:
        raise _explained(error, origins) from None
    return Settings(folder, config, origins, path)


def defaults(home: str | Path | None = None) -> Settings:
    """The settings of a data directory whose real ones cannot be read."""
    return Settings(Path(home).expanduser().resolve() if home else default_home(), Config(), {}, None)


def _set(
    values: dict[str, dict[str, Any]], origins: dict[str, str], section: str, key: str, value: Any, origin: str
) -> None:
    values.setdefault(section, {})[key] = value
    origins[f"{section}.{key}"] = origin


def _named(variable: str) -> tuple[str, str] | None:
    """The section and key an environment variable sets. Raises InvalidInput for a near miss: one underscore for two."""
    if not variable.startswith("LAKEHOUSE_"):
        return None
    rest = variable.removeprefix("LAKEHOUSE_").lower()
    section, two, key = rest.partition("__")
    if two:
        return section, key
    for section in Config.model_fields:
        key = rest.removeprefix(f"{section}_")
        if key != rest and key in _section_fields(section):
            meant = f"LAKEHOUSE_{section}__{key}".upper()
            raise InvalidInput(f"{variable}: it sets nothing.", fix=f"Did you mean {meant} (two underscores)?")
    return None


def _shaped(section: str, key: str, value: Any, base: Path) -> Any:
    """Lists as the tuples settings hold, and folders absolute."""
    annotation = _annotation(section, key)
    if annotation is Path and isinstance(value, str | Path) and str(value):
        return (base / Path(value).expanduser()).resolve()
    if get_origin(annotation) is not tuple or not isinstance(value, list | tuple):
        return value
    if get_args(annotation)[0] is not Path:
        return _frozen(value)
    return tuple(below(base, v) if isinstance(v, str | Path) else v for v in value)


def _frozen(value: Any) -> Any:
    """Lists as tuples, inside tables too."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list | tuple) else value


def _from_text(section: str, key: str, text: str) -> Any:
    annotation = _annotation(section, key)
    if annotation is None:
        return text
    if get_origin(annotation) is tuple:
        try:
            return parts(text)
        except ValueError:
            return text
    try:
        return TypeAdapter(annotation).validate_strings(text)
    except ValidationError:
        return text


def _annotation(section: str, key: str) -> Any:
    field = _section_fields(section).get(key)
    return field.annotation if field is not None else None


def _section_fields(section: str) -> dict[str, Any]:
    field = Config.model_fields.get(section)
    return dict(field.annotation.model_fields) if field is not None and field.annotation else {}


def _explained(error: ValidationError, origins: Mapping[str, str]) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    dotted = ".".join(where[:2])
    origin = origins.get(dotted) or next(
        (o for k, o in origins.items() if k.startswith(f"{where[0]}.")), "the settings"
    )
    if first["type"] == "extra_forbidden":
        known = list(Config.model_fields) if len(where) == 1 else list(_section_fields(where[0]))
        fix = did_you_mean(where[-1], known, f"Known here: {', '.join(known)}.")
        return InvalidInput(f"{origin}: there is no setting {dotted}.", fix=fix)
    return InvalidInput(
        f"{origin}: {dotted}: {first['msg']}.", fix="See `lakehouse config` for every setting and its type."
    )


def _shown(key: str, value: Any) -> Any:
    """A value without the secrets it may hold: tokens, and passwords of URLs."""
    if key == "token":
        return "[redacted]" if value else ""
    if isinstance(value, list):
        return [_shown("", inner) for inner in value]
    if isinstance(value, dict):
        return {name: _shown(name, inner) for name, inner in value.items()}
    return re.sub(r"(?<=://)[^/@\s]+@", "", value) if isinstance(value, str) else value


def listing(settings: Settings) -> list[dict[str, Any]]:
    """Every setting with its value, its meaning and where the value came from, in the order of the sections."""
    rows = []
    for section in Config.model_fields:
        values = getattr(settings.config, section)
        for key, inner in _section_fields(section).items():
            rows.append(
                {
                    "setting": f"{section}.{key}",
                    "value": _shown(key, TypeAdapter(Any).dump_python(getattr(values, key), mode="json")),
                    "origin": settings.origins.get(f"{section}.{key}", "default"),
                    "meaning": inner.description or "",
                }
            )
    return rows


__all__ = [
    "GIB",
    "KIB",
    "MIB",
    "SECRETS",
    "Auth",
    "Bucket",
    "Chat",
    "Config",
    "Corpora",
    "Datasets",
    "Embed",
    "Export",
    "Ingest",
    "Models",
    "Observer",
    "Playbook",
    "Plugins",
    "Relevance",
    "Rerank",
    "Results",
    "Section",
    "Server",
    "Settings",
    "Sql",
    "Storage",
    "Token",
    "Toolset",
    "Vectors",
    "Workflows",
    "defaults",
    "listing",
    "read",
]
