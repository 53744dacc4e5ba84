"""Every setting: a frozen section for each part, with its default, its bounds and what it is for."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lakehouse.config.judging import Models, Relevance, Rerank
from lakehouse.config.playbook import Playbook
from lakehouse.config.section import Section
from lakehouse.config.workflows import Chat, Workflows

KIB, MIB, GIB = 2**10, 2**20, 2**30
Toolset = Literal["core", "data", "sql", "retrieval", "memory", "chat", "workflow", "learning", "review", "admin"]
_TOKEN = r"^[\x21-\x7e]*$"  # what an HTTP header carries as it is
_PROFILE = r"^([A-Za-z0-9][\w.-]{0,63})?$"
_HOST = r"(?i)^(\*|([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?)$"
_ORIGIN = r"(?i)^https?://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$"
_ADDRESS = r"^(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?)?$"
SECRETS = "/etc/lakehouse/secrets.toml"
_URL = r"https?://([^/\s@]+@)?(\[[0-9A-Fa-f:.]+\]|[^/\s?#:@\[\]]+)(:\d{1,5})?([/?#]\S*)?"
_SIZE = r"(?i)^\d+(\.\d+)? ?[KMGT]i?B$"


class Server(Section):
    """Limits of a call, and what is published."""

    bind: str = Field("127.0.0.1:3110", pattern=r":\d{1,5}$", description="Where `lakehouse serve` listens: host:port.")
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST)], ...] = Field(
        (),
        description="Names clients may call this server by (lake.example.com; with a port only at that one), beside "
        "loopback and the bound address; * means any, without protection from DNS rebinding.",
    )
    allowed_origins: tuple[Annotated[str, Field(pattern=_ORIGIN)], ...] = Field(
        (), description="Web pages that may call it, as https://app.example.com, beside those of this machine."
    )
    session_idle_secs: float = Field(900, gt=0, description="Seconds after which an idle MCP session is closed.")
    max_sessions: int = Field(1000, ge=1, description="MCP sessions of older clients at once.")
    drain_secs: float = Field(10, ge=0, description="Seconds that running calls are given when the server stops.")
    header_timeout_secs: float = Field(10, gt=0, description="Seconds a client may take over the headers of a request.")
    body_timeout_secs: float = Field(
        60, gt=0, description="Seconds a client may pause while it sends a body, or takes an answer."
    )
    tool_timeout_secs: float = Field(30, gt=0, description="Seconds one call may take.")
    long_timeout_secs: float = Field(600, gt=0, description="Seconds an ingest or a corpus build may take.")
    max_text_bytes: int = Field(50_000, ge=1_000, description="An MCP text over this becomes a preview and a handle.")
    max_request_bytes: int = Field(16 * MIB, ge=KIB, description="The largest message a face accepts.")
    toolsets: tuple[Toolset, ...] = Field((), description="Toolsets to publish over MCP; empty means all.")
    read_only: bool = Field(False, description="Hide and refuse every capability that writes or destroys.")
    profile: str = Field(
        "", pattern=_PROFILE, description="The profile every call is bound to; empty: none. See set_profile."
    )


class Token(Section):
    """One caller's token."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="Who holds it: unlike all others.")
    token: str = Field(pattern=_TOKEN, min_length=1, description="The secret itself.")
    toolsets: tuple[Toolset, ...] = Field((), description="Toolsets open to it; empty means all.")
    read_only: bool = Field(False, description="Whether everything that writes is closed to it.")
    profile: str = Field("", pattern=_PROFILE, description="The profile it is bound to; empty: none.")


class Auth(Section):
    """Who may use the HTTP server. Standard input and output have no network and no such check."""

    token: str = Field("", pattern=_TOKEN, description="Bearer token every HTTP request must carry; empty: none.")
    tokens: tuple[Token, ...] = Field((), description="More tokens, each with what is open to it.")
    allowed_ips: tuple[str, ...] = Field((), description="Addresses and CIDR networks that may connect; empty: any.")
    trusted_proxies: tuple[str, ...] = Field((), description="Proxies whose X-Forwarded-For is believed.")

    @model_validator(mode="after")
    def _tells_holders_apart(self) -> "Auth":
        names = [each.name for each in self.tokens]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"two tokens are called {repeated}")
        held: dict[str, str] = {self.token: "auth.token"} if self.token else {}
        for each in self.tokens:
            if each.token in held:
                raise ValueError(f"{each.name} and {held[each.token]} have the same token; each needs its own")
            held[each.token] = each.name
        return self

    @property
    def needed(self) -> bool:
        """Whether requests must carry a token."""
        return bool(self.token or self.tokens)


class Plugins(Section):
    """Capabilities of your own."""

    folders: tuple[Path, ...] = Field(
        (), description="Project folders whose tools/, modes/, queries/ and workflows/ are loaded too."
    )


_BUCKET = r"^(memory://|file:///.+|(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]+(/[^?#@\x00-\x1f]+)?)$"


def _check_clear(endpoint: str, allowed: bool) -> None:
    if endpoint.startswith("http://") and not allowed:
        raise ValueError("endpoint is http, which sends everything in the clear; set allow_http to allow that")


class Bucket(Section):
    """One more place for objects, beside the primary one."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="What it is called: unlike all others.")
    url: str = Field(pattern=_BUCKET, description="As storage.url.")
    endpoint: str = Field("", pattern=_ADDRESS, description="As storage.endpoint.")
    region: str = Field("", pattern=r"^[a-z0-9-]*$", description="As storage.region.")
    secret: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="The table of the secrets file with its credentials; empty: its name.",
    )
    allow_http: bool = Field(False, description="As storage.allow_http.")
    single_writer: bool = Field(False, description="As storage.single_writer.")
    timeout_secs: float | None = Field(None, gt=0, description="As storage.timeout_secs, which it is if not given.")

    @model_validator(mode="after")
    def _means_it(self) -> "Bucket":
        _check_clear(self.endpoint, self.allow_http)
        return self


class Storage(Section):
    """Where objects are kept."""

    url: str = Field(
        "",
        pattern=r"^(memory://|file:///.+|(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]+(/[^?#@\x00-\x1f]+)?)?$",
        description="file:///folder, memory://, s3://bucket/prefix, gs://, az://; empty: objects/ of the data folder.",
    )
    endpoint: str = Field("", pattern=_ADDRESS, description="A remote bucket's https://host:port; empty: the usual.")
    region: str = Field("", pattern=r"^[a-z0-9-]*$", description="The region of an s3:// bucket; empty: us-east-1.")
    allow_http: bool = Field(False, description="Let requests to an http:// endpoint go unencrypted.")
    secrets: Path = Field(Path(SECRETS), description="File of remote credentials; else the provider's own variables.")
    buckets: tuple[Bucket, ...] = Field((), description="More buckets, each with a catalog of its own.")
    rescue: str = Field("", description="The bucket that takes callers' objects while theirs fails; empty: none.")
    single_writer: bool = Field(False, description="Promise: only this data directory writes to the remote bucket.")
    timeout_secs: float = Field(10, gt=0, description="Seconds a remote bucket may leave a request unanswered.")
    max_put_bytes: int = Field(256 * MIB, ge=1, description="The largest object a caller may put.")
    max_vectors_put_bytes: int = Field(
        4 * GIB, ge=1, description="The largest object of a vector index that is filled in bulk."
    )
    upload_slots: int = Field(4, ge=1, description="Callers' uploads at once; one more is told to come back.")
    cache_bytes: int = Field(20 * GIB, ge=MIB, description="Bytes of local copies; larger datasets are read in place.")

    @model_validator(mode="after")
    def _means_it(self) -> "Storage":
        _check_clear(self.endpoint, self.allow_http)
        names = ["primary", *(bucket.name for bucket in self.buckets)]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"two buckets are called {repeated}")
        if self.rescue and self.rescue not in names:
            raise ValueError(f"rescue: there is no bucket {self.rescue}; there are: {', '.join(names)}")
        return self


class Ingest(Section):
    """Files that become datasets."""

    max_bytes: int = Field(256 * MIB, ge=1, description="The largest content that arrives inside a request.")
    max_path_bytes: int = Field(64 * GIB, ge=1, description="The largest file read from a local path.")
    max_cell_bytes: int = Field(16 * MIB, ge=KIB, description="The largest single CSV line or cell.")
    roots: tuple[Path, ...] = Field(
        (),
        description="Folders files may be read from over MCP; empty: the home directory but what is hidden.",
    )
    max_files: int = Field(1000, ge=1, description="Files that one folder or pattern may stand for.")
    url_hosts: tuple[Annotated[str, Field(pattern=r"^[\w.*:-]+$")], ...] = Field(
        (), description="Hosts whose URLs may be read, as data.example.com or *.example.com; empty: URLs are off."
    )
    url_http: bool = Field(False, description="Let URLs be http://, which anybody on the way can read and change.")
    max_url_bytes: int = Field(4 * GIB, ge=1, description="The largest file read from a URL.")
    internal_networks: tuple[str, ...] = Field(
        (),
        description="Networks, as 10.1.0.0/16, that URLs may lead to, and databases whose address comes over MCP or "
        "HTTP; all other internal addresses are refused.",
    )
    remote_timeout_secs: float = Field(
        60, gt=0, description="Seconds a web server or a database may leave a request unanswered."
    )
    memory_limit: str = Field(
        "512MB", pattern=_SIZE, description="Memory the reading engine may use before it spills to disk."
    )
    profiling: bool = Field(True, description="Profile each new version in the background, not when first asked for.")
    # 200 files of 1,000 rows take 25 ms to group where one takes 16.
    compact_files: int = Field(
        50, ge=2, description="Files of a dataset past which small ones are folded by themselves."
    )

    @field_validator("internal_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for network in given:
            ipaddress.ip_network(network)
        return given


class Datasets(Section):
    """How long older versions are kept. Nothing is removed but by `lakehouse gc`."""

    keep_versions: int = Field(0, ge=0, description="Newest versions `gc` keeps of each dataset; 0: no such limit.")
    keep_days: float = Field(
        0,
        ge=0,
        description="Days `gc` keeps a version after a newer one; 0: no such limit. A version goes when no limit keeps "
        "it; without any, all are kept.",
    )
    keep_dropped_days: float = Field(
        0, ge=0, description="Days after which `gc` removes what a dropped dataset held; 0: never."
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
    export_timeout_secs: float = Field(300, gt=0, description="Seconds the query of an export may run.")
    memory_limit: str = Field("1GB", pattern=_SIZE, description="Memory one query may use before it spills to disk.")
    max_spill_bytes: int = Field(GIB, ge=MIB, description="Disk one query process may spill to.")
    address_space: int = Field(
        3 * GIB, ge=2 * GIB, description="Address space of a query process, bytes (RLIMIT_AS): memory_limit and 2 GiB."
    )
    workers: int = Field(2, ge=1, le=16, description="Queries that run at once; the rest wait their turn.")
    slow_ms: int = Field(5000, ge=0, description="A query that takes so many milliseconds is logged; 0: none is.")
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
    keep_generations: int = Field(2, ge=0, le=100, description="Generations of an index kept beside the live one.")
    graph_rows: int = Field(
        10_000, ge=1, description="Vectors from which on a segment gets a graph; fewer are scanned."
    )
    compaction: bool = Field(True, description="Merge segments and build graphs in the background.")


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
    workers: int = Field(4, ge=1, le=8, description="Batches that a provider elsewhere is sent at a time.")

    @model_validator(mode="after")
    def _moves_on(self) -> "Corpora":
        if self.overlap >= self.max_chars:
            raise ValueError("overlap must be less than max_chars, or a chunk never ends")
        return self


class Observer(Section):
    """The record of calls."""

    ring_size: int = Field(1000, ge=1, description="Operations kept in memory.")
    keep_bytes: int = Field(
        0,
        ge=0,
        description="Bytes of JSON up to which a call's arguments and answer are kept whole, without credentials, so "
        "that a workflow can be made of it (workflow_from_ops); 0: only summaries are kept.",
    )


class Results(Section):
    """Results too large for one answer."""

    keep_secs: float = Field(24 * 3600, gt=0, description="Seconds a result handle stays readable.")
    max_bytes: int = Field(2 * GIB, ge=MIB, description="Bytes all handles take together; the oldest go first.")


class Export(Section):
    """Rows written to files."""

    max_bytes: int = Field(4 * GIB, ge=KIB, description="Bytes an exported file, and the rows for it, may have.")
    memory_limit: str = Field("512MB", pattern=_SIZE, description="Memory the writer of Parquet may use.")
    roots: tuple[Path, ...] = Field(
        (), description="Folders files may be written to over MCP; empty: the home directory but what is hidden."
    )


class Config(Section):
    """Every setting, one frozen section a part."""

    server: Server = Server()
    auth: Auth = Auth()
    plugins: Plugins = Plugins()
    storage: Storage = Storage()
    ingest: Ingest = Ingest()
    datasets: Datasets = Datasets()
    sql: Sql = Sql()
    vectors: Vectors = Vectors()
    embed: Embed = Embed()
    corpora: Corpora = Corpora()
    rerank: Rerank = Rerank()
    relevance: Relevance = Relevance()
    models: Models = Models()
    playbook: Playbook = Playbook()
    chat: Chat = Chat()
    workflows: Workflows = Workflows()
    observer: Observer = Observer()
    results: Results = Results()
    export: Export = Export()
