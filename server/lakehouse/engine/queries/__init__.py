"""Verified queries: questions with SQL that somebody found right, as files; run while their datasets stay alike."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine import files, moment
from lakehouse.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    TimedOut,
    did_you_mean,
    disk_failed,
)
from lakehouse.verified import Column, Query, Seen, Verified, check_name, checked, dumped, parsed, recorded

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest
    from lakehouse.engine.journal import Journal
    from lakehouse.engine.sql import Rows, Sql

__all__ = ["Found", "Queries", "Query", "Verified"]

FOLDER = "queries"
MAX_QUERIES = 1000
_TRIAL_BYTES = 2**20  # rows of a trial are cut there: what counts is that it runs, and its columns
_WORDS = re.compile(r"\w{3,}")


@dataclass(frozen=True)
class Found:
    """A query with its file; `problem` says why it would not run now, if anything does."""

    query: Query
    path: Path
    saved: bool
    problem: str = ""


class Queries:
    """The queries of a data directory and of the plugin folders, as whoever may read `datasets` sees them."""

    def __init__(
        self,
        home: Path,
        folders: Sequence[Path],
        datasets: "Datasets",
        sql: "Sql",
        journal: "Journal",
        seconds: float,
    ) -> None:
        """`seconds` is how long a query may run that is saved or verified."""
        self._home, self._folders = home / FOLDER, [folder / FOLDER for folder in folders]
        self._datasets, self._sql, self._journal, self._seconds = datasets, sql, journal, seconds

    async def list(self, search: str = "") -> tuple[Sequence[Found], Sequence[str]]:
        """The queries, those first whose name and question share most words with `search`; and the files left out."""
        read, problems = await anyio.to_thread.run_sync(self._read)
        words = set(_WORDS.findall(search.lower()))
        ranked = []
        for found in read:
            if not self._visible(found.query):
                continue
            text = f"{found.query.name.replace('_', ' ')} {found.query.question} {found.query.sql}".lower()
            hits = sum(word in text for word in words)
            if hits or not words:
                ranked.append((-hits, found.query.name, found))
        ranked.sort(key=lambda entry: entry[:2])
        listed = [Found(f.query, f.path, f.saved, await self._problem(f.query)) for _, _, f in ranked]
        return listed, problems

    async def run(self, name: str, given: Mapping[str, Any], max_bytes: int | None = None) -> "Rows":
        """Run a query with these parameters. Of rows over `max_bytes` of JSON the rest is behind a handle.

        Raises NotFound, InvalidInput for parameters that do not fit, Conflict when a dataset's columns are not those it
        was verified with, and what a query raises.
        """
        query = (await self._find(name)).query
        values = query.arguments(given)
        if problem := await self._problem(query):
            raise Conflict(problem, fix=f"Look whether it is still right, then verify it again: verify_query {name}.")
        return await self._sql.query(query.sql, values or None, max_bytes=max_bytes)

    async def save(self, name: str, question: str, sql: str, params: Mapping[str, Any] | None = None) -> Found:
        """Run a query once, with its parameters' defaults or examples, and keep it as a file, durable when it returns.

        A parameter is `{"type": …, "default": …}` or simply a value, which is then its default.

        Raises Conflict for a name that is taken, InvalidInput, and what a query raises.
        """
        check_name(name)
        if await anyio.to_thread.run_sync(self._taken, name):
            raise _taken(name)
        spelt = {key: _spelt(key, value) for key, value in (params or {}).items()}
        query = checked({"name": name, "question": question.strip(), "sql": sql, "params": spelt})
        query = query.model_copy(update={"verified": await self._tried(query)})
        path = self._home / f"{name}.yaml"
        await _written(lambda: files.write(path, dumped(query), create=True), name)
        after = {"question": question, "sql": sql}
        await self._journal.record("save", "query", name, after=after)
        return Found(query, path, True)

    async def verify(self, name: str) -> Found:
        """Run a query once more and record its datasets as they are now. Raises NotFound and what `save` raises."""
        found = await self._find(name)
        verified = await self._tried(found.query)

        def write() -> None:
            files.write(found.path, recorded(found.path.read_bytes(), verified))

        await _written(write, name)
        before = found.query.verified.model_dump(include={"at"}) if found.query.verified else None
        await self._journal.record("verify", "query", name, before=before, after={"at": verified.at})
        return Found(found.query.model_copy(update={"verified": verified}), found.path, found.saved)

    async def delete(self, name: str) -> None:
        """Remove a saved query. Raises NotFound, and Forbidden for one of a plugin folder."""
        found = await self._find(name)
        if not found.saved:
            raise Forbidden(f"query {name!r} is a file of a plugin folder.", fix="Remove the file there.")

        def remove() -> None:
            found.path.unlink(missing_ok=True)
            files.sync_folder(found.path.parent)

        await _written(remove, name)
        before = {"question": found.query.question, "sql": found.query.sql}
        await self._journal.record("delete", "query", name, before=before)

    async def _find(self, name: str) -> Found:
        read, problems = await anyio.to_thread.run_sync(self._read)
        seen = {found.query.name: found for found in read if self._visible(found.query)}
        if name not in seen:
            broken = next((why for why in problems if Path(why.partition(": ")[0]).stem == name), None)
            if broken:
                raise Conflict(f"query {name!r} cannot be read: {broken.partition(': ')[2]}", fix="Mend its file.")
            raise NotFound(
                f"there is no query {name[:80]!r}.", fix=did_you_mean(name, seen, "list_queries has those there are.")
            )
        return seen[name]

    def _visible(self, query: Query) -> bool:
        """Whether a reader who is bound to a profile may see it: one over datasets of others tells their names."""
        profile = self._datasets.profile
        if profile is None:
            return True
        return query.verified is not None and all(map(profile.sees, query.verified.datasets))

    async def _problem(self, query: Query) -> str:
        """Why the query must not run as it is, or nothing."""
        if query.verified is None:
            return f"query {query.name!r} was never verified here."
        for name, seen in query.verified.datasets.items():
            try:
                now = await self._datasets.get(name)
            except NotFound:
                return f"dataset {name!r}, which query {query.name!r} reads, is not there any more."
            if now.schema_fingerprint != seen.fingerprint:
                return f"the schema of {name} changed since this query was verified: {_changes(seen, now)}."
        return ""

    async def _tried(self, query: Query) -> Verified:
        """Run it once, and note its datasets and columns."""
        values = {}
        for name, parameter in query.params.items():
            try:
                values[name] = parameter.trial
            except ValueError as error:
                raise InvalidInput(f"params.{name}: {error}.", fix='Write {"type": "integer", "example": 1}.') from None
        values = query.arguments({name: value for name, value in values.items() if value is not None})
        async with self._sql.spool(query.sql, values or None, seconds=self._seconds, max_bytes=_TRIAL_BYTES) as spool:
            if spool.late:
                raise TimedOut(f"the query took over {self._seconds:g} seconds.", fix="Ask for less.")
            datasets = {}
            for name, version in sorted(spool.read.items()):
                found = await self._datasets.get(name, version)
                columns = {column.name: column.type for column in found.columns}
                datasets[name] = Seen(fingerprint=found.schema_fingerprint, columns=columns)
            result = [Column(name=column["name"], type=column["type"]) for column in spool.columns]
        return Verified(at=moment.now(), datasets=datasets, columns=result)

    def _read(self) -> tuple[Sequence[Found], Sequence[str]]:
        """Every query that can be read; of two of one name, that of the plugin folder named first, as at the start."""
        found: dict[str, Found] = {}
        problems = []
        for folder in (*self._folders, self._home):
            for path in sorted(folder.glob("[!_.]*.yaml"))[:MAX_QUERIES]:
                try:
                    query = parsed(path.read_bytes(), path.stem)
                    found.setdefault(query.name, Found(query, path, folder == self._home))
                except InvalidInput as error:
                    problems.append(f"{path.name}: {error.detail}")
                except OSError as error:
                    problems.append(f"{path.name}: it cannot be read: {error.strerror}.")
        return list(found.values()), problems

    def _taken(self, name: str) -> bool:
        return any((folder / f"{name}.yaml").exists() for folder in (*self._folders, self._home))


def _spelt(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return value
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if type(value) not in kinds:
        raise InvalidInput(
            f"params.{name}: {str(value)[:80]!r} is no parameter.", fix='Write {"type": "integer", "default": 1}.'
        )
    return {"type": kinds[type(value)], "default": value}


def _changes(seen: Seen, now: "Manifest") -> str:
    there = {column.name: column.type for column in now.columns}
    said = [f"{name} is gone" for name in seen.columns if name not in there]
    said += [f"{n} was {k}, is {there[n]}" for n, k in seen.columns.items() if there.get(n, k) != k]
    said += [f"{name} {kind} is new" for name, kind in there.items() if name not in seen.columns]
    return "; ".join(said[:10]) or "the order of the columns"


async def _written(write: Callable[[], Any], name: str) -> None:
    try:
        await anyio.to_thread.run_sync(write)
    except FileExistsError:
        raise _taken(name) from None
    except PermissionError as error:
        raise Forbidden(f"the file of query {name!r} cannot be written.", fix="Open its folder to writing.") from error
    except OSError as error:
        raise disk_failed(error) from error


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a query {name!r} already.", fix="See it with list_queries; delete_query removes it.")
