"""Every error a caller can meet, and the only table that says how each face shows it.

LakehouseError        internal         500  exit 70   anything unforeseen: the caller sees only the call id
  InvalidInput        invalid_request  400  exit 65   a bad argument, an unknown field, a dimension mismatch
  Unauthorized        unauthorized     401  exit 77   no token, or the wrong one
  Forbidden           forbidden        403  exit 77   a path outside an allowed root, a write in read-only mode
  NotFound            not_found        404  exit 66   lists what there is
  Conflict            conflict         409  exit 73   a taken name, a changed schema
  TooLarge            too_large        413  exit 74   says the limit and the setting
  Unprocessable       unprocessable    422  exit 65   well-formed, but it cannot run
  NotInstalled        not_implemented  501  exit 69   names the extra to install
  Upstream            upstream         502  exit 69   an embedder, a model or a store failed
  Busy                busy             503  exit 75   all slots taken, or another process owns the data directory
  Unavailable         unavailable      503  exit 75   registered, but not usable now
  TimedOut            timeout          504  exit 75   says the limit and the setting
"""

from collections.abc import Iterable
from typing import Any, ClassVar

MAX_TEXT = 2000
PROBLEM_KEY = "lakehouse/problem"  # where a result of MCP that is an error carries it as data


class LakehouseError(Exception):
    """Something a caller can read and act on: `detail` says what happened, `fix` what to do next.

    `data` holds machine-readable particulars (the line and column of a bad cell, the two schemas of a conflict).
    """

    code: ClassVar[str] = "internal"
    http: ClassVar[int] = 500
    exit: ClassVar[int] = 70
    retry_after: int | None = None  # seconds after which it may be worth another try

    def __init__(self, detail: str, *, fix: str = "", data: dict[str, Any] | None = None) -> None:
        self.detail = _unicode(detail)
        self.fix = _unicode(fix)
        super().__init__(self.detail)
        self.data = data or {}

    def problem(self) -> dict[str, Any]:
        """The error as RFC 9457 problem details: the one shape behind every face."""
        body: dict[str, Any] = {
            "type": f"lakehouse:{self.code}",
            "title": self.code,
            "status": self.http,
            "detail": _cut(self.detail),
        }
        if self.fix:
            body["fix"] = _cut(self.fix)
        if self.data:
            body["data"] = self.data
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body

    def __str__(self) -> str:
        return f"{self.code}: {_cut(self.detail)}" + (f" {_cut(self.fix)}" if self.fix else "")

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` alone, which loses what is keyword-only.
        return (_bare, (type(self), self.detail), vars(self))


def _bare(kind: type["LakehouseError"], detail: str) -> "LakehouseError":
    return kind.__new__(kind, detail)


class InvalidInput(LakehouseError):
    """The request is wrong; the message names the argument."""

    code, http, exit = "invalid_request", 400, 65


class Unauthorized(LakehouseError):
    """The caller did not prove who it is."""

    code, http, exit = "unauthorized", 401, 77


class Forbidden(LakehouseError):
    """The caller may not do this: a path outside the allowed roots, a write in read-only mode."""

    code, http, exit = "forbidden", 403, 77


class NotFound(LakehouseError):
    """Nothing of that name; the message lists what there is."""

    code, http, exit = "not_found", 404, 66


class Conflict(LakehouseError):
    """The name is taken, or the stored state is not the one the caller assumed."""

    code, http, exit = "conflict", 409, 73


class TooLarge(LakehouseError):
    """A limit was passed; the message names the limit and the setting that holds it."""

    code, http, exit = "too_large", 413, 74


class Unprocessable(LakehouseError):
    """Well-formed, but it cannot run."""

    code, http, exit = "unprocessable", 422, 65


class NotInstalled(LakehouseError):
    """An optional part is missing; the message names the extra to install."""

    code, http, exit = "not_implemented", 501, 69


class Upstream(LakehouseError):
    """Something behind us failed: an embedder, a model, a store."""

    code, http, exit = "upstream", 502, 69


class Busy(LakehouseError):
    """No room now; try again after `retry_after` seconds."""

    code, http, exit = "busy", 503, 75

    def __init__(self, detail: str, *, fix: str = "", data: dict[str, Any] | None = None, retry_after: int = 5) -> None:
        super().__init__(detail, fix=fix, data=data)
        self.retry_after = retry_after


class Unavailable(LakehouseError):
    """Known, but not usable now."""

    code, http, exit = "unavailable", 503, 75


class TimedOut(LakehouseError):
    """A deadline passed; the message names the limit and the setting that holds it."""

    code, http, exit = "timeout", 504, 75


def by_code(code: str, detail: str, *, fix: str = "", data: dict[str, Any] | None = None) -> LakehouseError:
    """The error of a stable code, as a child process reports it; an unknown code is a plain LakehouseError."""
    kinds: list[type[LakehouseError]] = [LakehouseError]
    for kind in kinds:
        kinds.extend(k for k in kind.__subclasses__() if k not in kinds)
    found = next((kind for kind in kinds if "code" in vars(kind) and kind.code == code), LakehouseError)
    return found(detail, fix=fix, data=data)


def foreseen(failure: Exception) -> LakehouseError | None:
    """The failure as an error a caller can act on: itself, or the first of a task group that failed of nothing else."""
    if isinstance(failure, ExceptionGroup):
        found = [foreseen(inner) for inner in failure.exceptions]
        return found[0] if None not in found else None
    return failure if isinstance(failure, LakehouseError) else None


def disk_failed(error: OSError) -> Upstream:
    """The error for a data directory whose disk fails while something is written: it is full more often than broken."""
    return Upstream(f"the data directory's disk failed: {error.strerror}.", fix="Make room on it and try again.")


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The `fix` for a name that is not there: the one that is spelled like it, or two or three much alike.

    Without any, `otherwise`; when that is not given, the first 20 there are.
    """
    import difflib

    names = list(dict.fromkeys(known))
    # A long word would only cost time: nothing that is known is spelled like it.
    near = difflib.get_close_matches(word[:200], names, n=3)
    if near:
        likeness = [difflib.SequenceMatcher(None, name, word[:200]).ratio() for name in near]
        nearest = [name for name, alike in zip(near, likeness, strict=True) if alike > likeness[0] - 0.2]
        return f"Did you mean {' or '.join(nearest)}?"
    if otherwise is not None:
        return otherwise
    return f"There are: {', '.join(sorted(names)[:20])}{', …' if len(names) > 20 else ''}."


def _unicode(text: str) -> str:
    # A message may quote what a caller sent, and callers can send half a character.
    return text.encode("utf-8", "replace").decode()


def _cut(text: str) -> str:
    # Cut where it is shown, not where it is made: what is cut first can no longer be searched for credentials.
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
