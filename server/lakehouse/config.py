"""Settings: defaults, then lakehouse.toml, then LAKEHOUSE_<SECTION>__<KEY>, then flags. Frozen once read."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lakehouse.errors import InvalidInput

KIB, MIB, GIB = 2**10, 2**20, 2**30


class Section(BaseModel):
    """One part's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    tool_timeout_secs: float = Field(30, gt=0, description="Seconds one call may take.")
    long_timeout_secs: float = Field(600, gt=0, description="Seconds an ingest or a corpus build may take.")
    max_text_bytes: int = Field(50_000, ge=1_000, description="An MCP text over this becomes a preview and a handle.")
    max_request_bytes: int = Field(16 * MIB, ge=KIB, description="The largest message a face accepts.")
    toolsets: tuple[str, ...] = Field((), description="Toolsets to publish over MCP; empty means all.")
    read_only: bool = Field(False, description="Hide and refuse every capability that writes or destroys.")


class Plugins(Section):
    folders: tuple[Path, ...] = Field((), description="Project folders whose tools/ and modes/ are loaded too.")


class Storage(Section):
    url: str = Field("", description="file://, memory:// bucket; empty means the data directory's objects/ folder.")
    max_put_bytes: int = Field(256 * MIB, ge=1, description="The largest object a caller may put.")
    max_vectors_put_bytes: int = Field(4 * GIB, ge=1, description="The same for keys under _vectors/.")
    upload_slots: int = Field(4, ge=1, description="Callers' uploads at once; one more is told to come back.")


class Ingest(Section):
    max_bytes: int = Field(256 * MIB, ge=1, description="The largest content that arrives inside a request.")
    max_path_bytes: int = Field(64 * GIB, ge=1, description="The largest file read from a local path.")
    max_cell_bytes: int = Field(16 * MIB, ge=KIB, description="The largest single CSV line or cell.")
    roots: tuple[Path, ...] = Field(
        (), description="Folders files may be read from over MCP; empty means the home directory."
    )
    memory_limit: str = Field("512MB", description="Memory the reading engine may use before it spills to disk.")


class Sql(Section):
    max_sql_bytes: int = Field(64 * KIB, ge=16 * KIB, le=MIB, description="The longest SQL text.")
    max_rows: int = Field(10_000, ge=1, description="Rows in one answer; the rest is behind a result handle.")
    max_bytes: int = Field(16 * MIB, ge=KIB, description="Bytes in one answer; the rest is behind a result handle.")
    max_handle_rows: int = Field(1_000_000, ge=1, description="Rows a result handle holds at most.")
    max_handle_bytes: int = Field(256 * MIB, ge=KIB, description="Bytes a result handle holds at most.")
    timeout_secs: float = Field(30, gt=0, description="Seconds one query may run.")
    memory_limit: str = Field("1GB", description="Memory one query may use before it spills to disk.")
    max_spill_bytes: int = Field(GIB, ge=MIB, description="Disk one query process may spill to.")
    address_space: int = Field(3 * GIB, ge=GIB, description="Address space of a query process, bytes (RLIMIT_AS).")
    workers: int = Field(2, ge=1, le=16, description="Queries that run at once; the rest queue.")
    refresh_secs: float = Field(30, gt=0, description="How often changes committed by other processes are looked for.")


class Vectors(Section):
    max_k: int = Field(1000, ge=1, description="The largest k of one search.")
    max_dimension: int = Field(8192, ge=1, description="The largest vector dimension.")
    seal_rows: int = Field(8192, ge=1, description="Fresh rows after which a new segment is written.")


class Embed(Section):
    provider: Literal["bundled", "ollama", "litellm", "hash"] = Field("bundled", description="Who embeds by default.")
    model: str = Field("", description="The provider's model; empty means its default.")
    ollama_url: str = Field("http://127.0.0.1:11434", pattern=r"^https?://[^/\s]+", description="Where Ollama listens.")
    api_key_env: str = Field("", description="Environment variable that holds the litellm provider's key.")
    cache_size: int = Field(10_000, ge=0, description="Texts kept in memory; 0 turns the caches off.")
    batch_timeout_secs: float = Field(60, gt=0, description="Seconds one batch may take, all texts together.")
    max_texts: int = Field(1024, ge=1, description="Texts in one request.")


class Corpora(Section):
    folders: tuple[Path, ...] = Field(
        (), description="Folders corpora may be built from over MCP; empty means the home directory."
    )
    max_chars: int = Field(1800, ge=200, description="Characters in one chunk.")
    overlap: int = Field(200, ge=0, description="Characters neighbouring chunks share.")
    batch_size: int = Field(64, ge=1, le=1024, description="Chunks embedded and added at a time.")


class Observer(Section):
    ring_size: int = Field(1000, ge=1, description="Operations kept in memory.")


class Results(Section):
    keep_secs: float = Field(24 * 3600, gt=0, description="Seconds a result handle stays readable.")


class Config(Section):
    """Every setting, one frozen section a part."""

    server: Server = Server()
    plugins: Plugins = Plugins()
    storage: Storage = Storage()
    ingest: Ingest = Ingest()
    sql: Sql = Sql()
    vectors: Vectors = Vectors()
    embed: Embed = Embed()
    corpora: Corpora = Corpora()
    observer: Observer = Observer()
    results: Results = Results()


@dataclass(frozen=True)
class Settings:
    """A configuration, the data directory it belongs to, and where each value came from."""

    home: Path
    config: Config
    origins: Mapping[str, str]
    file: Path | None


def default_home() -> Path:
    """`LAKEHOUSE_HOME`, else the user's data folder."""
    given = os.environ.get("LAKEHOUSE_HOME", "").strip()
    if given:
        return Path(given).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("lakehouse", appauthor=False)).resolve()


def read(
    home: str | Path | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings for a data directory.

    `file` defaults to `LAKEHOUSE_CONFIG`, then to `lakehouse.toml` in the data directory. The working directory is
    never looked at: MCP hosts start servers inside repositories of strangers. `overrides` are flags by dotted name
    (`{"server.read_only": True}`).

    Raises InvalidInput naming the key when a value has the wrong type or a key is unknown.
    """
    environ = os.environ if environ is None else environ
    folder = Path(home).expanduser().resolve() if home else default_home()
    path, named = _config_file(folder, file, environ)
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    if path is not None:
        for section, keys in _toml(path, named).items():
            if not isinstance(keys, dict):
                raise InvalidInput(
                    f"{path}: {section} must be a section.", fix=f"Write [{section}] and its keys below."
                )
            for key, value in keys.items():
                _set(values, origins, section, key, _beside(path, section, key, value), str(path))
    for name, text in sorted(environ.items()):
        if name.startswith("LAKEHOUSE_") and "__" in name:
            section, _, key = name.removeprefix("LAKEHOUSE_").lower().partition("__")
            _set(values, origins, section, key, _from_text(section, key, text), name)
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.partition(".")
        _set(values, origins, section, key, value, f"--{key.replace('_', '-')}")
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise _explained(error, origins) from None
    return Settings(folder, config, origins, path)


def _config_file(home: Path, file: str | Path | None, environ: Mapping[str, str]) -> tuple[Path | None, bool]:
    given = file or environ.get("LAKEHOUSE_CONFIG", "").strip()
    if given:
        return Path(given).expanduser().resolve(), True
    usual = home / "lakehouse.toml"
    return (usual if usual.is_file() else None), False


def _toml(path: Path, named: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"There is no config file {path}.", fix="Write it with `lakehouse init`.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}.", fix="Mend the file, or name another with --config."
        ) from None


def _set(
    values: dict[str, dict[str, Any]], origins: dict[str, str], section: str, key: str, value: Any, origin: str
) -> None:
    values.setdefault(section, {})[key] = value
    origins[f"{section}.{key}"] = origin


def _beside(path: Path, section: str, key: str, value: Any) -> Any:
    """Relative folders in a file are meant from where the file lies."""
    if (section, key) in {("plugins", "folders"), ("ingest", "roots"), ("corpora", "folders")} and isinstance(
        value, list
    ):
        return [str((path.parent / str(v)).resolve()) if isinstance(v, str) else v for v in value]
    return value


def _from_text(section: str, key: str, text: str) -> Any:
    field = _section_fields(section).get(key)
    if field is None:
        return text
    if getattr(field.annotation, "__origin__", None) is tuple:
        return [part for part in (p.strip() for p in text.split(",")) if part]
    try:
        return TypeAdapter(field.annotation).validate_strings(text)
    except ValidationError:
        return text


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
        near = difflib.get_close_matches(where[-1], known, n=1)
        fix = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
        return InvalidInput(f"{origin}: there is no setting {dotted}.", fix=fix)
    return InvalidInput(
        f"{origin}: {dotted}: {first['msg']}.", fix="See `lakehouse config` for every setting and its type."
    )


def listing(settings: Settings) -> list[dict[str, Any]]:
    """Every setting with its value, its meaning and where the value came from, in the order of the sections."""
    rows = []
    for section in Config.model_fields:
        values = getattr(settings.config, section)
        for key, inner in _section_fields(section).items():
            rows.append(
                {
                    "setting": f"{section}.{key}",
                    "value": TypeAdapter(Any).dump_python(getattr(values, key), mode="json"),
                    "origin": settings.origins.get(f"{section}.{key}", "default"),
                    "meaning": inner.description or "",
                }
            )
    return rows
