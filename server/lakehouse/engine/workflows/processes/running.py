"""One program, from its start until nothing of it is left."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, Process

from lakehouse.errors import LakehouseError, TimedOut, TooLarge, Unavailable, Unprocessable

LINGER = 1.0  # seconds that what outlives its program has, to finish by itself
GRACE = 3.0  # seconds between SIGTERM and SIGKILL
TAIL = 4096  # bytes of stderr that are kept
CHUNK = 65536
QUOTED = 700  # characters of what it said that a message has
_GUARD = str(Path(__file__).with_name("guard.py"))

OnOutput = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code, or -N where signal N ended it.

    `stderr` is the end of it. `left` processes were still there and were ended. `replaced`: stdout was not UTF-8, and
    what was not is U+FFFD now.
    """

    code: int
    stdout: str
    stderr: str
    left: int = 0
    replaced: bool = False

    def check(self, clean: Callable[[str], str] = str) -> None:
        """Raises Exited where it failed, with the ends of what it said, which `clean` takes credentials out of."""
        if self.code == 0:
            return
        streams = {"stderr": self.stderr, "stdout": self.stdout[-TAIL:]}
        said = "".join(f" {name}: {_end(clean(text))}" for name, text in streams.items() if text.strip())
        how = f"it exited with code {self.code}." if self.code > 0 else f"it was ended by {_signal(-self.code)}."
        raise Exited(how + said, fix="Its log has more: workflow_logs.", data={"exit_code": self.code})


class Exited(Unprocessable):
    """A program ended with an exit code other than 0 (`data["exit_code"]`), or by a signal (minus its number)."""


def _end(text: str) -> str:
    text = text.strip()
    return text if len(text) <= QUOTED else f"…{text[-QUOTED:]}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _unheard(stream: str, chunk: bytes) -> None:
    pass


async def run(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    timeout: float,
    max_bytes: int,
    on_output: OnOutput = _unheard,
    clean: Callable[[str], str] = str,
) -> Finished:
    """Run a program, `argv[0]` being its whole path, with nothing on its stdin. Its exit code is not judged.

    `on_output` is given each piece of stdout and stderr as it comes, and is waited for; what it raises of
    LakehouseError ends the program, too. When it ends, is cancelled, takes longer than `timeout` seconds (TimedOut,
    which quotes what `clean` leaves of stderr) or puts out more than `max_bytes` (TooLarge), all processes it started
    are ended: SIGTERM, and SIGKILL after 3 s. So are they when this process is killed.

    On Linux that holds for processes that left the group or the session too, unless the program killed its guard;
    elsewhere for the group only, and on Windows for the program itself. Raises Unavailable when it cannot be run,
    OSError when not even its guard can be started.
    """
    here, there = socket.socketpair()
    with here:
        here.setblocking(False)
        with there, anyio.CancelScope(shield=True):
            # A start cut short kills the guard, which may have started the program by then: nobody would end that.
            process = await _started(argv, cwd, env, there)
        program = _Program(process, here)
        output = _Output(max_bytes, on_output)
        try:
            with anyio.move_on_after(timeout) as limit:
                output.over = limit.cancel
                await program.until_over(output)
        finally:
            await program.end()
        output.check()
        if limit.cancelled_caught:
            raise TimedOut(
                f"it took longer than {timeout:g} s and was ended.{output.told(clean)}",
                fix="Give the node a longer timeout, in milliseconds.",
            )
        if program.error is not None:
            raise Unavailable(f"{argv[0]} cannot be run: {os.strerror(program.error)}.", fix="Mend it.")
        return output.finished(program.code, program.left)


async def _started(argv: Sequence[str], cwd: str, env: Mapping[str, str], lifeline: socket.socket) -> Process:
    windows = os.name == "nt"
    guarded = argv if windows else [sys.executable, "-I", "-S", _GUARD, str(LINGER), str(GRACE), *argv]
    return await anyio.open_process(
        guarded,
        stdin=subprocess.DEVNULL if windows else lifeline.fileno(),
        cwd=cwd,
        env=env,
        start_new_session=True,  # no terminal that could be asked for a password
    )


class _Program:
    """The guard of a program, and what it told."""

    def __init__(self, process: Process, lifeline: socket.socket) -> None:
        self._process = process
        self._lifeline = lifeline
        self._group: int | None = None
        self.over = False
        self.code = 0
        self.left = 0
        self.error: int | None = None

    async def until_over(self, output: "_Output") -> None:
        """Until nothing of it is left and all it printed was read."""
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None and stderr is not None
        async with anyio.create_task_group() as group:
            reading = anyio.CancelScope()

            async def read() -> None:
                with reading:
                    async with anyio.create_task_group() as both:
                        both.start_soon(output.read, "stdout", stdout)
                        both.start_soon(output.read, "stderr", stderr)

            group.start_soon(read)
            await self._ended()
            # Whoever holds the pipes still is not ours any more; what lies in them is read.
            reading.deadline = anyio.current_time() + LINGER

    async def _ended(self) -> None:
        said = b""
        if os.name != "nt":
            while chunk := await self._received():
                said += chunk
                self._heard(said)
        code = await self._process.wait()
        self.over = True
        if b"exit " not in said and self.error is None:  # somebody killed the guard
            self.code = code
            await anyio.to_thread.run_sync(self._kill_group)

    async def _received(self) -> bytes:
        await anyio.wait_readable(self._lifeline)
        try:
            return self._lifeline.recv(256)
        except OSError:
            return b""

    def _heard(self, said: bytes) -> None:
        for line in said.split(b"\n")[:-1]:
            word, *numbers = line.split()
            if word == b"pid":
                self._group = int(numbers[0])
            elif word == b"error":
                self.error = int(numbers[0])
            else:
                self.code, self.left = map(int, numbers)

    async def end(self) -> None:
        """End what is left of it, and wait for that."""
        with anyio.CancelScope(shield=True):
            if self.over:
                await self._process.aclose()
                return
            if os.name == "nt":
                self._process.kill()
            else:
                with suppress(OSError):
                    self._lifeline.send(b"x")
            with anyio.move_on_after(GRACE + 10):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await anyio.to_thread.run_sync(self._kill_group)
            await self._process.aclose()

    def _kill_group(self) -> None:
        """End what a guard that is gone has left: its program's group, and all of the session that it began."""
        if self._group is not None:
            with suppress(OSError):
                os.killpg(self._group, signal.SIGKILL)
        for pid in _session(self._process.pid):  # a fast program ends its guard before that has told its number
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _session(id: int) -> list[int]:
    """The processes of a session, where the system lists them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            if int(stat.read_bytes().rpartition(b")")[2].split()[3]) == id:
                found.append(int(stat.parent.name))
    return found


class _Output:
    """What a program prints: stdout up to a limit, the end of stderr."""

    def __init__(self, limit: int, heard: OnOutput) -> None:
        self._limit = limit
        self._heard = heard
        self.over: Callable[[], None] = lambda: None
        self._failure: LakehouseError | None = None
        self._stdout = bytearray()
        self._stderr = bytearray()

    async def read(self, stream: str, pipe: ByteReceiveStream) -> None:
        """Read one of its pipes to its end, or, after calling `over`, to the limit."""
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                chunk = await pipe.receive(CHUNK)
                try:
                    await self._heard(stream, chunk)
                except LakehouseError as error:  # told by check, past the task group that would wrap it
                    self._failure = error
                    self.over()
                    return
                if stream == "stderr":
                    self._stderr += chunk
                    del self._stderr[:-TAIL]
                    continue
                self._stdout += chunk
                if len(self._stdout) > self._limit:
                    self.over()
                    return

    def check(self) -> None:
        """Raises TooLarge where it put out too much, and what on_output raised."""
        if self._failure is not None:
            raise self._failure
        if len(self._stdout) > self._limit:
            raise TooLarge(
                f"it put out more than {self._limit:,} bytes and was ended.",
                fix="Have it write to a file in $ARTIFACTS_DIR, or raise workflows.max_output_bytes.",
            )

    def told(self, clean: Callable[[str], str]) -> str:
        """The end of what it said on stderr, for a message."""
        said = _end(clean(self._stderr.decode("utf-8", "replace")))
        return f" stderr: {said}" if said else ""

    def finished(self, code: int, left: int) -> Finished:
        """The whole, as text."""
        try:
            stdout, replaced = self._stdout.decode(), False
        except UnicodeDecodeError:
            stdout, replaced = self._stdout.decode("utf-8", "replace"), True
        return Finished(code, stdout, self._stderr.decode("utf-8", "replace"), left, replaced)
