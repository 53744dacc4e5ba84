"""Runs a program and outlives all that it starts: python -I -S guard.py LINGER GRACE PROGRAM ARGUMENTS...

A program of its own, because somebody must be left when Lakehouse itself is killed, and because only a process that has
no other children can adopt the program's without mixing them up. It imports little: what signal and threading import
would take 3 ms each.

Its standard input is a socket to Lakehouse. It writes `pid N`, then `error N` (an errno: the program cannot be run) or
`exit CODE LEFT` once nothing is left (CODE is -N for signal N; LEFT is how many processes outlived the program and were
ended). A byte that is read, or the end of the socket, ends everything: SIGTERM, and SIGKILL after GRACE seconds.
"""

import _thread
import ctypes
import os
import sys
import time

TERM, KILL = 15, 9
ADOPT = 36  # PR_SET_CHILD_SUBREAPER: what leaves the group with setsid stays a descendant
IGNORED = (13, 25)  # SIGPIPE and SIGXFSZ, which Python ignores and would have the program ignore
LOOK = 0.01
PASSES = 500  # a fork bomb whose processes leave the group is chased so often


def main(linger: float, grace: float, argv: list[str]) -> None:
    """Run it, wait for all of it, and tell."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    try:
        program = os.posix_spawn(
            argv[0],
            argv,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,
            setsigdef=IGNORED,
        )
    except OSError as error:
        _tell(f"error {error.errno}")
        return
    _tell(f"pid {program}")
    ending: list[bool] = []
    _thread.start_new_thread(_listen, (program, grace, ending))
    while True:
        pid, status = os.wait()
        if pid == program:
            break
    left = _end_rest(program, linger, grace, ending)
    _tell(f"exit {os.waitstatus_to_exitcode(status)} {left}")


def _tell(line: str) -> None:
    try:
        os.write(0, f"{line}\n".encode())
    except OSError:
        pass  # nobody is there any more


def _listen(program: int, grace: float, ending: list[bool]) -> None:
    try:
        os.read(0, 1)
    except OSError:
        pass
    ending.append(True)
    _signal(program, TERM)
    time.sleep(grace)
    for _ in range(PASSES):
        _signal(program, KILL)
        time.sleep(LOOK)


def _end_rest(program: int, linger: float, grace: float, ending: list[bool]) -> int:
    """Wait a moment for what outlived the program, then end it; how many processes that were."""
    until = time.monotonic() + linger
    while not ending and time.monotonic() < until:
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
    os._exit(0)  # nothing here wants tidying up: 2 ms
