"""Watches the triggers of this machine's workflow files and fires them, each occasion once."""

import hashlib
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.workflows.language import Loaded
from lakehouse.engine.workflows.part import Workflows
from lakehouse.engine.workflows.problems import Problem
from lakehouse.engine.workflows.runs import Starter
from lakehouse.engine.workflows.triggers import due
from lakehouse.engine.workflows.triggers.report import TriggerReport, Watched
from lakehouse.engine.workflows.triggers.signature import verified
from lakehouse.engine.workflows.triggers.state import Occasion, State, States
from lakehouse.engine.workflows.triggers.trigger import Trigger, triggers_of
from lakehouse.errors import Busy, Conflict, InvalidInput, LakehouseError, NotFound, TimedOut, Unavailable, Upstream

log = logging.getLogger("lakehouse")

LOOK_SECS = 5.0  # between looks at the files
LATE_SECS = 60.0  # what was due before that was missed
MAX_RUNS = 20  # of a trigger, among which those that run still are looked for
MAX_CHAIN = 8  # workflows that trigger one another
MAX_BODY = 2**20
MARK, ARROW = "trigger:", " > "
PASSING = (Busy, TimedOut, Unavailable, Upstream)  # what a later try may get over by itself
_WRITTEN = re.compile(r"(?m)^triggers[ \t]*:")


@dataclass(frozen=True)
class Armed:
    """A trigger of a file that can be run."""

    workflow: str
    trigger: Trigger
    key: str


@dataclass(frozen=True)
class Committed:
    """A new version of a dataset, and the workflows whose triggers led to it."""

    dataset: str
    version: int
    at: float
    chain: tuple[str, ...]


class Triggers:
    """The triggers of a data directory. Only its owner may have it, and only one that stays."""

    def __init__(
        self,
        folder: Path,
        workflows: Workflows,
        newest: Callable[[str], Awaitable[tuple[int, float] | None]],
        *,
        enabled: bool,
        profile: str | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`newest` tells a dataset's newest version and when it was committed, in seconds since 1970."""
        self.enabled = enabled
        self._states = States(folder)
        self._workflows = workflows
        self._newest = newest
        self._profile = profile
        self._environ = environ
        self._clock = clock
        self._turn = anyio.Lock()
        self._wake = anyio.Event()
        self._known: dict[str, State] = {}
        self._compared: set[str] = set()  # whose dataset was looked at since this process began
        self._came: list[Committed] = []
        self._armed: list[Armed] = []
        self._problems: list[tuple[str, Problem]] = []
        self._told: set[tuple[str, str]] = set()
        self._read_before: dict[tuple[str, str], tuple[list[Trigger], list[Problem]]] = {}

    async def watch(self, held: Callable[[], bool]) -> None:
        """Fire what is due, as long as the data directory is held. A failure is told and tried again."""
        while held():
            try:
                await self.tick()
            except LakehouseError as error:
                log.warning("trigger.failed %s", error.detail)
            with anyio.move_on_after(await anyio.to_thread.run_sync(self._pause)):
                await self._wake.wait()
            self._wake = anyio.Event()

    def committed(self, dataset: str, version: int, at: float, who: tuple[str, str] = ("", "")) -> None:
        """A dataset has a new version. `who` made it: the caller's name, and the workflow whose node called."""
        self._came.append(Committed(dataset, version, at, chain_of(*who)))
        self._wake.set()

    async def tick(self) -> None:
        """Look at the files, and fire all that is due by now."""
        async with self._turn:
            now = self._clock()
            await anyio.to_thread.run_sync(self._look)
            came, self._came = self._came, []
            for one in self._armed:
                state = await self._state(one, now)
                if one.trigger.kind == "cron":
                    occasions = await self._due(one, state, now)
                elif one.trigger.kind == "dataset":
                    occasions = await self._versions(one, state, now, came)
                else:
                    continue
                owed = self._known[one.key].owed
                for occasion in [*([owed] if owed else []), *occasions]:
                    await self._fire(one, occasion, now)

    async def posted(self, name: str, body: bytes, signature: str, starter: Starter | None, key: str = "") -> str:
        """Start the workflow of a hook; the run's id, the same for what is sent twice.

        `starter` is whoever showed a token of the server; anybody else must have signed the body. `key` tells the posts
        of a starter apart. Raises NotFound, the same for a hook that is not there and for a signature that is wrong;
        then InvalidInput for a body that is no JSON, Conflict while the run before is not over, and as a start does.
        """
        one = next((one for one in self._armed if (one.trigger.kind, one.trigger.on) == ("webhook", name)), None)
        trigger = one.trigger if one is not None else None
        secret = self._environ.get(trigger.secret_env) if trigger is not None and trigger.secret_env else None
        signs = verified(secret, body, signature, self._clock())
        if one is None or not self.enabled or not (signs or starter is not None):
            raise NotFound("there is no such hook, or its signature is not right.", fix="See the workflow's file.")
        try:
            value = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            raise InvalidInput("the body: it is no JSON.", fix="Post JSON.") from None
        now = self._clock()
        async with self._turn:
            state = await self._state(one, now)
            if one.trigger.overlap == "skip" and await self._runs(state):
                await self._keep(one, state.changed(skipped=state.skipped + 1, skipped_at=now))
                raise Conflict("the run before is not over.", fix="Post again once it is.")
            told = {"kind": "webhook", "at": moment.text_of(now), "webhook": name, "body": value}
            seed = signature if signs else key or os.urandom(16).hex()
            id = _run_id(one, now if not (signs or key) else 0.0, f"{signs} {seed}")
            text = body.decode() if body else "{}"
            by = starter or self._starter((one.workflow,), remote=True)
            if await self._workflows.store.find(id) is None:
                inputs = one.trigger.inputs(told)
                await self._workflows.start(one.workflow, by, inputs=inputs, message=text, background=True, id=id)
                await self._keep(one, state.changed(runs=(id, *state.runs)[:MAX_RUNS], failed=""))
        return id

    async def report(self) -> list[TriggerReport]:
        """All triggers there are, and what is wrong with files and triggers."""
        async with self._turn:
            await anyio.to_thread.run_sync(self._look)
        found = []
        now = self._clock()
        for one in self._armed:
            state = self._known.get(one.key) or await anyio.to_thread.run_sync(self._states.get, one.key)
            last = status = None
            if state is not None and state.runs:
                last, status = state.runs[0], await self._status(state.runs[0])
            watched = Watched(one.workflow, one.trigger, state, last, status)
            found.append(await anyio.to_thread.run_sync(TriggerReport.of, watched, now if self.enabled else None))
        return found + [TriggerReport(workflow=name, problem=str(problem)) for name, problem in self._problems]

    def _pause(self) -> float:
        now = self._clock()
        moments = [
            due.following(one.trigger.on, one.trigger.timezone, now)
            for one in self._armed
            if one.trigger.kind == "cron"
        ]
        return max(0.0, min([LOOK_SECS, *(at - now for at in moments if at is not None)]))

    def _look(self) -> None:
        """Read what files there are. It blocks, and is cheap while none changes."""
        armed: list[Armed] = []
        problems: list[tuple[str, Problem]] = []
        before, self._read_before = self._read_before, {}
        for loaded in self._workflows.library.listing():
            source = loaded.source
            if loaded.workflow is None:
                if _WRITTEN.search(source.text):
                    problems.append((source.name, loaded.errors[0]))
                continue
            if not loaded.workflow.triggers:
                continue
            here = (loaded.workflow.name, source.text)
            read = before.get(here) or _understood(loaded)
            self._read_before[here] = read
            armed += [Armed(here[0], one, one.key(here[0])) for one in read[0]]
            problems += [(here[0], one) for one in read[1]]
        hooks = Counter(one.trigger.on for one in armed if one.trigger.kind == "webhook")
        for one in armed:
            if one.trigger.kind == "webhook":
                said = self._unusable(one.trigger, hooks[one.trigger.on])
                if said is not None:
                    problems.append((one.workflow, said))
        bad = {name for name, count in hooks.items() if count > 1}
        self._armed = [one for one in armed if one.trigger.kind != "webhook" or one.trigger.on not in bad]
        self._problems = problems
        told = {(name, str(problem)) for name, problem in problems}
        for name, said_of in sorted(told - self._told):
            log.warning("trigger.disabled %s: %s", name, said_of)
        if not self._told and not self._known:
            self._states.forget({one.key for one in armed})
        self._told = told

    def _unusable(self, trigger: Trigger, count: int) -> Problem | None:
        """What is wrong with a hook beside what stands in its file."""
        here = f"webhook {trigger.on}"
        if count > 1:
            return Problem(here, "several triggers have this name: none of them fires.", "Rename all but one.")
        secret = self._environ.get(trigger.secret_env, "") if trigger.secret_env else None
        if secret is not None and len(secret) < 16:
            said = "is not set" if not secret else "is shorter than 16 characters"
            return Problem(here, f"the variable {trigger.secret_env} {said}: only tokens open it.", "Set it.")
        return None

    async def _state(self, one: Armed, now: float) -> State:
        """How a trigger stands; of one that is new, from now on."""
        if one.key not in self._known:
            state = await anyio.to_thread.run_sync(self._states.get, one.key)
            if state is None:
                state = State(one.workflow, one.trigger.kind, one.trigger.on, now)
                if one.trigger.kind == "dataset":
                    newest = await self._newest(one.trigger.on)
                    state = state.changed(version=newest[0] if newest else 0)
                    self._compared.add(one.key)
                await self._keep(one, state)
            self._known[one.key] = state
        return self._known[one.key]

    async def _due(self, one: Armed, state: State, now: float) -> list[Occasion]:
        """The moments that are due now; what is longer ago is counted as missed."""
        on, zone = one.trigger.on, one.trigger.timezone
        if state.seen > now + LATE_SECS:  # the clock went back; what ran already is known by its run
            await self._keep(one, state := state.changed(seen=now))
        count, last = await anyio.to_thread.run_sync(due.between, on, zone, state.seen, now)
        if last is None:
            self._known[one.key] = state.changed(seen=max(state.seen, now))
            return []
        fresh = now - last <= LATE_SECS
        missed = count - 1 if fresh else count
        catches = one.trigger.catch_up == "last"
        state = state.changed(seen=max(now, last))
        if fresh or catches:
            state = _owing(state, Occasion(last), now)
        await self._keep(one, _with_missed(one, state, missed, now))
        return []  # it is owed

    async def _versions(self, one: Armed, state: State, now: float, came: list[Committed]) -> list[Occasion]:
        """The versions that came; of those that came while nobody watched, the number is told."""
        mine = [commit for commit in came if commit.dataset == one.trigger.on]
        if one.key not in self._compared:
            newest = await self._newest(one.trigger.on)
            self._compared.add(one.key)
            first = min((commit.version for commit in mine), default=None)
            until = first - 1 if first is not None else newest[0] if newest else 0
            if until > state.version:
                catches = one.trigger.catch_up == "last" and not mine and newest is not None
                owed = Occasion(newest[1], newest[0]) if catches and newest is not None else state.owed
                missed = until - state.version
                await self._keep(one, _with_missed(one, state.changed(version=until, owed=owed), missed, now))
            elif until < state.version and newest is not None:  # it was dropped, and begins anew
                await self._keep(one, state.changed(version=until))
        found = []
        for commit in mine:
            state = self._known[one.key]
            own = one.workflow in commit.chain or len(commit.chain) >= MAX_CHAIN
            if own:
                log.info("trigger.own %s: version %d of %s", one.workflow, commit.version, commit.dataset)
                await self._keep(one, state.changed(version=commit.version))
            else:
                found.append(Occasion(commit.at, commit.version, commit.chain))
        return found

    async def _fire(self, one: Armed, occasion: Occasion, now: float) -> None:
        """Start a run for an occasion, unless there is one."""
        state = self._known[one.key]
        again = state.owed == occasion
        id = _run_id(one, occasion.at, str(occasion.version))
        state = state.changed(version=occasion.version or state.version)
        there = await self._workflows.store.find(id) is not None
        if not there and one.trigger.overlap == "skip" and await self._runs(state):
            catches = one.trigger.catch_up == "last"
            if again and catches:
                return  # it waits
            if catches:
                await self._keep(one, _owing(state, occasion, now))
                return
            log.warning("trigger.skipped %s: the run before is not over", one.workflow)
            await self._keep(one, state.changed(skipped=state.skipped + 1, skipped_at=now, owed=None))
            return
        if not again:
            await self._keep(one, state := state.changed(owed=occasion))
        failed = ""
        try:
            if not there:
                await self._start(one, occasion, id)
        except PASSING as error:
            log.warning("trigger.failed %s: it is tried again: %s", one.workflow, error.detail)
            return
        except LakehouseError as error:
            log.warning("trigger.failed %s: %s", one.workflow, error.detail)
            failed = str(error)
        runs = state.runs if failed or id in state.runs else (id, *state.runs)[:MAX_RUNS]
        await self._keep(one, state.changed(owed=None, runs=runs, failed=failed))

    async def _start(self, one: Armed, occasion: Occasion, id: str) -> None:
        trigger = one.trigger
        told: dict[str, Any] = {"kind": trigger.kind, "at": moment.text_of(occasion.at), trigger.kind: trigger.on}
        if trigger.kind == "dataset":
            told["version"] = occasion.version
        await self._workflows.start(
            one.workflow,
            self._starter((*occasion.chain, one.workflow)),
            inputs=trigger.inputs(told),
            message=json.dumps(told),
            background=True,
            id=id,
        )

    def _starter(self, chain: tuple[str, ...], remote: bool = False) -> Starter:
        """Nobody is at the command line: programs run only where `workflows.allow_shell` is set."""
        return Starter("workflow", remote, name=f"{MARK}{ARROW.join(chain)}", profile=self._profile)

    async def _runs(self, state: State) -> bool:
        """Whether a run of it is not over."""
        for run in state.runs:
            if await self._status(run) in ("running", "paused"):
                return True
        return False

    async def _status(self, run: str) -> str:
        try:
            return (await self._workflows.state(run)).status
        except NotFound:
            return "forgotten"

    async def _keep(self, one: Armed, state: State) -> None:
        await anyio.to_thread.run_sync(self._states.put, one.key, state)
        self._known[one.key] = state


def chain_of(name: str, workflow: str) -> tuple[str, ...]:
    """The workflows behind a call: whose triggers led to it, by its caller's name, and the one whose node it is."""
    chain = tuple(name.removeprefix(MARK).split(ARROW)) if name.startswith(MARK) else ()
    return chain if not workflow or workflow in chain else (*chain, workflow)


def _understood(loaded: Loaded) -> tuple[list[Trigger], list[Problem]]:
    assert loaded.workflow is not None
    return triggers_of(loaded.workflow.triggers, loaded.workflow.inputs, loaded.workflow.interactive)


def _owing(state: State, occasion: Occasion, now: float) -> State:
    """With an occasion that is to be fired, in place of one that still waits."""
    if state.owed is not None:
        state = state.changed(skipped=state.skipped + 1, skipped_at=now)
    return state.changed(owed=occasion)


def _with_missed(one: Armed, state: State, count: int, now: float) -> State:
    if not count:
        return state
    log.warning("trigger.missed %s: %d times, while nobody watched %s", one.workflow, count, one.trigger.on)
    return state.changed(missed=state.missed + count, missed_at=now)


def _run_id(one: Armed, at: float, seed: str) -> str:
    """The id of the run for an occasion: the same whenever it is asked for."""
    return f"{int(at * 1e6):014x}{hashlib.sha256(f'{one.key} {at!r} {seed}'.encode()).hexdigest()[:16]}"
