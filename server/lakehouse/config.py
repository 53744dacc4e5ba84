"""Settings: defaults, then lakehouse.toml, then LAKEHOUSE_<SECTION>__<KEY>, then flags. Frozen once read."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lakehouse.errors import InvalidInput, did_you_mean
from lakehouse.sources import below, config_file, default_home, file_values, parts

KIB, MIB, GIB = 2**10, 2**20, 2**30
Toolset = Literal["core", "data", "sql", "retrieval", "memory", "chat", "workflow", "learning", "review", "admin"]
_TOKEN = r"^[\x21-\x7e]*$"  # what an HTTP header carries as it is
_URL = r"https?://([^/\s@]+@)?(\[[0-9A-Fa-f:.]+\]|[^/\s?#:@\[\]]+)(:\d{1,5})?([/?#]\S*)?"
_SIZE = r"(?i)^\d+(\.\d+)? ?[KMGT]i?B$"


class Section(BaseModel):
    """One part's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    """Limits of a call, and what is published."""

    bind: str = Field("127.0.0.1:3110", pattern=r":\d{1,5}$", description="Where `lakehouse serve` listens: host:port.")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Names clients may call this server by, beside loopback and the bound address; * means any."
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="Web pages that may call it, as https://app.example.com, beside those of this machine."
    )
    session_idle_secs: float = Field(900, gt=0, description="Seconds after which an idle MCP session is closed.")
    max_sessions: int = Field(1000, ge=1, description="MCP sessions of older clients at once.")
    drain_secs: float = Field(10, ge=0, description="Seconds that running calls are given when the server stops.")
    tool_timeout_secs: float = Field(30, gt=0, description="Seconds one call may take.")
    long_timeout_secs: float = Field(600, gt=0, description="Seconds an ingest or a corpus build may take.")
    max_text_bytes: int = Field(50_000, ge=1_000, description="An MCP text over this becomes a preview and a handle.")
    max_request_bytes: int = Field(16 * MIB, ge=KIB, description="The largest message a face accepts.")
    toolsets: tuple[Toolset, ...] = Field((), description="Toolsets to publish over MCP; empty means all.")
    read_only: bool = Field(False, description="Hide and refuse every capability that writes or destroys.")


class Token(Section):
    """One caller's token."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="Who holds it; logs and metrics say this.")
    token: str = Field(pattern=_TOKEN, min_length=1, description="The secret itself.")
    toolsets: tuple[Toolset, ...] = Field((), description="Toolsets open to it; empty means all.")
    read_only: bool = Field(False, description="Whether everything that writes is closed to it.")


class Auth(Section):
    """Who may use the HTTP server. Standard input and output have no network and no such check."""

    token: str = Field("", pattern=_TOKEN, description="Bearer token every HTTP request must carry; empty: none.")
    tokens: tuple[Token, ...] = Field((), description="More tokens, each with what is open to it.")
    allowed_ips: tuple[str, ...] = Field((), description="Addresses and CIDR networks that may connect; empty: any.")
    trusted_proxies: tuple[str, ...] = Field((), description="Proxies whose X-Forwarded-For is believed.")


class Plugins(Section):
    """Capabilities of your own."""

    folders: tuple[Path, ...] = Field((), description="Project folders whose tools/ and modes/ are loaded too.")


class Storage(Section):
    """Where objects are kept."""

    url: str = Field(
        "",
        pattern=r"^(memory://|file:///.+)?$",
        description="file:///folder or memory:// bucket; empty means the data directory's objects/ folder.",
    )
    max_put_bytes: int = Field(256 * MIB, ge=1, description="The largest object a caller may put.")
    max_vectors_put_bytes: int = Field(
        4 * GIB, ge=1, description="The largest object of a vector index that is filled in bulk."
    )
    upload_slots: int = Field(4, ge=1, description="Callers' uploads at once; one more is told to come back.")


class Ingest(Section):
    """Files that become datasets."""

    max_bytes: int = Field(256 * MIB, ge=1, description="The largest content that arrives inside a request.")
    max_path_bytes: int = Field(64 * GIB, ge=1, description="The largest file read from a local path.")
    max_cell_bytes: int = Field(16 * MIB, ge=KIB, description="The largest single CSV line or cell.")
    roots: tuple[Path, ...] = Field(
        (),
        description="Folders files may be read from over MCP; empty: the home directory but what is hidden.",
    )
    memory_limit: str = Field(
        "512MB", pattern=_SIZE, description="Memory the reading engine may use before it spills to disk."
    )


class Sql(Section):
    """Queries and their limits."""

    max_sql_bytes: int = Field(64 * KIB, ge=16 * KIB, le=MIB, description="The longest SQL text.")
    max_rows: int = Field(10_000, ge=1, description="Rows in one answer; the rest is behind a result handle.")
    max_bytes: int = Field(16 * MIB, ge=KIB, description="Bytes in one answer; the rest is behind a result handle.")
    max_handle_rows: int = Field(1_000_000, ge=1, description="Rows a result handle holds at most.")
    max_handle_bytes: int = Field(256 * MIB, ge=KIB, description="Bytes a result handle holds at most.")
    # Under server.tool_timeout_secs with the grace for a process that must be killed, so that the setting that is named
    # is the one that ended the query.
    timeout_secs: float = Field(
        28, gt=0, description="Seconds one query may wait and run; to go over 30 raise server.tool_timeout_secs, too."
    )
    memory_limit: str = Field("1GB", pattern=_SIZE, description="Memory one query may use before it spills to disk.")
    max_spill_bytes: int = Field(GIB, ge=MIB, description="Disk one query process may spill to.")
    address_space: int = Field(
        3 * GIB, ge=2 * GIB, description="Address space of a query process, bytes (RLIMIT_AS): memory_limit and 2 GiB."
    )
    workers: int = Field(2, ge=1, le=16, description="Queries that run at once; the rest wait their turn.")
    refresh_every: str = Field(
        "30s",
        pattern=r"^\d+(\.\d+)?(ms|s|m|h)$",
        description="How often changes committed by other processes are looked for.",
    )

    @property
    def refresh_secs(self) -> float:
        """`refresh_every` in seconds."""
        number = self.refresh_every.rstrip("msh")
        return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[self.refresh_every[len(number) :]]


class Vectors(Section):
    """Vector indexes."""

    max_k: int = Field(1000, ge=1, description="The largest k of one search.")
    max_dimension: int = Field(8192, ge=1, description="The largest vector dimension.")
    seal_rows: int = Field(8192, ge=1, description="Fresh rows after which a new segment is written.")


class Embed(Section):
    """Texts to vectors."""

    provider: Literal["bundled", "ollama", "litellm", "hash"] = Field("bundled", description="Who embeds by default.")
    model: str = Field("", description="The provider's model; empty means its default.")
    ollama_url: str = Field("http://127.0.0.1:11434", pattern=f"^{_URL}$", description="Where Ollama listens.")
    api_base: str = Field(
        "", pattern=f"^({_URL})?$", description="Where the litellm provider's API is, if not at its usual place."
    )
    api_key_env: str = Field("", description="Environment variable that holds the litellm provider's key.")
    cache_size: int = Field(10_000, ge=0, description="Texts kept in memory; 0 turns the caches off.")
    disk_cache_bytes: int = Field(
        2 * GIB, ge=MIB, description="Bytes the cache's file may take; the oldest texts leave first."
    )
    batch_timeout_secs: float = Field(60, gt=0, description="Seconds one batch may take, all texts together.")
    max_texts: int = Field(1024, ge=1, description="Texts in one request.")


class Corpora(Section):
    """Datasets and folders made searchable."""

    folders: tuple[Path, ...] = Field(
        (),
        description="Folders corpora may be built from over MCP; empty: as for files.",
    )
    # 2,000 are some 450 tokens of English; the bundled model reads 512. Cranfield, nDCG@10: 0.418 as with whole
    # documents, 0.415 with 1,800, 0.407 with 1,000.
    max_chars: int = Field(2000, ge=200, description="Characters in one chunk.")
    overlap: int = Field(200, ge=0, description="Characters neighbouring chunks share; at most half a chunk.")
    # 16 at a time by 4 workers, as one batch: the bundled model does 246 short rows a second so, 150 by sixteens.
    batch_size: int = Field(64, ge=1, le=1024, description="Chunks embedded and added at a time.")

    @model_validator(mode="after")
    def _moves_on(self) -> "Corpora":
        if self.overlap >= self.max_chars:
            raise ValueError("overlap must be less than max_chars, or a chunk never ends")
        return self


class Observer(Section):
    """The record of calls."""

    ring_size: int = Field(1000, ge=1, description="Operations kept in memory.")


class Results(Section):
    """Results too large for one answer."""

    keep_secs: float = Field(24 * 3600, gt=0, description="Seconds a result handle stays readable.")
    max_bytes: int = Field(2 * GIB, ge=MIB, description="Bytes all handles take together; the oldest go first.")


class Config(Section):
    """Every setting, one frozen section a part."""

    server: Server = Server()
    auth: Auth = Auth()
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
