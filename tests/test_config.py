"""Settings: layers, where each value comes from, and what stops a start."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lakehouse import config
from lakehouse.errors import InvalidInput
from lakehouse.sources import default_home, plugin_folders


def read(home: Path, text: str = "", environ: dict[str, str] | None = None, **overrides: Any) -> config.Settings:
    home.mkdir(parents=True, exist_ok=True)
    if text:
        (home / "lakehouse.toml").write_text(text, encoding="utf-8")
    return config.read(home, overrides={k.replace("__", "."): v for k, v in overrides.items()}, environ=environ or {})


def test_defaults(home: Path) -> None:
    """Without a file everything has a value, and all of them are defaults."""
    settings = config.read(home, environ={})
    assert settings.config == config.Config()
    assert settings.file is None
    assert {row["origin"] for row in config.listing(settings)} == {"default"}
    assert settings.config.embed.provider == "bundled"
    assert settings.config.ingest.max_bytes == 268_435_456
    assert settings.config.sql.refresh_every == "30s"
    assert settings.config.ingest.max_path_bytes == 64 * 2**30
    assert settings.config.embed.ollama_url == "http://127.0.0.1:11434"
    assert (settings.config.embed.cache_size, settings.config.embed.batch_timeout_secs) == (10_000, 60)


def test_layers_and_where_each_value_comes_from(home: Path) -> None:
    """A-S3-2, the good case: file under variables under flags."""
    text = "[sql]\nmax_rows = 1\nworkers = 3\ntimeout_secs = 7\n"
    environ = {"LAKEHOUSE_SQL__MAX_ROWS": "2", "LAKEHOUSE_SQL__WORKERS": "4"}
    settings = read(home, text, environ, sql__max_rows=5)
    sql = settings.config.sql
    assert (sql.max_rows, sql.workers, sql.timeout_secs) == (5, 4, 7.0)
    origins = {row["setting"]: row["origin"] for row in config.listing(settings)}
    assert origins["sql.max_rows"] == "--max-rows"
    assert origins["sql.workers"] == "LAKEHOUSE_SQL__WORKERS"
    assert origins["sql.timeout_secs"] == str(home / "lakehouse.toml")
    assert origins["sql.max_bytes"] == "default"


def test_settings_are_frozen(home: Path) -> None:
    settings = config.read(home, environ={})
    with pytest.raises(ValidationError):
        settings.config.sql.max_rows = 1  # type: ignore[misc]


BAD = {
    "an unknown key": ("[sql]\nmax_row = 1\n", "sql.max_row", "Did you mean max_rows?"),
    "an unknown section": ("[squl]\nmax_rows = 1\n", "squl", "Did you mean sql?"),
    "nothing near": ("[sql]\nzzz = 1\n", "sql.zzz", "Known here: max_sql_bytes,"),
    "text for a number": ('[sql]\nmax_rows = "many"\n', "sql.max_rows", "lakehouse config"),
    "a number in quotes": ('[sql]\nmax_rows = "10"\n', "sql.max_rows", "lakehouse config"),
    "a truth value for a number": ("[sql]\nmax_rows = true\n", "sql.max_rows", "lakehouse config"),
    "a number for a truth value": ("[server]\nread_only = 1\n", "server.read_only", "lakehouse config"),
    "out of range": ("[sql]\nworkers = 0\n", "sql.workers", "lakehouse config"),
    "a malformed URL": ('[embed]\nollama_url = "localhost"\n', "embed.ollama_url", "lakehouse config"),
    "a bucket of another kind": ('[storage]\nurl = "ftp://x"\n', "storage.url", "lakehouse config"),
    "a bucket on another host": ('[storage]\nurl = "file://objects"\n', "storage.url", "lakehouse config"),
    "no size": ('[sql]\nmemory_limit = "lots"\n', "sql.memory_limit", "lakehouse config"),
    "an unknown toolset": ('[server]\ntoolsets = ["cor"]\n', "server.toolsets", "lakehouse config"),
    "a text for a list": ('[server]\ntoolsets = "core"\n', "server.toolsets", "lakehouse config"),
    "a section that is a value": ("sql = 3\n", "sql", "Write [sql]"),
    "not a number": ("[sql]\ntimeout_secs = nan\n", "sql.timeout_secs", "lakehouse config"),
    "settings that contradict": ("[corpora]\nmax_chars = 200\noverlap = 200\n", "corpora", "lakehouse config"),
    "no TOML": ("[sql\n", "lakehouse.toml", "Mend the file"),
}


@pytest.mark.parametrize(("text", "key", "fix"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_stops_the_start(home: Path, text: str, key: str, fix: str) -> None:
    """A-S3-2. The message names the file and the key."""
    with pytest.raises(InvalidInput) as raised:
        read(home, text)
    assert key in raised.value.detail
    assert str(home / "lakehouse.toml") in raised.value.detail
    assert fix in raised.value.fix


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("LAKEHOUSE_SQL__MAX_ROWS", "many", "sql.max_rows"),
        ("LAKEHOUSE_SQL__MAX_ROW", "1", "sql.max_row"),
        ("LAKEHOUSE_SQUL__MAX_ROWS", "1", "squl"),
        ("LAKEHOUSE_EMBED__PROVIDER", "openai", "embed.provider"),
        ("LAKEHOUSE_EMBED__OLLAMA_URL", "nowhere", "embed.ollama_url"),
        ("LAKEHOUSE_SQL_MAX_ROWS", "1", "LAKEHOUSE_SQL__MAX_ROWS"),
        ("LAKEHOUSE_SQL__REFRESH_EVERY", "often", "sql.refresh_every"),
        ("LAKEHOUSE_INGEST__ROOTS", '["/a', "ingest.roots"),
    ],
)
def test_a_bad_variable_stops_the_start(home: Path, name: str, value: str, key: str) -> None:
    """A-S3-2. One underscore where two belong is told, too: it would silently do nothing."""
    with pytest.raises(InvalidInput) as raised:
        read(home, environ={name: value})
    assert name in raised.value.detail
    assert key in str(raised.value)


def test_a_list_in_a_variable_may_be_written_as_in_the_file(home: Path) -> None:
    """Else the brackets and quotes would be part of a folder's name, and nothing would say so."""
    for text in ('["/a", "/b"]', "/a, /b"):
        settings = read(home, environ={"LAKEHOUSE_INGEST__ROOTS": text})
        assert settings.config.ingest.roots == (Path("/a"), Path("/b"))
        assert plugin_folders(home, None, {"LAKEHOUSE_PLUGINS__FOLDERS": text}) == [Path("/a"), Path("/b")]


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("250ms", 0.25), ("1.5m", 90), ("2h", 7200)])
def test_a_time_span_has_a_unit(home: Path, text: str, seconds: float) -> None:
    assert config.read(home, environ={"LAKEHOUSE_SQL__REFRESH_EVERY": text}).config.sql.refresh_secs == seconds


def test_variables_are_read_by_their_settings_type(home: Path) -> None:
    settings = read(
        home,
        environ={
            "LAKEHOUSE_SERVER__READ_ONLY": "true",
            "LAKEHOUSE_SERVER__TOOLSETS": "core, sql,",
            "LAKEHOUSE_SQL__TIMEOUT_SECS": "2.5",
            "LAKEHOUSE_EMBED__MODEL": "7",
            "LAKEHOUSE_TEST_DATA": "another program's business",
        },
    )
    assert settings.config.server.read_only is True
    assert settings.config.server.toolsets == ("core", "sql")
    assert settings.config.sql.timeout_secs == 2.5
    assert settings.config.embed.model == "7"


def test_relative_folders(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file they are meant from the file, in variables and flags from the working directory; ~ is the user's."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    text = '[plugins]\nfolders = ["mine", "/absolute", "~/theirs"]\n'
    settings = read(home, text, {"LAKEHOUSE_INGEST__ROOTS": "in,~/more"}, corpora__folders=["docs"])
    assert settings.config.plugins.folders == (home / "mine", Path("/absolute"), tmp_path / "me" / "theirs")
    assert settings.config.ingest.roots == (tmp_path / "work" / "in", tmp_path / "me" / "more")
    assert settings.config.corpora.folders == (tmp_path / "work" / "docs",)


def test_which_file(home: Path, tmp_path: Path) -> None:
    """--config, else LAKEHOUSE_CONFIG, else the one in the data directory."""
    read(home, "[sql]\nmax_rows = 1\n")
    for name, rows in (("flag.toml", 2), ("variable.toml", 3)):
        (tmp_path / name).write_text(f"[sql]\nmax_rows = {rows}\n", encoding="utf-8-sig")
    environ = {"LAKEHOUSE_CONFIG": str(tmp_path / "variable.toml")}
    assert config.read(home, environ={}).config.sql.max_rows == 1
    assert config.read(home, environ=environ).config.sql.max_rows == 3
    assert config.read(home, tmp_path / "flag.toml", environ=environ).config.sql.max_rows == 2


def test_a_named_file_must_be_there(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.toml") as raised:
        config.read(home, tmp_path / "absent.toml", environ={})
    assert "lakehouse init" in raised.value.fix
    with pytest.raises(InvalidInput, match="cannot be read"):
        config.read(home, tmp_path, environ={})


def test_the_working_directory_is_never_read(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MCP hosts start servers inside repositories of strangers."""
    (tmp_path / "lakehouse.toml").write_text("[sql]\nmax_rows = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = config.read(home, environ={})
    assert settings.file is None
    assert settings.config.sql.max_rows == 10_000


def test_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag, else LAKEHOUSE_HOME of the given environment, else the user's data folder."""
    given = {"LAKEHOUSE_HOME": str(tmp_path / "variable")}
    assert config.read(tmp_path / "flag", environ=given).home == tmp_path / "flag"
    assert config.read(environ=given).home == tmp_path / "variable"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert default_home({}).name == "lakehouse"


def test_a_password_in_a_url_is_not_shown(home: Path) -> None:
    settings = read(home, '[embed]\nollama_url = "http://me:secret@host:1/x"\n')
    assert "secret" in settings.config.embed.ollama_url
    shown = {row["setting"]: row["value"] for row in config.listing(settings)}
    assert shown["embed.ollama_url"] == "http://host:1/x"


def test_every_setting_says_what_it_means(home: Path) -> None:
    for row in config.listing(config.read(home, environ={})):
        assert row["meaning"].endswith("."), row["setting"]


def test_no_setting_without_effect() -> None:
    """Each setting is read somewhere outside lakehouse.config."""
    own = Path(config.__file__).parent
    files = [p for p in own.parent.rglob("*.py") if not p.is_relative_to(own)]
    source = "\n".join(p.read_text(encoding="utf-8") for p in files)
    for section, field in config.Config.model_fields.items():
        assert field.annotation
        for key in field.annotation.model_fields:
            assert f".{key}" in source, f"nothing reads {section}.{key}"


def test_reading_leaves_the_environment_alone(home: Path) -> None:
    before = dict(os.environ)
    read(home, "[sql]\nmax_rows = 1\n")
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("section", "ok"),
    [
        ({"url": "s3://bucket"}, True),
        ({"url": "s3://my.bucket-1/a/pre fix"}, True),
        ({"url": "gs://bucket/a", "endpoint": "https://storage.example:4443/x"}, True),
        ({"url": "az://container"}, True),
        ({"url": "s3://key:secret@bucket"}, False),
        ({"url": "s3://bucket?endpoint=x"}, False),
        ({"url": "s3://"}, False),
        ({"url": "ftp://bucket"}, False),
        ({"endpoint": "http://127.0.0.1:9000", "allow_http": True}, True),
        ({"endpoint": "http://127.0.0.1:9000"}, False),
        ({"endpoint": "https://me:secret@host"}, False),
        ({"endpoint": "https://höst"}, False),
        ({"endpoint": "not a url"}, False),
        ({"region": "eu west"}, False),
    ],
)
def test_where_a_remote_bucket_may_be(tmp_path: Path, section: dict[str, object], ok: bool) -> None:
    """A-S3-2: a malformed address stops the start with the key's name; credentials do not belong in one."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in section.items()]
    (tmp_path / "lakehouse.toml").write_text("\n".join(["[storage]", *lines]), encoding="utf-8")
    if ok:
        assert config.read(tmp_path, environ={}).config.storage.model_dump().items() >= section.items()
        return
    with pytest.raises(InvalidInput, match="storage") as raised:
        config.read(tmp_path, environ={})
    assert "secret" not in str(raised.value)


def test_the_secrets_file_is_meant_from_where_the_settings_lie(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text('[storage]\nsecrets = "mine/secrets.toml"', encoding="utf-8")
    assert config.read(tmp_path, environ={}).config.storage.secrets == tmp_path / "mine" / "secrets.toml"
    given = {"LAKEHOUSE_STORAGE__SECRETS": "~/secrets.toml"}
    assert config.read(tmp_path, environ=given).config.storage.secrets == Path.home() / "secrets.toml"
    assert config.Storage().secrets == Path(config.SECRETS)


def test_names_of_earlier_systems(home: Path) -> None:
    """They are variables like our own, which win over them; empty is not set; nonsense stops a start."""
    environ = {"LH_RELEVANCE_THRESHOLD": "0.7", "LH_RELEVANCE_FILTER": "OFF", "LH_FORCE_FULL_ENRICHMENT": "true"}
    settings = read(home, "", environ)
    assert (settings.config.relevance.threshold, settings.config.relevance.filter) == (0.7, False)
    assert settings.config.models.force_full_enrichment is True
    assert settings.origins["relevance.filter"] == "LH_RELEVANCE_FILTER"
    ours = read(home, "", environ | {"LAKEHOUSE_RELEVANCE__THRESHOLD": "0.1", "LH_RELEVANCE_FILTER": " "})
    assert (ours.config.relevance.threshold, ours.config.relevance.filter) == (0.1, True)
    for name in environ:
        with pytest.raises(InvalidInput, match=name):
            read(home, "", {name: "perhaps"})
    with pytest.raises(InvalidInput, match="threshold"):
        read(home, "", {"LH_RELEVANCE_THRESHOLD": "nan"})
