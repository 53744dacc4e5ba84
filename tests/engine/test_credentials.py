"""The secrets file: what it may hold, what is said about a bad one, and that nothing of it is quoted."""

import os
from pathlib import Path

import pytest

from lakehouse import config
from lakehouse.engine import credentials
from lakehouse.engine.bucket import PRIMARY
from lakehouse.engine.redact import redactor_for, secret_variables
from lakehouse.errors import InvalidInput, Unavailable

KEY = "hunter2-and-more"
BOTH = f'access_key_id = "AKID1234"\nsecret_access_key = "{KEY}"'


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_bucket_finds_its_credentials(tmp_path: Path) -> None:
    """S3.4: one table per bucket, `primary` for the main one."""
    found = credentials.read(written(tmp_path / "s", f"[s3.{PRIMARY}]\n{BOTH}\nsession_token = 'tok3n'"))
    assert found.of("s3", PRIMARY) == {
        "access_key_id": "AKID1234",
        "secret_access_key": KEY,
        "session_token": "tok3n",
    }
    assert found.of("gs", PRIMARY) == {}
    assert set(found.values()) == {"AKID1234", KEY, "tok3n"}


def test_an_unknown_bucket_is_named(tmp_path: Path) -> None:
    """A-S3-4"""
    found = credentials.read(written(tmp_path / "s", f"[s3.primry]\n{BOTH}"))
    with pytest.raises(InvalidInput, match="'primary'") as raised:
        found.of("s3", PRIMARY)
    assert "primry" in raised.value.fix


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"[s3.primary\n{BOTH}", "is not TOML"),
        (f'[s3.primary]\nsecret_access_key = "{KEY}\n', "is not TOML"),
        (f'[s3.primary]\nsecret_access_key = "{KEY}"', "access_key_id is missing"),
        (f"[s4.primary]\n{BOTH}", r"no kind \[s4\]"),
        (f"[s3]\n{BOTH}", "not made of tables"),
        (f"s3 = '{KEY}'", "not made of tables"),
        (f"[s3.primary]\n{BOTH}\nsesion_token = 'x'", "has no sesion_token"),
        (f"[s3.primary]\n{BOTH}\nsession_token = 3", "session_token must be a text"),
        ("[s3.primary]\naccess_key_id = ''\nsecret_access_key = 'x'", "access_key_id must be a text"),
    ],
)
def test_a_bad_file_is_explained_and_not_quoted(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as raised:
        credentials.read(written(tmp_path / "s", text))
    assert raised.value.fix
    assert KEY not in str(raised.value) and "AKID1234" not in str(raised.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one need not be."""
    with pytest.raises(Unavailable, match="there is no file"):
        credentials.read(tmp_path / "absent")
    monkeypatch.setattr(credentials, "SECRETS", str(tmp_path / "absent"))
    assert credentials.read(tmp_path / "absent").of("s3", PRIMARY) == {}
    with pytest.raises(Unavailable, match="cannot be read"):
        credentials.read(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
@pytest.mark.parametrize(("mode", "readable"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_the_mode_is_looked_at(tmp_path: Path, mode: int, readable: bool) -> None:
    """S3.6"""
    path = written(tmp_path / "s", f"[s3.primary]\n{BOTH}")
    path.chmod(mode)
    assert credentials.read(path).readable is readable


def test_what_the_file_holds_is_cut_out_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S3-3: both halves, and those of the environment; paths and account names are no secrets."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFENVIRONMENT")
    path = written(tmp_path / "s", f"[s3.primary]\n{BOTH}\n[az.primary]\naccount_name = 'myaccount'")
    storage = config.Storage(url="s3://things", secrets=path)
    clean = redactor_for(config.Config(storage=storage)).whole
    assert clean(f"AKID1234 {KEY} AKIDOFENVIRONMENT myaccount") == "[redacted] [redacted] [redacted] myaccount"
    path.unlink()
    assert redactor_for(config.Config(storage=storage)).whole(KEY) == KEY


def test_variables_that_settings_take_credentials_from() -> None:
    """Those they name, our own tokens, and what the libraries of the buckets in use look for."""
    plain = secret_variables(config.Config())
    assert plain == {"LAKEHOUSE_AUTH__TOKEN", "LAKEHOUSE_AUTH__TOKENS"}
    settings = config.Config(
        embed=config.Embed(api_key_env="My_Key"),
        chat=config.Chat(api_key_env="CHAT"),
        storage=config.Storage(buckets=(config.Bucket(name="more", url="s3://more"),)),
    )
    found = secret_variables(settings)
    assert {"MY_KEY", "CHAT", "AWS_SECRET_ACCESS_KEY"} < found
    assert "AZURE_STORAGE_ACCOUNT_KEY" not in found
