"""What goes over a connection comes out as it went in, and what is no frame of ours harms nobody."""

import datetime
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.attach import Asked, Attachment, Reception, UnknownCapability, connect, guest, line, wire
from lakehouse.errors import Busy, InvalidInput, LakehouseError, NotFound, TooLarge
from lakehouse.observe import Caller, Progress, no_progress
from lakehouse.transfer import Upload

pytestmark = pytest.mark.anyio
ERRORS = [getattr(lakehouse, name) for name in lakehouse.__all__ if isinstance(getattr(lakehouse, name), type)]
KINDS = [kind for kind in ERRORS if issubclass(kind, LakehouseError)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class KeyNotFound(NotFound):
    """A class without a code of its own."""


async def echo(request: Asked, progress: Progress) -> tuple[Any, bytes]:
    """Answers with what was asked for; `wait` never."""
    if request.name == "wait":
        await progress(1, None, "begun")
        await anyio.sleep_forever()
    return request.arguments, b""


@asynccontextmanager
async def reception(home: Path, answer: Any = echo, grace: float = 0) -> AsyncIterator[str]:
    """The address of a host."""
    home.mkdir(exist_ok=True)
    host = Reception(home, answer, {"pid": 1, "command": "test"}, str)
    address = await host.open()
    try:
        yield address
    finally:
        await host.aclose(grace)


async def attached(address: str) -> Attachment:
    found = await connect(address)
    assert found is not None
    return found


def asked(name: str = "echo", arguments: Any = None) -> Asked:
    return Asked(name, arguments, Caller())


@pytest.mark.slow
@given(JSON)
@settings(max_examples=50)
def test_arguments_arrive_as_they_were(value: Any) -> None:
    caller = Caller("mcp", True, True, frozenset({"core", "sql"}), "/somewhere")
    request = Asked("a.b", {"value": value}, caller, Upload(path=Path("/x"), size=3, filename="y", media_type="z"), 7)
    assert wire.unpacked(wire.packed(request)) == request


def test_numbers_json_does_not_have_arrive_too() -> None:
    """They are refused, or not, in the same words as where the capability runs."""
    found = wire.unpacked(wire.packed(asked(arguments=[math.nan, math.inf, -math.inf, 10**30]))).arguments
    assert math.isnan(found[0]) and found[1:] == [math.inf, -math.inf, 10**30]


def test_python_values_arrive_as_json_has_them() -> None:
    given = {"path": Path("/a/b"), "day": datetime.date(2026, 1, 2), "pair": (1, 2), "half": "cut \ud83d"}
    found = wire.unpacked(wire.packed(asked(arguments=given))).arguments
    assert found == {"path": "/a/b", "day": "2026-01-02", "pair": [1, 2], "half": "cut ?"}


def test_what_json_cannot_hold_is_told() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for wrong in (object(), loop, b"\xff"):
        with pytest.raises(InvalidInput, match="cannot be sent"):
            wire.packed(asked(arguments={"value": wrong}))


def test_more_than_a_frame_holds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 1000)
    with pytest.raises(TooLarge, match="at most 1000"):
        wire.packed(asked(arguments="x" * 1000))


@pytest.mark.parametrize("kind", KINDS)
def test_errors_arrive_with_all_they_say(kind: type[LakehouseError]) -> None:
    error = kind("what", fix="then", data={"line": 3, "odd": {1}})
    error.__cause__ = ValueError("hunter2 behind it")
    found = wire.raised(wire.problem(error, lambda text: text.replace("hunter2", "[redacted]")))
    assert type(found) is kind
    assert (found.detail, found.fix, found.data["line"]) == ("what", "then", 3)
    assert str(found.__cause__) == "ValueError: [redacted] behind it"


def test_a_subclass_arrives_as_the_class_of_its_code() -> None:
    found = wire.raised(wire.problem(KeyNotFound("no k."), str))
    assert type(found) is NotFound and found.code == "not_found" and found.__cause__ is None
    assert type(wire.raised(wire.problem(UnknownCapability("no x."), str))) is UnknownCapability
    busy = wire.raised(wire.problem(Busy("full.", retry_after=17), str))
    assert isinstance(busy, Busy) and busy.problem()["retry_after"] == 17


def spoken(address: str, *parts: bytes, until_end: bool = True) -> bytes:
    """Raw bytes to the host, past any client of ours; what it says after its hello."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(address.removeprefix("unix:"))
        hello = raw.recv(5)
        raw.recv(int.from_bytes(hello[:4], "big"), socket.MSG_WAITALL)
        assert hello[4:] == wire.HELLO
        said = b""
        try:
            for part in parts:
                raw.sendall(part)
            if not until_end:
                raw.shutdown(socket.SHUT_WR)
            while got := raw.recv(65536):
                said += got
        except ConnectionError:
            pass
    return said


def frame(kind: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + kind + payload


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b'{"name": 1, "arguments": {}, "caller": {}}',
        b'{"name": "echo", "caller": {}}',
        b'{"name": "echo", "arguments": {}, "caller": {"toolsets": 7}}',
        b'{"name": "echo", "arguments": {}, "caller": {}, "limit": "many"}',
        b'{"name": "echo", "arguments": ' + b"[" * 5000 + b"]" * 5000 + b', "caller": {}}',
    ],
)
async def test_a_malformed_request_is_answered_as_such(home: Path, payload: bytes) -> None:
    async with reception(home) as address:
        ask = frame(wire.ASK, payload)
        said = await anyio.to_thread.run_sync(lambda: spoken(address, ask, until_end=False))
        assert said[4:5] == wire.PROBLEM and wire.raised(said[5:]).code == "invalid_request"
        guest = await attached(address)
        assert (await guest.call(asked(arguments=1), no_progress))[0] == 1
        await guest.aclose()


async def test_a_frame_over_the_limit_is_refused_and_not_read(home: Path) -> None:
    async with reception(home) as address:
        for size in (line.MAX_FRAME + 1, 2**32 - 1):
            head = size.to_bytes(4, "big") + wire.ASK
            said = await anyio.to_thread.run_sync(spoken, address, head)
            assert said[4:5] == wire.PROBLEM and wire.raised(said[5:]).code == "too_large"


async def test_who_speaks_out_of_turn_is_dropped(home: Path) -> None:
    ask = frame(wire.ASK, wire.packed(asked("wait")))
    async with reception(home) as address:
        assert await anyio.to_thread.run_sync(spoken, address, frame(b"?", b"")) == b""
        # A second request while the first one runs ends both.
        said = await anyio.to_thread.run_sync(spoken, address, ask, ask)
        assert said == b"" or said[4:5] == wire.PROGRESS
        guest = await attached(address)
        assert (await guest.call(asked(arguments=1), no_progress))[0] == 1
        await guest.aclose()


@pytest.mark.slow
@given(st.lists(st.binary(max_size=40), max_size=5))
@settings(max_examples=30)
def test_rubbish_harms_nobody(parts: list[bytes]) -> None:
    import tempfile

    async def meet() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with reception(Path(folder)) as address:
                await anyio.to_thread.run_sync(lambda: spoken(address, *parts, until_end=False))
                guest = await attached(address)
                assert (await guest.call(asked(arguments=1), no_progress))[0] == 1
                await guest.aclose()

    anyio.run(meet)


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home whose path is too long for a socket."""
    monkeypatch.setattr("lakehouse.attach.host.MAX_SOCKET_PATH", 1)


async def test_over_tcp_nothing_is_answered_without_the_secret(home: Path, no_socket: None) -> None:
    async with reception(home) as address:
        kind, port, secret = address.split(":")
        assert kind == "tcp" and len(secret) == 32 and not list(home.iterdir())

        def heard(*parts: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", int(port))) as raw:
                raw.settimeout(30)
                try:
                    for part in parts:
                        raw.sendall(part)
                    raw.shutdown(socket.SHUT_WR)
                    return raw.recv(1000)
                except TimeoutError:
                    raise
                except OSError:
                    return b""

        ask = frame(wire.ASK, wire.packed(asked(arguments=1)))
        wrong = "0" * 32 if secret != "0" * 32 else "1" * 32
        for parts in (
            [],
            [ask],
            [frame(wire.SECRET, wrong.encode()), ask],
            [frame(wire.SECRET, b""), ask],
            [frame(b"?", secret.encode()), ask],
            [secret.encode(), ask],
            [(2**31).to_bytes(4, "big") + wire.SECRET],
        ):
            assert await anyio.to_thread.run_sync(heard, *parts) == b"", parts
        assert await anyio.to_thread.run_sync(heard, frame(wire.SECRET, secret.encode())) != b""
        assert await connect(f"tcp:{port}:{wrong}") is None
        guest = await attached(address)
        assert (await guest.call(asked(arguments=1), no_progress))[0] == 1
        await guest.aclose()


async def test_a_stranger_who_says_nothing_is_not_waited_for(
    home: Path, no_socket: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.attach.host.SECRET_SECS", 0.05)
    async with reception(home) as address:
        async with await anyio.connect_tcp("127.0.0.1", int(address.split(":")[1])) as stream:
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()


async def test_another_protocol_is_told_apart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reception(home) as address:
        monkeypatch.setattr(wire, "PROTOCOL", 2)
        with pytest.raises(guest.Foreign):
            await connect(address)
        assert not await guest.answers(address)


async def test_whoever_says_something_else_is_no_owner(home: Path) -> None:
    home.mkdir()
    for said in (b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(wire.HELLO, b"[]"), frame(b"?", b"{}"), b""):
        path = home / f"{len(said)}.sock"

        async def speak(stream: Any, said: bytes = said) -> None:
            async with stream:
                await stream.send(said)

        async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, speak)
            try:
                assert await connect(f"unix:{path}") is None
            except guest.Foreign:
                pass
            group.cancel_scope.cancel()
