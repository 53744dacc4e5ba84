"""The one door: every call of every face, checked, run and observed."""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
from pydantic_core import PydanticSerializationError, from_json

from lakehouse import attach, config, observe
from lakehouse.catalogue import Catalogue
from lakehouse.declare import Capability
from lakehouse.engine.acting import Actor, acting
from lakehouse.engine.places import shut
from lakehouse.errors import InvalidInput, LakehouseError, NotFound, TimedOut, Unavailable, foreseen
from lakehouse.lake import access
from lakehouse.lake.arguments import anchored, check_paths, defaulted, paths_of, validated
from lakehouse.lake.standing import Standing
from lakehouse.observe import Call, Caller, Progress
from lakehouse.preview import compact, scrubbed, shortened
from lakehouse.transfer import Download, Upload

if TYPE_CHECKING:
    from lakehouse.engine.profiles import Profile

Watcher = Callable[[Call, str, float], None]
# A call that takes its process down must not take down every one of them.
MAX_OWNERS = 6


class Lakehouse(Standing):
    """An open data directory. `call` runs any capability by name; the parts are attributes, built on first use.

    `async with` it: the first process on a data directory owns it and answers the others, which attach to it. When
    the owner goes, whoever calls next takes over.
    """

    def __init__(self, settings: config.Settings) -> None:
        super().__init__(settings)
        self._loading = anyio.Lock()
        self.watchers: list[Watcher] = []  # told of every call that ended here: the call, its outcome, its seconds

    async def load(self) -> Catalogue:
        """The catalogue; the plugin files are read in a worker thread the first time."""
        if "catalogue" not in vars(self):
            async with self._loading:
                await anyio.to_thread.run_sync(self._read)
        return self.catalogue

    def _read(self) -> None:
        _ = self.redactor, self.catalogue
        if not self.brief:
            import_module("lakehouse.engine.workflows.part")  # 80 ms, for which a first run would hold up every call

    @asynccontextmanager
    async def within(self, profile: str | None) -> AsyncIterator[None]:
        """What the block does is bound to a profile that the caller names; None: to that of the call, if any.

        Raises NotFound, and Forbidden for a caller who is bound to another.
        """
        call = observe.current.get() or Call("python", Caller())
        if profile is None or profile == call.caller.profile:
            yield
            return
        asked = replace(call, caller=access.choosing(call.caller, profile))
        token = observe.current.set(asked)
        try:
            async with self._bound(asked):
                yield
        finally:
            observe.current.reset(token)

    @asynccontextmanager
    async def _bound(self, call: Call) -> AsyncIterator[Call]:
        """The call with the profile it is made in looked up."""
        if call.caller.profile is not None:
            found = await Lakehouse.profiles.of(self).get(call.caller.profile)
            call = replace(call, scope=found)
            observe.current.set(call)
            with self._calling(found):
                yield call
        else:
            yield call

    @contextmanager
    def _apart(self, call: Call, checked: Mapping[str, Any]) -> Iterator[None]:
        """A call from outside that names files: those of the data directory are not read for it."""
        if call.caller.via not in access.OUTSIDE or not paths_of(checked):
            yield
            return
        token = shut.set(self.everything.storage.shut)
        try:
            yield
        finally:
            shut.reset(token)

    async def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the running call is; it reaches whoever asked for it."""
        call = observe.current.get()
        if call is not None:
            await call.progress(done, total, message)

    async def fitted(self, value: Any, limit: int) -> tuple[Any, bytes]:
        """A result and its compact JSON, within `limit` bytes; only the owner of the data directory can keep the rest.

        A longer one becomes a preview of the same shape, marked `truncated`, and a `handle` that reads back whole.
        """
        try:
            text = compact(value)
        except PydanticSerializationError:  # half a character in what a tool passes on as it came
            text = compact(value := scrubbed(value))
        if len(text) <= limit or not isinstance(value, dict):
            return value, text
        handle = value.get("handle") or self.results.uri_of(await self.results.keep_json(value))
        marked = {**value, "truncated": True, "handle": handle}
        preview = await anyio.to_thread.run_sync(shortened, marked, limit)
        return preview, compact(preview)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        via: str | None = None,
        caller: Caller | None = None,
        progress: Progress | None = None,
        upload: Upload | None = None,
    ) -> Any:
        """Check, run and observe one capability by its dotted or MCP name.

        The result is plain JSON data that fits the capability's output schema: a field that is None is left out. Of a
        capability declared with @download it is a Download. `caller` says who asks (`via` alone: through which face);
        a call inside a call is made on behalf of whoever made the first. `upload` is the file that came with it.

        Raises a LakehouseError that says what to do next; never anything else but cancellation.
        """
        return (await self._through(name, arguments, via, caller, progress, upload, None))[0]

    async def answer(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        limit: int,
        *,
        caller: Caller,
        progress: Progress | None = None,
        upload: Upload | None = None,
    ) -> tuple[Any, bytes]:
        """As `call`, with the result's compact JSON beside it and both `fitted` to `limit` bytes."""
        return await self._through(name, arguments, None, caller, progress, upload, limit)

    async def _through(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        via: str | None,
        caller: Caller | None,
        progress: Progress | None,
        upload: Upload | None,
        limit: int | None,
    ) -> tuple[Any, bytes]:
        parent = observe.current.get()
        heard = progress or (parent.progress if parent else observe.no_progress)
        given = caller or (parent.caller if parent else Caller())
        if via is not None and caller is None:
            given = replace(given, via=via)
        given = access.bound(given, self.config) if parent is None else access.inherited(given, parent.caller)
        call = Call(name, given, parent.id if parent else None, heard, limit)
        return await self._watched(call, {} if arguments is None else arguments, upload)

    async def made(self, call: Call, arguments: Mapping[str, Any]) -> Any:
        """Make a call that is described whole, as a node of a workflow does."""
        return (await self._watched(call, arguments, None))[0]

    async def posted(self, name: str, body: bytes, signature: str, caller: Caller | None, key: str = "") -> str:
        """Start the workflow of a hook; see Triggers.posted. `caller` is whoever showed a token, else None."""
        await self.start()
        starter = None
        if caller is not None:
            from lakehouse.lake.steps import starter_of

            self.permit((await self.load()).find("workflow.run"), caller)
            starter = starter_of(access.bound(caller, self.config))
        if self.attached_to:
            raise Unavailable("another process owns the data directory.", fix="Post to that one, or end it.")
        return await (await self._triggered()).posted(name, body, signature, starter, key)

    def permit(self, capability: Capability, caller: Caller) -> None:
        """Raises Forbidden for what a caller from outside may not call, as the call itself would."""
        access.permit(self.catalogue, capability, Call(capability.name, access.bound(caller, self.config)))

    async def _received(self, request: attach.Asked, progress: Progress) -> tuple[Any, bytes]:
        """A call of an attached process, whose own settings say what its caller may do."""
        try:
            (await self.load()).find(request.name)
        except NotFound as unknown:
            raise attach.UnknownCapability(unknown.detail, fix=unknown.fix) from None
        call = Call(request.name, request.caller, None, progress, request.limit)
        return await self._watched(call, request.arguments, request.upload)

    async def _watched(self, call: Call, arguments: Mapping[str, Any], upload: Upload | None) -> tuple[Any, bytes]:
        began, outcome = time.perf_counter(), "cancelled"
        try:
            answer = await self._anywhere(call, arguments, upload)
            outcome = "ok"
            return answer
        except LakehouseError as error:
            self.clean(error)
            outcome = error.code
            raise
        finally:
            if self.watchers:
                seconds = time.perf_counter() - began
                if "catalogue" not in vars(self):
                    with anyio.CancelScope(shield=True):
                        await self.load()
                self._tell(call, outcome, seconds)

    def _tell(self, call: Call, outcome: str, seconds: float) -> None:
        with suppress(NotFound):  # there is no such capability, and who counts calls counts by name
            name = self.catalogue.find(call.name).name
            call = call if call.name == name else replace(call, name=name)
            for watcher in self.watchers:
                watcher(call, outcome, seconds)

    async def _anywhere(self, call: Call, arguments: Mapping[str, Any], upload: Upload | None) -> tuple[Any, bytes]:
        """Here, where this process owns the data directory; else by the owner, and by the next one when that goes."""
        for _ in range(MAX_OWNERS):
            await self.start()
            if (attachment := self._attachment) is None:
                return await self._here((await self.load()).find(call.name), call, arguments, upload)
            caller = call.caller if call.caller.folder else replace(call.caller, folder=working_folder())
            try:
                return await attachment.call(
                    attach.Asked(call.name, arguments, caller, upload, call.limit), call.progress
                )
            except attach.UnknownCapability as unknown:
                raise await self._only_here(call.name, unknown, attachment.owner) from None
            except attach.Gone as gone:
                self._let_go(attachment)
                if gone.sent and not await self._repeatable(call.name):
                    raise Unavailable(
                        f"{attachment.owner}, which ran {call.name}, ended before it answered; whether it was done is "
                        "not known.",
                        fix="See whether it was, then call again.",
                    ) from None
        raise Unavailable(
            f"{MAX_OWNERS} processes that owned the data directory ended, one after another, while {call.name} ran.",
            fix="Look into the server's log, then call again.",
        )

    async def _repeatable(self, name: str) -> bool:
        """Whether a call may be made twice."""
        try:
            capability = (await self.load()).find(name)
        except NotFound:  # only the owner had it
            return False
        return capability.effect == "reads" or capability.facts.idempotent

    async def _only_here(self, name: str, unknown: NotFound, owner: str) -> NotFound:
        """The error for a capability that the owner does not have."""
        try:
            (await self.load()).find(name)
        except NotFound:
            return NotFound(unknown.detail, fix=unknown.fix)
        return NotFound(
            f"{owner}, which owns the data directory and runs its calls, has no {name}.",
            fix="It was started without the plugin, or before that was there: start it again with the same settings.",
        )

    async def _here(
        self, capability: Capability, call: Call, arguments: Mapping[str, Any], upload: Upload | None
    ) -> tuple[Any, bytes]:
        """Check, run and record it in this process, which owns the data directory."""
        call = call if call.name == capability.name else replace(call, name=capability.name)
        token = observe.current.set(call)
        who = call.caller
        local = not (who.name or who.remote)
        actor = acting.set(Actor(who.name or who.via, call.id, who.via, who.profile, local))
        began, outcome, answer = time.perf_counter(), "cancelled", None
        error: LakehouseError | None = None
        try:
            access.refuse_steps(self.catalogue, capability, call)
            access.permit(self.catalogue, capability, call)
            async with self._bound(call) as call:
                checked = validated(capability, anchored(capability, arguments, call.caller.folder))
                if call.scope is not None:
                    checked = defaulted(capability, checked, cast("Profile", call.scope).defaults.as_dict())
                    await anyio.to_thread.run_sync(check_paths, checked)
                with self._apart(call, checked):
                    answer, text = await self._run(capability, checked, upload, call.limit)
            outcome = "ok"
            return answer, text
        except Exception as failure:
            error = foreseen(failure)
            if error is None:
                observe.log.exception("call.crashed %s (call %s)", capability.name, call.id)
                error = LakehouseError(
                    f"{capability.name} failed (call {call.id}).", fix="The server's log has the details under this id."
                )
            self.clean(error)
            outcome = error.code
            if error is failure:
                raise  # with what caused it
            raise error from failure
        finally:
            observe.current.reset(token)
            acting.reset(actor)
            await self._record(capability, call, arguments, answer, error, outcome, time.perf_counter() - began)

    def clean(self, error: LakehouseError) -> None:
        """Cut known credentials out of an error that is about to leave."""
        error.detail, error.fix, error.data = self.redactor.whole([error.detail, error.fix, error.data])

    async def _run(
        self, capability: Capability, checked: dict[str, Any], upload: Upload | None, limit: int | None
    ) -> tuple[Any, bytes]:
        """Run it within its time limit; the result as plain data, and its JSON where that was asked for."""
        if upload is not None:
            if capability.upload is None:
                raise InvalidInput(f"{capability.name} takes no file.", fix="Send its arguments as JSON.")
            checked[capability.upload[0]] = upload
        server = self.config.server
        seconds = server.long_timeout_secs if capability.facts.long else server.tool_timeout_secs
        setting = "server.long_timeout_secs" if capability.facts.long else "server.tool_timeout_secs"
        with anyio.move_on_after(seconds) as time_limit:
            try:
                result = await capability.run(self, **checked)
            except (Exception, GeneratorExit, anyio.get_cancelled_exc_class()):
                raise
            except BaseException as leaving:  # sys.exit() in a tool ends its call, not the server
                raise RuntimeError(f"it raised {type(leaving).__name__}") from leaving
        if time_limit.cancelled_caught:
            raise TimedOut(
                f"{capability.name} took over {seconds:g} seconds.", fix=f"Ask for less, or raise {setting}."
            )
        returns = capability.returns
        answer = returns.validate_python(result)
        if isinstance(answer, Download):
            return answer, b""
        try:
            answer = returns.dump_python(answer, mode="json", exclude_none=True)
        except UnicodeEncodeError:  # half a character somewhere: callers can send one, JSON cannot carry it
            answer = from_json(compact(scrubbed(returns.dump_python(answer, exclude_none=True))))
        return (answer, b"") if limit is None else await self.fitted(answer, limit)

    async def _record(
        self,
        capability: Capability,
        call: Call,
        arguments: Mapping[str, Any],
        answer: Any,
        error: LakehouseError | None,
        outcome: str,
        seconds: float,
    ) -> None:
        # Recording never harms the call it records, and a cancelled call is recorded too.
        settled = capability.effect != "reads"
        with anyio.CancelScope(shield=True) if settled else nullcontext():
            try:
                await Lakehouse.observer.of(self).record_call(
                    id=call.id,
                    parent=call.parent,
                    source="workflow" if call.node else call.caller.via,
                    op=capability.name,
                    input=arguments,
                    output=answer,
                    error=str(error) if error else ("cancelled" if outcome == "cancelled" else None),
                    seconds=seconds,
                    settled=settled,
                    workflow=call.workflow or None,
                    node_id=call.node or None,
                )
            except Exception:
                observe.log.exception("observer.failed %s", call.id)


def working_folder() -> str:
    """Where this process stands."""
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed: nothing is below this one
        return os.devnull
