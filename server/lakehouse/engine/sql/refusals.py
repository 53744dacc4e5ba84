"""DuckDB's failures as ours: cleaned of paths and internals, with what to do next."""

import re
from collections.abc import Iterable

import duckdb

from lakehouse.engine.sql.request import out_of_time
from lakehouse.errors import InvalidInput, LakehouseError, TooLarge, Upstream, did_you_mean

# After these DuckDB goes on about its own settings, or repeats the statement (which may be the text of a view).
_TAIL = re.compile(r"\n\s*(?:LINE \d+:|Possible solutions:|See also |Use \"?SET |Use SET |For more information)", re.S)
_SET = re.compile(r",? or SET \w+ ?=[^.]*")  # nobody who asks can
_KIND = re.compile(r"^[A-Z][\w/ -]{0,30}Error: ")
_MISSING = re.compile(r'(?:Referenced column|have a column named) "((?:[^"]|"")+)"')
_AMBIGUOUS = re.compile(r"Ambiguous reference to \w+(?: name)? .*?\(use: (.*?)\)", re.S)
_READ_CHARS = 4000  # a query may put megabytes into its own error message
_OUT_OF_MEMORY = re.compile(r"out of memory|bad_alloc|failed to allocate|cannot allocate|can't start new thread", re.I)


def ours(
    error: BaseException, sql: str, columns: Iterable[str], folders: Iterable[str], seconds: float
) -> LakehouseError:
    """The LakehouseError for what went wrong while a judged statement ran.

    `columns` are the names the query could have meant, `folders` what must not be shown, `seconds` the time limit.
    """
    if isinstance(error, LakehouseError):
        return error
    text = str(error)
    if isinstance(error, MemoryError | duckdb.OutOfMemoryException) or _OUT_OF_MEMORY.search(text[:300]):
        return TooLarge(
            "the query needs more memory or spill space than it may use.",
            fix="Ask for less, aggregate earlier, or raise the call's memory or sql.memory_limit (and sql.address_space"
            " with it).",
        )
    if isinstance(error, duckdb.InterruptException):
        return out_of_time(seconds)
    clean = cleaned(text[:_READ_CHARS], folders)
    if isinstance(error, duckdb.InternalException | duckdb.FatalException):
        return LakehouseError("the query met a fault of the SQL engine.", fix="Write it another way.")
    if isinstance(error, duckdb.IOException | duckdb.PermissionException):
        return Upstream(f"the query failed: {clean}", fix="`lakehouse doctor` checks the data files.")
    if isinstance(error, duckdb.Error | ValueError | OverflowError | TypeError | RuntimeError | OSError):
        if any(folder in text and folder not in sql for folder in folders):
            return Upstream("the query failed reading a data file.", fix="`lakehouse doctor` checks the data files.")
        missing = _MISSING.search(text[:_READ_CHARS])
        data = {"column": missing[1].replace('""', '"')[:200]} if missing else None
        return InvalidInput(f"sql: {clean}", fix=_fix(text[:_READ_CHARS], columns), data=data)
    return LakehouseError("the query failed.")


def cleaned(text: str, folders: Iterable[str]) -> str:
    """A message without DuckDB's advice on its settings and without paths below these folders."""
    text = _SET.sub("", _KIND.sub("", _TAIL.split(text, maxsplit=1)[0])).strip()
    for folder in folders:
        text = re.sub(re.escape(folder) + r"[^\s'\"]*", "(a data file)", text)
    text = re.sub(r"\s*\n\s*", " ", text)[:1000]
    return text if text.endswith((".", "!", "?", ")")) else f"{text}."


def _fix(text: str, columns: Iterable[str]) -> str:
    if "lambda arrow" in text:
        return "Write lambdas as `lambda x: x + 1`."
    missing = _MISSING.search(text)
    if missing:
        known = list(dict.fromkeys(columns))
        return did_you_mean(missing[1], known, f"The columns are: {', '.join(known[:50])}." if known else "")
    if ambiguous := _AMBIGUOUS.search(text):
        return f"Say which is meant: {ambiguous[1].replace(chr(39), '')}."
    if "Values were not provided" in text or "count mismatch" in text:
        return "Give params a list for ? and $1, an object for $name; one value for each."
    return ""
