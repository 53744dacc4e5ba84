"""One process owns a data directory. The lock names it, so that a second one can be told who holds it."""

import errno
import json
import os
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine import files
from lakehouse.errors import Busy, Unavailable

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


class Owner:
    """The hold on a data directory. The operating system lets go when the process dies, however it dies.

    Beside the lock lies `lake.owner.json` with the owner's pid, command, start time, host, and the address where it
    answers other processes; only the lock counts, so a file that a dead process left is simply replaced.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._note = home / "lake.owner.json"
        self._taking = threading.Lock()
        self._lock: BaseFileLock | None = None
        self._myself: dict[str, Any] = {}
        self._taken: tuple[int, int] | None = None  # the lock file itself, whatever lies at its path later

    async def acquire(self, command: str) -> None:
        """Take the data directory, creating it when it is not there; whoever comes later is told our `command`.

        Taking it twice is fine. Raises Busy, naming the owner, when another holds it (this process may be the one),
        and Unavailable when the directory cannot be used.
        """
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._acquire, command)

    async def tell(self, address: str | None) -> None:
        """Say where this process answers calls, so that others can attach to it; None: nowhere. Only the owner may."""
        await anyio.to_thread.run_sync(self._tell, address)

    async def busy(self, why: str) -> Busy:
        """The error that names the owner, and why nobody can attach to it, where that is known."""
        return await anyio.to_thread.run_sync(self._busy, why)

    async def release(self) -> None:
        """Give the data directory up; releasing twice is fine."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._release)

    async def holds(self) -> bool:
        """Whether the data directory is still the one that was taken.

        A lock does not go with its path: where somebody removed or replaced the directory or its lock file, another
        process can take what lies there now. A note that is gone is written again.
        """
        return await anyio.to_thread.run_sync(self._holds)

    async def holder(self) -> dict[str, Any] | None:
        """Who holds the data directory, without asking for it; None when nobody does.

        pid, command, started, host, `address` (where it answers calls; empty while it starts, None when it does not)
        and `here`: whether that is a process of this machine.
        """
        return await anyio.to_thread.run_sync(self._read)

    def _acquire(self, command: str) -> None:
        from filelock import FileLock, Timeout

        with self._taking:
            if self._lock is not None:
                return
            try:
                files.make_folder(self._home.parent)
                self._home.mkdir(mode=0o700, exist_ok=True)
                # thread_local=False: taken and released in different worker threads. An instance of its own each time:
                # a second opening in this process must meet the lock as a stranger.
                lock = FileLock(self._home / "lake.lock", timeout=0, mode=0o600, thread_local=False)
                lock.acquire()
            except Timeout:
                raise self._busy() from None
            except OSError as error:
                raise Unavailable(
                    f"the data directory cannot be used: {error.strerror or type(error).__name__}.",
                    fix="Choose another with --home or LAKEHOUSE_HOME, or make it writable.",
                ) from error
            self._lock = lock
            self._taken = _identity(self._home / "lake.lock")
            self._myself = _myself(command)
        try:
            self._tell("")
        except OSError as error:
            self._release()
            raise Unavailable(
                f"the data directory cannot be written: {error.strerror or type(error).__name__}.",
                fix="Make it writable, or choose another with --home or LAKEHOUSE_HOME.",
            ) from error

    def _holds(self) -> bool:
        try:
            if _identity(self._home / "lake.lock") != self._taken:
                return False
            if not self._note.exists():
                self._tell(self._myself["address"])
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # a disk that does not answer took nothing away
        return True

    def _tell(self, address: str | None) -> None:
        self._myself["address"] = address
        try:
            files.write(self._note, json.dumps(self._myself).encode(), mode=0o600)
        except OSError as error:
            if error.errno not in _FULL:  # only the lock counts, and whoever has no room left wants to read, and delete
                raise

    def _release(self) -> None:
        with self._taking:
            lock, self._lock = self._lock, None
        if lock is not None and self._myself["pid"] == os.getpid():  # a forked child holds nothing
            with suppress(OSError):  # only the lock counts
                if _identity(self._home / "lake.lock") == self._taken:  # else the note is somebody else's
                    self._note.unlink(missing_ok=True)
            lock.release()

    def _busy(self, why: str = "") -> Busy:
        fix = "Stop it, or give this one another data directory with --home or LAKEHOUSE_HOME."
        owner = self._read()
        tail = f"; {why}." if why else "."
        if owner is None:
            return Busy(f"another process holds the data directory; it has not said who it is{tail}", fix=fix)
        return Busy(
            f"the data directory is held by process {owner['pid']} ({owner['command']}) on {owner['host']} since "
            f"{owner['started']}{tail}",
            fix=fix,
            data={name: owner[name] for name in ("pid", "command", "started", "host")},
        )

    def _read(self) -> dict[str, Any] | None:
        """Who says to be the owner; None when nobody readable does, or one that is not alive any more."""
        try:
            owner: dict[str, Any] = json.loads(self._note.read_bytes())
            address = owner.get("address")
            owner = {name: owner[name] for name in ("pid", "command", "started", "host")}
            owner["address"] = address if isinstance(address, str) else None
            owner["here"] = owner["host"] == socket.gethostname()
            alive = not owner["here"] or _alive(int(owner["pid"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return owner if alive else None


def _myself(command: str) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "host": socket.gethostname(),
    }


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
