"""A process that has loaded what worker processes need and forks them: each is there in 5 ms, not 200.

It holds nothing but loaded code: no environment, no files, one thread. A child forked from it has only the socket to
whoever asked for it, and limits itself before it does anything, as one that was started does.
"""

import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from typing import NamedTuple, NoReturn

MODULE = "lakehouse.engine.template"
SECONDS = 20.0  # it may take to answer; loading everything takes half of one
ENDING_SECS = 1.0  # that it gets to end by itself, so that what its children took is known to their grandparent
_MESSAGE = 4096
# Threads that libraries would start as they are loaded: a process with several must not fork.
_ALONE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}

_LOADED: set[tuple[str, str]] = set()


class CannotFork(Exception):
    """No child can be had of a template here; what a child would do has to be started by itself."""


class Forked(NamedTuple):
    """A child: its process id, a descriptor that stands for the process, and our end of its socket."""

    pid: int
    handle: int
    end: socket.socket


class Template:
    """The parent's end. There is a process from the first fork until nobody holds the template any more.

    Blocking, and safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._refused: set[str] = set()
        self._owner = os.getpid()

    @property
    def pid(self) -> int | None:
        """The process, where there is one."""
        return self._running[0].pid if self._running is not None else None

    def hold(self) -> None:
        """Fork children from now on, until as many have released it as hold it."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """The last to do so ends the process; children it forked go on."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._end()

    def fork(self, module: str) -> Forked:
        """A child that runs `module.main()`, its standard input and output one socket.

        Raises CannotFork where nobody holds the template, the system cannot do it, or the template would not be alone
        in its process.
        """
        with self._lock:
            if (
                not self._holders
                or module in self._refused
                or not hasattr(os, "pidfd_open")
                or self._owner != os.getpid()
            ):
                raise CannotFork
            try:
                return self._asked(module)
            except OSError:
                self._end()  # somebody killed it: the next one is as good
            try:
                return self._asked(module)
            except OSError:
                self._end()
                raise CannotFork from None

    def _asked(self, module: str) -> Forked:
        if self._running is None:
            self._running = self._started()
        control = self._running[1]
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(control, [module.encode()], [theirs.fileno()])
            answer, handles = _received(control)
            if not answer:
                raise BrokenPipeError
            if not handles:
                self._refused.add(module)
                raise CannotFork(answer.decode())
            return Forked(int(answer), handles[0], ours)
        except BaseException:
            ours.close()
            raise

    def _started(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=None,
                env={},
            )
        ours.settimeout(SECONDS)
        return process, ours

    def _end(self) -> None:
        if self._running is not None:
            process, control = self._running
            self._running = None
            control.close()
            try:
                process.wait(ENDING_SECS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


TEMPLATE = Template()  # of this process: what is loaded is the same for every lake


def main() -> None:
    """Fork a child for each message, a module's name with one end of a socket, until nobody is there to ask."""
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is asked to stop may still have work to finish
    os.environ.update(_ALONE)
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in children:
                poll.unregister(ready)
                os.close(ready)
                os.waitpid(children.pop(ready), 0)
                continue
            asked, ends = _received(control)
            if not asked:
                for pid in children.values():
                    os.waitpid(pid, os.WNOHANG)
                os._exit(0)
            module = asked.decode()
            if problem := _unready(module):
                control.send(problem.encode()[:_MESSAGE])
            else:
                pid = os.fork()
                if not pid:
                    control.close()
                    _become(module, ends[0])
                handle = os.pidfd_open(pid)
                children[handle] = pid
                poll.register(handle, select.POLLIN)
                socket.send_fds(control, [str(pid).encode()], [handle])
            os.close(ends[0])


def _unready(module: str) -> str:
    """Load what is missing for a child to run a module; why none can be forked, or nothing.

    What its `LOADS` name is loaded before the first child; what its `MORE` name, of which each child takes some, is
    loaded before the second, when there will be others.
    """
    missing = "LOADS" if module not in sys.modules else "MORE"
    if (module, missing) not in _LOADED:
        _LOADED.add((module, missing))
        try:
            for name in getattr(importlib.import_module(module), missing, ()):
                importlib.import_module(name)
        except Exception as error:  # a child that is started says it to the log
            return repr(error)
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page
    threads = len(os.listdir("/proc/self/task"))
    return f"{threads} threads" if threads > 1 else ""


def _become(module: str, end: int) -> NoReturn:
    status = 1
    try:
        os.dup2(end, 0)
        os.dup2(end, 1)
        os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        with suppress(OSError), open("/proc/self/comm", "w") as name:  # what `ps` and `top` show
            name.write(module.removeprefix("lakehouse.engine."))
        sys.modules[module].main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _received(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message and the descriptors that came with it; an empty one is the end."""
    try:
        message, handles, *_ = socket.recv_fds(control, _MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return b"", []
    return message, handles


if __name__ == "__main__":
    main()
