"""Remote buckets: what a failing service means, lost answers, the probe, listings that are not read whole."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from tests.doubles.fake_service import HANG, Asked, FakeService, Reply
from tests.doubles.s3 import KEY_ID, S3, SECRET, write_secrets

from lakehouse import config
from lakehouse.engine.bucket import Bucket, KeyExists, KeyNotFound
from lakehouse.errors import InvalidInput, Unavailable, Upstream

pytestmark = pytest.mark.anyio

REFUSAL = f"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId>{SECRET}</Error>".encode()
PAGE = b"<html><body>Welcome to the hotel. Log in with " + SECRET.encode() + b"</body></html>"
NOT_FOUND = Reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
TAKEN = Reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
VERBS: dict[str, Callable[[Bucket, Path], Awaitable[Any]]] = {
    "put": lambda b, p: b.put("k", b"x"),
    "create": lambda b, p: b.put("k", b"x", create=True),
    "put_file": lambda b, p: b.put_file("k", p, create=True),
    "get": lambda b, p: b.get("k"),
    "get_to": lambda b, p: b.get_to("k", p),
    "head": lambda b, p: b.head("k"),
    "list": lambda b, p: b.list(),
    "names": lambda b, p: b.names("folder/"),
}


def bucket_at(endpoint: str, folder: Path, url: str = "s3://things/below", **more: Any) -> Bucket:
    secrets = write_secrets(folder / "secrets.toml")
    settings = config.Storage(endpoint=endpoint, allow_http=True, secrets=secrets, **{"timeout_secs": 5} | more)
    return Bucket(url, settings=settings)


def is_probe(asked: Asked) -> bool:
    return "/_probe/" in unquote(asked.path)


def honest(asked: Asked, reply: Reply) -> Reply:
    """The reply, to anything but the two puts and the delete of a probe, which are answered as a sound store would."""
    if not is_probe(asked):
        return reply
    if asked.method == "PUT":
        return TAKEN if asked.body == b"second" else Reply()
    return Reply(204) if asked.method == "DELETE" else NOT_FOUND


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(403, REFUSAL), "access was refused .403"),
        (Reply(401, REFUSAL), "refused"),
        (Reply(500, REFUSAL), "answered 500"),
        (Reply(301, PAGE), "did not take the request"),
        (Reply(400, REFUSAL), "did not take the request"),
        (Reply(200, PAGE, {"Content-Type": "text/html"}), "no object store|answer was not that"),
        (Reply(404, b"<Error><Code>NoSuchBucket</Code></Error>"), "no bucket of that name"),
    ],
)
async def test_each_failure_says_what_to_do_and_the_next_call_works(tmp_path: Path, reply: Reply, words: str) -> None:
    """A-S8-6, A-S3-3: on every verb; a web page in the place of the store makes no bucket look empty."""
    sound = False
    with FakeService(lambda asked: honest(asked, Reply(200, b"whole")) if sound else reply) as service:
        for name, verb in VERBS.items():
            bucket, path = bucket_at(service.url, tmp_path, timeout_secs=1), tmp_path / "file"
            path.write_bytes(b"data")
            sound = False
            with pytest.raises(Upstream, match=words) as raised:
                await verb(bucket, path)
            said = str(raised.value) + repr(raised.value.__cause__)
            assert raised.value.fix and KEY_ID not in said and SECRET not in said, name
            sound = True
            assert await bucket.get("k") == b"whole"


async def test_nobody_there_and_nobody_who_answers(tmp_path: Path) -> None:
    """A dead endpoint and one that accepts and says nothing fail in seconds; the event loop goes on meanwhile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    with FakeService(lambda asked: HANG) as service:
        for endpoint in (dead, service.url):
            for verb in VERBS.values():
                path = tmp_path / "file"
                path.write_bytes(b"data")
                with pytest.raises(Upstream, match="cannot be reached, or does not answer"):
                    await verb(bucket_at(endpoint, tmp_path, timeout_secs=0.2), path)
        bucket, ticks = bucket_at(service.url, tmp_path, timeout_secs=60), 0
        service.hanging.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(50):  # more than there are threads for
                tasks.start_soon(bucket.get, "k")
            while not service.hanging.is_set():
                await anyio.sleep(0.001)
            for _ in range(20):
                ticks += await anyio.to_thread.run_sync(lambda: 1)  # others' threads are free, too
            tasks.cancel_scope.cancel()  # nobody waits for a read he gave up
        assert ticks == 20


async def test_real_refusals(rclone: S3, moto: S3, tmp_path: Path) -> None:
    """Wrong keys and a bucket that is not there, of real servers."""
    wrong = Bucket(
        url := rclone.place(), settings=rclone.settings(url, secrets=write_secrets(tmp_path / "s", KEY_ID, "wr0ng"))
    )
    absent = Bucket("s3://no-such-bucket", settings=moto.settings("s3://no-such-bucket"))
    for bucket, words in ((wrong, "access was refused"), (absent, "no bucket of that name")):
        for name, verb in VERBS.items():
            path = tmp_path / "file"
            path.write_bytes(b"data")
            with pytest.raises(Upstream, match=words) as raised:
                await verb(bucket, path)
            assert "wr0ng" not in str(raised.value), name
        with pytest.raises(Upstream, match=words):
            await bucket.delete("k")
    right = Bucket(url, settings=rclone.settings(url))
    await right.put("k", b"x")
    assert await right.get("k") == b"x"


async def test_a_store_that_overwrites_is_refused_for_several_writers(rclone: S3) -> None:
    """The probe: nothing is written, nothing of it stays, what is there can be read."""
    mine = Bucket(url := rclone.place(), settings=rclone.settings(url))
    await mine.put("k", b"there")
    shared = Bucket(url, settings=rclone.settings(url, single_writer=False))
    for write in (shared.put("new", b"x"), shared.put("new", b"x", create=True)):
        with pytest.raises(Unavailable) as raised:
            await write
        assert "storage.single_writer = true" in raised.value.fix
    assert await shared.get("k") == b"there"
    assert [o.key for o in (await shared.list()).objects] == ["k"]


async def test_a_store_that_keeps_conditions_is_tried_once(tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}

    def answer(asked: Asked) -> Reply:
        if asked.method == "PUT" and asked.headers.get("if-none-match") == "*" and asked.path in kept:
            return TAKEN
        if asked.method == "PUT":
            kept[asked.path] = asked.body
        elif asked.method == "DELETE":
            kept.pop(asked.path, None)
        return Reply(body=kept.get(asked.path, b""))

    with FakeService(answer) as service:
        bucket = bucket_at(service.url, tmp_path)
        await bucket.put("one", b"1", create=True)
        assert [asked.method for asked in service.asked] == ["PUT", "PUT", "DELETE", "PUT"]
        with pytest.raises(KeyExists):
            await bucket.put("one", b"2", create=True)
        await bucket.put("two", b"2", create=True)
    assert len([asked for asked in service.asked if is_probe(asked)]) == 3
    assert kept == {"/things/below/one": b"1", "/things/below/two": b"2"}


async def test_a_store_without_conditions_at_all(tmp_path: Path) -> None:
    with FakeService(lambda asked: Reply(501, b"<Error><Code>NotImplemented</Code></Error>")) as service:
        with pytest.raises(Unavailable, match="overwrites"):
            await bucket_at(service.url, tmp_path).put("k", b"x")


async def test_who_may_only_read_reads(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(403, b"<Error><Code>AccessDenied</Code></Error>") if asked.method == "PUT" else Reply(200, b"data")

    with FakeService(answer) as service:
        bucket = bucket_at(service.url, tmp_path)
        with pytest.raises(Upstream, match="access was refused"):
            await bucket.put("k", b"x")
        assert await bucket.get("k") == b"data"


@pytest.mark.parametrize(
    ("replies", "there", "outcome"),
    [
        ([Reply(500), TAKEN], b"mine", "stored"),
        ([Reply(503), Reply(500), Reply()], b"", "stored"),
        ([Reply(500), TAKEN], b"another's", "taken"),
        ([TAKEN], b"mine", "taken"),
        ([Reply(409), Reply()], None, "stored"),
        ([Reply(409)], b"another's", "taken"),
        ([Reply(409)] * 4, None, "failed"),
        ([Reply(500)] * 4, None, "failed"),
    ],
)
async def test_a_lost_answer_is_not_a_lost_commit(
    tmp_path: Path, replies: list[Reply], there: bytes | None, outcome: str
) -> None:
    """After a try whose end is not known, a taken key with the same contents is ours; a conflict over nothing is tried
    again."""
    left = list(replies)

    def answer(asked: Asked) -> Reply:
        if asked.method == "PUT" and not is_probe(asked):
            return left.pop(0)
        if asked.method == "GET" and "list-type" in asked.path:
            return Reply(body=LISTING)
        return honest(asked, NOT_FOUND if there is None else Reply(body=there))

    with FakeService(answer) as service:
        bucket = bucket_at(service.url, tmp_path)
        if outcome == "stored":
            await bucket.put("k", b"mine", create=True)
        else:
            with pytest.raises(KeyExists if outcome == "taken" else Upstream) as raised:
                await bucket.put("k", b"mine", create=True)
            assert isinstance(raised.value, KeyExists) is (outcome == "taken")
    assert left == []


LISTING = (
    b"""<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>
<NextContinuationToken>more</NextContinuationToken>"""
    + b"".join(
        b"<Contents><Key>below/a/%05d</Key><Size>1</Size><ETag>x</ETag><LastModified>2027-01-01T00:00:00.000Z</LastModified>"
        b"</Contents>" % n
        for n in range(1000)
    )
    + b"</ListBucketResult>"
)


async def test_a_long_listing_is_read_as_far_as_it_is_wanted(tmp_path: Path) -> None:
    """The store is told where to begin, and is not asked for what comes after the end."""
    with FakeService(lambda asked: Reply(body=LISTING)) as service:
        bucket = bucket_at(service.url, tmp_path)
        first = await bucket.list("a/", limit=10)
        assert (len(first.objects), first.next) == (10, "a/00009")
        few = await bucket.list("a/0000")
        assert [o.key for o in few.objects] == [f"a/0000{n}" for n in range(10)]
        assert (await bucket.list("a/", after="a/00500", limit=2)).next == "a/00502"
        assert len(service.asked) == 3
        assert "start-after=below%2Fa%2F00500" in service.asked[2].path
        assert all("prefix=below%2Fa%2F" in asked.path for asked in service.asked)


async def test_the_settings_go_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the file are not mixed with a session of the environment; without a file those are used."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIDOFENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "other"),
        ("AWS_SESSION_TOKEN", "session"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(name, value)
    with FakeService(lambda asked: Reply(body=b"data")) as service:
        assert await bucket_at(service.url, tmp_path, region="eu-south-1").get("k") == b"data"
        given = service.asked[0].headers
        assert f"Credential={KEY_ID}/" in given["authorization"] and "/eu-south-1/s3/" in given["authorization"]
        assert "x-amz-security-token" not in given
        (tmp_path / "secrets.toml").write_text("", encoding="utf-8")
        plain = config.Storage(endpoint=service.url, allow_http=True, secrets=tmp_path / "secrets.toml")
        assert await Bucket("s3://things", settings=plain).get("k") == b"data"
        given = service.asked[1].headers
        assert "Credential=AKIDOFENVIRONMENT/" in given["authorization"]
        assert given["x-amz-security-token"] == "session"


@pytest.mark.parametrize(
    ("url", "table", "condition"),
    [
        ("gs://things/below", '[gs.primary]\nbearer_token = "tok3n"', ("x-goog-if-generation-match", "0")),
        ("az://things/below", '[az.primary]\naccount_name = "me"\naccount_key = "dG9rM24="', ("if-none-match", "*")),
    ],
)
async def test_google_and_azure(tmp_path: Path, url: str, table: str, condition: tuple[str, str]) -> None:
    """The URL is understood, the endpoint asked with the file's credentials, conditions sent, failures translated."""
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(table, encoding="utf-8")
    works = False
    with FakeService(lambda asked: honest(asked, Reply(201)) if works else Reply(403, b"tok3n dG9rM24=")) as service:
        settings = config.Storage(endpoint=service.url, allow_http=True, secrets=secrets, timeout_secs=5)
        bucket = Bucket(url, settings=settings)
        assert bucket.kind == url[:2] and bucket.remote and bucket.root is None
        for name, verb in VERBS.items():
            path = tmp_path / "file"
            path.write_bytes(b"data")
            with pytest.raises(Upstream, match="access was refused") as raised:
                await verb(bucket, path)
            assert "tok3n" not in str(raised.value) and "dG9" not in str(raised.value), name
        works = True
        await bucket.put("k", b"x", create=True)
    assert unquote(service.asked[-1].path) == "/things/below/k"
    assert service.asked[-1].headers[condition[0]] == condition[1]
    assert "authorization" in service.asked[-1].headers


async def test_no_credentials_and_no_account(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.toml"
    secrets.write_text("", encoding="utf-8")
    with pytest.raises(Unavailable, match="storage account") as raised:
        await Bucket("az://things", settings=config.Storage(secrets=secrets)).get("k")
    assert "AZURE_STORAGE_ACCOUNT_NAME" in raised.value.fix
    secrets.write_text('[az.primary]\naccount_name = "me"\naccount_key = "!not base64!"', encoding="utf-8")
    with pytest.raises(Unavailable, match="cannot be used") as raised:
        await Bucket("az://things", settings=config.Storage(secrets=secrets)).get("k")
    assert "base64" not in str(raised.value)


async def test_keys_that_are_mended_are_taken_at_the_next_call(tmp_path: Path) -> None:
    with FakeService(lambda asked: Reply(body=b"data")) as service:
        bucket = bucket_at(service.url, tmp_path)
        (tmp_path / "secrets.toml").write_text('[s3.primary]\naccess_key_id = "AKID"', encoding="utf-8")
        with pytest.raises(InvalidInput, match="secret_access_key is missing"):
            await bucket.get("k")
        write_secrets(tmp_path / "secrets.toml")
        assert await bucket.get("k") == b"data"


async def test_a_missing_key_is_no_missing_bucket(moto: S3) -> None:
    settings = moto.settings()
    with pytest.raises(KeyNotFound):
        await Bucket(settings.url, settings=settings).head("nothing")
    await Bucket(settings.url, settings=settings).delete("nothing")
