"""The whole path with the data in S3: a table, rows, a search, a new process, a new machine; and a store that fails."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.fake_service import HANG, Asked, FakeService, Reply
from tests.doubles.s3 import KEY_ID, S3, SECRET, write_secrets
from tests.e2e.test_wire import wire

import lakehouse
from lakehouse import Upstream

JOBS = "code,title,about\n53-7051.00,Forklift driver,Moves pallets\n29-1141.00,Nurse,Cares for the sick\n"
Run = Callable[..., Any]


@pytest.fixture
def run(command: list[str]) -> Run:
    def shell(home: Path, variables: dict[str, str], *words: str) -> Any:
        ran = subprocess.run(
            [*command, "--home", str(home), "--json", *words],
            env=os.environ | {"LAKEHOUSE_EMBED__PROVIDER": "hash"} | variables,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=100,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return json.loads(ran.stdout)

    return shell


def test_everything_in_a_bucket(rclone: S3, run: Run, tmp_path: Path) -> None:
    """Ingest, SQL, corpora and search; each command is a process of its own; another home finds the same."""
    variables = rclone.variables()
    (tmp_path / "jobs.csv").write_text(JOBS, encoding="utf-8")
    here, there = tmp_path / "here", tmp_path / "there"
    ingested = run(here, variables, "ingest", str(tmp_path / "jobs.csv"), "--name", "jobs")
    assert ingested["row_count"] == 2
    run(here, variables, "corpora", "build", "jobs", "--dataset", "jobs", "--text", "title,about", "--id", "code")
    run(here, variables, "storage", "put", "notes/today.txt", "--text", "hello")
    for home in (here, there):
        rows = run(home, variables, "sql", "SELECT code, title FROM jobs ORDER BY code")["rows"]
        assert rows == [["29-1141.00", "Nurse"], ["53-7051.00", "Forklift driver"]]
        hits = run(home, variables, "search", "Forklift driver", "--corpora", "jobs", "-k", "2")["results"]
        assert {hit["id"] for hit in hits} == {"29-1141.00", "53-7051.00"}
        assert run(home, variables, "storage", "get", "notes/today.txt")["text"] == "hello"
        assert not (home / "objects").exists()
    listed = run(there, variables, "storage", "list", "--prefix", "notes/t")
    assert [entry["key"] for entry in listed["objects"]] == ["notes/today.txt"]
    run(there, variables, "storage", "delete", "notes/today.txt")
    assert run(here, variables, "storage", "list", "--prefix", "notes")["objects"] == []
    kinds = {key["key"].split("/")[0] for key in run(here, variables, "storage", "list")["objects"]}
    assert kinds == {"_catalog", "_journal", "_vectors", "datasets"}
    checks = {check["name"]: check for check in run(here, variables, "doctor")["checks"]}
    assert checks["storage"]["ok"] and "s3 bucket primary" in checks["storage"]["detail"]
    assert checks["secrets"]["ok"]


REFUSAL = f"""<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId>
<StringToSign>AWS4-HMAC-SHA256 {SECRET}</StringToSign></Error>""".encode()
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("storage_put", {"key": "k", "text": SECRET}),
    ("storage_get", {"key": SECRET}),
    ("storage_list", {"prefix": KEY_ID}),
    ("list_datasets", {}),
    ("query_sql", {"sql": f"SELECT '{SECRET}' FROM {KEY_ID}"}),
    ("create_index", {"name": "it", "dimension": 2}),
    ("matrix_search", {"query_text": SECRET, "corpora": ["it"]}),
    ("doctor", {}),
]


@pytest.mark.anyio
async def test_a_failing_store_leaks_nothing_in_python(home: Path, tmp_path: Path) -> None:
    """A-S8-6, A-S3-3: neither key id nor secret is in an error, a result or the record of calls."""
    secrets = write_secrets(tmp_path / "secrets.toml")
    for reply in (Reply(403, REFUSAL), Reply(500, REFUSAL), Reply(400, REFUSAL)):
        with FakeService(lambda asked, reply=reply: reply) as service:  # type: ignore[misc]
            overrides = {
                "storage.url": "s3://things/here",
                "storage.endpoint": service.url,
                "storage.allow_http": True,
                "storage.secrets": str(secrets),
                "storage.timeout_secs": 1.0,
                "embed.provider": "hash",
            }
            async with lakehouse.open(home, overrides=overrides) as lake:
                for name, arguments in CALLS[:-1]:
                    with pytest.raises(Upstream) as raised:
                        await lake.call(name, arguments)
                    said = str(raised.value) + json.dumps(raised.value.problem()) + repr(raised.value.__cause__)
                    assert KEY_ID not in said and SECRET not in said, (name, said)
                recent = json.dumps(await lake.call("observer_recent", {}))
                assert KEY_ID not in recent and SECRET not in recent
    nowhere(home)


def test_a_failing_store_leaks_nothing_at_the_faces(command: list[str], home: Path, tmp_path: Path) -> None:
    """A-S8-6 over MCP and in the shell; a file of credentials that others can read is told at the start (S3.6)."""
    secrets = write_secrets(tmp_path / "secrets.toml")
    secrets.chmod(0o644)
    with FakeService(lambda asked: Reply(403, REFUSAL)) as service:
        variables = {
            "LAKEHOUSE_STORAGE__URL": "s3://things/here",
            "LAKEHOUSE_STORAGE__ENDPOINT": service.url,
            "LAKEHOUSE_STORAGE__ALLOW_HTTP": "true",
            "LAKEHOUSE_STORAGE__SECRETS": str(secrets),
        }
        with wire(command, home, **variables) as server:
            server.shake_hands()
            for name, arguments in CALLS:
                answer = json.dumps(server.call(name, arguments))
                assert KEY_ID not in answer and SECRET not in answer, (name, answer)
                assert "access was refused" in answer, (name, answer)
            server.child.kill()
            assert server.child.stderr is not None
            said = server.child.stderr.read().decode()
            assert "storage.secrets_open" in said
            assert KEY_ID not in said and SECRET not in said
        for name, arguments in CALLS[:2]:
            ran = subprocess.run(
                [*command, "--home", str(home), "call", name, json.dumps(arguments)],
                env=os.environ | variables,
                capture_output=True,
                text=True,
                encoding="utf-8",
            )
            assert ran.returncode == Upstream.exit
            assert KEY_ID not in ran.stdout + ran.stderr and SECRET not in ran.stdout + ran.stderr
    nowhere(home)


def nowhere(home: Path) -> None:
    """No file of a data directory holds a credential."""
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY_ID.encode() not in content and SECRET.encode() not in content, path


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_a_command_whose_bucket_does_not_answer(command: list[str], home: Path) -> None:
    """Reads and writes; what was asked of the bucket is not waited for."""
    variables = {
        "LAKEHOUSE_STORAGE__URL": "s3://things/here",
        "LAKEHOUSE_STORAGE__ALLOW_HTTP": "true",
        "LAKEHOUSE_STORAGE__TIMEOUT_SECS": "600",
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    for line in (["storage.list"], ["storage.put", '{"key": "a", "text": "b"}']):
        asked = threading.Event()

        def answer(request: Asked, asked: threading.Event = asked) -> Reply:
            asked.set()
            return HANG

        with (
            FakeService(answer) as service,
            subprocess.Popen(
                [*command, "--home", str(home), "call", *line],
                env=os.environ | variables | {"LAKEHOUSE_STORAGE__ENDPOINT": service.url},
                stdout=subprocess.PIPE,
            ) as child,
        ):
            try:
                assert asked.wait(60)
                child.send_signal(signal.SIGINT)
                assert child.wait(60) == 130
            finally:
                child.kill()
