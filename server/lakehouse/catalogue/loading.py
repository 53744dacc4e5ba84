"""A stranger's module is run here: apart from our pipes, within a time, and with the process put back as it was."""

import builtins
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType
from typing import TypeVar

from lakehouse.errors import Conflict
from lakehouse.observe import log
from lakehouse.stdout import spared

T = TypeVar("T")
SECONDS = 5.0  # a plugin that takes longer to load is left out

_loading: ContextVar[str] = ContextVar("lakehouse_loading", default="")
_overdue: dict[tuple[str, int], str] = {}  # what took too long in this process is not tried again


class Overdue(Exception):
    """A plugin did not finish loading in time."""


class Left(Exception):
    """A plugin tried to end the process, or the thread it was loaded in."""


def run_source(source: bytes, path: Path, name: str) -> ModuleType:
    """Run a file's source as a module of this name. Nothing is written beside it, so nothing there goes stale."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and isinstance(spec.loader, SourceFileLoader)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        # Decoded first: the compiler itself lets bytes that are no text pass in comments.
        exec(spec.loader.source_to_code(importlib.util.decode_source(source), str(path)), vars(module))
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def set_apart(origin: str, module: str, action: Callable[[], T], version: int = 0) -> T:
    """What `action` returns; it loads and examines the plugin `module`, in a thread of its own.

    Raises what it raises, Left for an attempt to end the process, and Overdue after SECONDS; the thread is stopped
    then where that can be done. `version` tells one state of the plugin from the next: a state that took too long once
    is not tried again.
    """
    if reason := _overdue.get((origin, version)):
        raise Overdue(reason)
    with spared(), _unharmed(origin):
        outcome: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            _loading.set(origin)
            try:
                outcome.append(action())
            except BaseException as error:  # it is raised, or told, by whoever waits for this thread
                failure.append(error)

        # Of a daemon's threads, too, none keeps the process from ending.
        thread = threading.Thread(target=run, name=f"loads {module}", daemon=True)
        thread.start()
        thread.join(SECONDS)
        if thread.is_alive():
            busy = _library(thread, module)
            reason = f"it took over {SECONDS:g} s to load" + (f", importing {busy}" if busy else "")
            _overdue[origin, version] = f"{reason}. Import large libraries and reach for services inside functions."
            _stop(thread, module)
            raise Overdue(_overdue[origin, version])
    if failure:
        raise failure[0] if isinstance(failure[0], Exception) else _left(failure[0])
    return outcome[0]


def refuse_nesting() -> None:
    """Raises Conflict inside a plugin that is being loaded: opening a lake there would load it again, and so on."""
    if origin := _loading.get():
        raise Conflict(f"{origin} opens a lake while it is loaded.", fix="Do that inside a function.")


def _left(error: BaseException) -> Left:
    left = Left(f"{type(error).__name__}: {error}")
    left.__cause__ = error
    return left


@contextmanager
def _unharmed(origin: str) -> Iterator[None]:
    """Put back what of the whole process a module changed, and say so."""
    folder = None
    with suppress(OSError):
        folder = os.getcwd()
    named, streams = dict(vars(builtins)), (sys.stdin, sys.stdout, sys.stderr)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        changed = []
        for name, value in named.items():
            if vars(builtins).get(name, _unharmed) is not value:
                setattr(builtins, name, value)
                changed.append(f"builtins.{name}")
        if (sys.stdin, sys.stdout, sys.stderr) != streams:
            sys.stdin, sys.stdout, sys.stderr = streams
            changed.append("the standard streams")
        if root.handlers != handlers or root.level != level:
            root.handlers[:] = handlers
            root.setLevel(level)
            changed.append("the root logger")
        if folder is not None and _working_folder() != folder:
            with suppress(OSError):
                os.chdir(folder)
            changed.append("the working directory")
        if changed:
            log.warning("plugin.changed %s: put back: %s", origin, ", ".join(changed))


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _library(thread: threading.Thread, module: str) -> str:
    """The module of somebody else that the thread imports just now."""
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "_find_and_load" and "importlib" in frame.f_code.co_filename:
            name = str(frame.f_locals.get("name", ""))
            return "" if f"{name}.".startswith(f"{module}.") else name
        frame = frame.f_back
    return ""


def _stop(thread: threading.Thread, module: str) -> None:
    """End a loop in Python. A call into a library or the system goes on until it returns: there is no way to end it."""
    import ctypes

    for _ in range(3):
        if _library(thread, module):
            return  # half an import cannot be repeated by whoever needs that library next
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        thread.join(0.3)
        if not thread.is_alive():
            return


__all__ = ["Left", "Overdue", "refuse_nesting", "run_source", "set_apart"]
