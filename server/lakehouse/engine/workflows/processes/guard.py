"""Runs a program and outlives all that it starts: python -I -S guard.py LINGER GRACE PROGRAM ARGUMENTS...

A program of its own, because only a process with one thread may fork and then run Python, and because somebody must be
left when Lakehouse itself is killed. It imports little: it starts in 11 ms, of which signal's enums would be 3 more.

Its standard input is a socket to Lakehouse. It writes `pid N`, then `error N` (an errno: the program cannot be run) or
`exit CODE LEFT` once nothing is left (CODE is -N for signal N; LEFT is how many processes outlived the program and were
ended). A byte that is read, or the end of the socket, ends everything: SIGTERM, and SIGKILL after GRACE seconds.
"""

import ctypes
import os
import sys
import threading
import time

TERM, KILL = 15, 9
ADOPT = 36  # PR_SET_CHILD_SUBREAPER: what leaves the group with setsid stays a descendant
LOOK = 0.01
PASSES = 500  # a fork bomb whose processes leave the group is chased so often


def main(linger: float, grace: float, argv: list[str]) -> None:
    """Run it, wait for all of it, and tell."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    program = os.fork()
    if program == 0:
        _become(argv)
    _tell(f"pid {program}")
    ending = threading.Event()
    threading.Thread(target=_listen, args=(program, grace, ending), daemon=True).start()
    while True:
        pid, status = os.wait()
        if pid == program:
            break
    left = _end_rest(program, linger, grace, ending)
    _tell(f"exit {os.waitstatus_to_exitcode(status)} {left}")


def _become(argv: list[str]) -> None:
    lifeline = os.dup(0)
    os.set_inheritable(lifeline, False)
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        os.write(lifeline, f"error {error.errno}\n".encode())
    os._exit(127)


def _tell(line: str) -> None:
    try:
        os.write(0, f"{line}\n".encode())
    except OSError:
        pass  # nobody is there any more


def _listen(program: int, grace: float, ending: threading.Event) -> None:
    try:
        os.read(0, 1)
    except OSError:
        pass
    ending.set()
    _signal(program, TERM)
    time.sleep(grace)
    for _ in range(PASSES):
        _signal(program, KILL)
        time.sleep(LOOK)


def _end_rest(program: int, linger: float, grace: float, ending: threading.Event) -> int:
    """Wait a moment for what outlived the program, then end it; how many processes that were."""
    until = time.monotonic() + linger
    while not ending.is_set() and time.monotonic() < until:
        if not _some(program):
            return 0
        time.sleep(LOOK)
    left = len(_descendants())
    _signal(program, TERM)
    until = time.monotonic() + grace
    while _some(program) and time.monotonic() < until:
        time.sleep(LOOK)
    for _ in range(PASSES):
        if not _some(program):
            break
        _signal(program, KILL)
        time.sleep(LOOK)
    return left


def _some(program: int) -> bool:
    """Whether any process is left; reaps those that ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        if sys.platform == "linux":
            return False
        return _signal(program, 0)  # nothing was adopted: only the group is known
    return True


def _signal(program: int, number: int) -> bool:
    try:
        os.killpg(program, number)  # at once for all of the group: none can fork out of it meanwhile
        found = True
    except OSError:
        found = False
    for pid in _descendants():
        try:
            os.kill(pid, number)
        except OSError:
            continue
    return found


def _descendants() -> list[int]:
    """The processes below this one."""
    parents: dict[int, list[int]] = {}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []  # no /proc: the group is all that is known
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != b"Z":
            parents.setdefault(int(parent), []).append(pid)
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
