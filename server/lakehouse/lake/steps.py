"""What the nodes of workflows call: the one door, on behalf of whoever started the run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lakehouse.declare import Capability
from lakehouse.engine.redact import secret_variables
from lakehouse.engine.workflows.ports import KEY, Asked, ModeFacts
from lakehouse.engine.workflows.runs.record import Starter
from lakehouse.lake import access
from lakehouse.observe import Call, Caller, new_id

if TYPE_CHECKING:
    from lakehouse.engine.chat import ChatReply, ChatRequest
    from lakehouse.lake.door import Lakehouse


class Steps:
    """The door of a lake as the workflows' port; see engine.workflows.ports.Door."""

    def __init__(self, lake: "Lakehouse") -> None:
        self._lake = lake

    async def ready(self) -> None:
        """Load the catalogue."""
        await self._lake.load()

    def mode(self, name: str) -> ModeFacts | None:
        """What a mode takes and gives."""
        found = self._named(name)
        return _facts(found) if found is not None and found.facts.kind in ("tool", "mode") else None

    def _named(self, name: str) -> Capability | None:
        return self._lake.catalogue.get(name) or self._lake.catalogue.by_mcp_name.get(name)

    def modes(self) -> list[str]:
        """The names of the modes."""
        return [name for name, one in self._lake.catalogue.items() if one.facts.kind in ("tool", "mode")]

    def offered(self, starter: Starter, names: Sequence[str] | None) -> list[ModeFacts]:
        """The tools a model may be offered: what the starter itself may call."""
        caller, catalogue = caller_of(starter), self._lake.catalogue
        wanted = catalogue.public() if names is None else [catalogue.find(name) for name in names]
        for capability in wanted if names is not None else ():
            self._lake.permit(capability, caller)
        return [_facts(capability) for capability in wanted]

    async def call(self, asked: Asked, name: str, arguments: Mapping[str, Any]) -> tuple[Any, str]:
        """A call of a node: an op of its own, whose parent is the run."""
        caller = access.bound(caller_of(asked.starter), self._lake.config)
        call = Call(name, caller, asked.run, workflow=asked.workflow, node=asked.node, key=asked.key)
        asked.ops.append(call.id)
        return (await self._lake.made(call, self._keyed(name, arguments, asked.key))), call.id

    def _keyed(self, name: str, arguments: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """Arguments, with the node's key where the capability takes one and none is given."""
        found = self._named(name)
        takes = found is not None and KEY in found.arguments.model_fields
        return {**arguments, KEY: key} if takes and KEY not in arguments else arguments

    async def record(self, asked: Asked, op: str, given: Any, answer: Any, error: str | None, seconds: float) -> str:
        """An op that is no call."""
        id = new_id()
        await (
            type(self._lake)
            .observer.of(self._lake)
            .record_call(
                id=id,
                parent=asked.run,
                source="workflow",
                op=op,
                input=given,
                output=answer,
                error=error,
                seconds=seconds,
                settled=False,
                workflow=asked.workflow,
                node_id=asked.node,
            )
        )
        return id

    async def dispatch(self, asked: Asked, request: "ChatRequest") -> tuple["ChatReply", str]:
        """Ask a chat model."""
        began = time.perf_counter()
        given = {
            "model": request.asked,
            "messages": [asdict(message) for message in request.messages],
            **({"tools": [offer.name for offer in request.tools]} if request.tools else {}),
        }
        try:
            reply = await self._lake.chat.ask(request)
        except Exception as error:
            seconds = time.perf_counter() - began
            asked.ops.append(await self.record(asked, "llm.chat", given, None, str(error), seconds))
            raise
        answer = {name: value for name, value in asdict(reply).items() if value or name == "content"}
        asked.ops.append(await self.record(asked, "llm.chat", given, answer, None, time.perf_counter() - began))
        return reply, asked.ops[-1]

    def clean(self, text: str) -> str:
        """A text without credentials."""
        return str(self._lake.redactor.whole(text))

    def hidden(self) -> frozenset[str]:
        """The variables that hold credentials of ours."""
        return secret_variables(self._lake.config)


def caller_of(starter: Starter) -> Caller:
    """The caller that a run's starter is."""
    return Caller(
        starter.via,
        starter.remote,
        starter.read_only,
        frozenset(starter.toolsets),
        starter.name,
        starter.profile,
        starter.folder,
    )


def starter_of(caller: Caller) -> Starter:
    """What is kept of whoever starts a run; of a command line also where it stands: a resumed run stands there, too."""
    from lakehouse.lake.door import working_folder

    folder = caller.folder
    if folder is None and caller.via == "cli" and not caller.remote:
        folder = working_folder()
    return Starter(
        caller.via,
        caller.remote,
        caller.read_only,
        tuple(sorted(caller.toolsets)),
        caller.name,
        caller.profile,
        folder,
    )


def _facts(capability: Capability) -> ModeFacts:
    return ModeFacts(
        capability.name,
        capability.description,
        capability.effect,
        capability.input_schema,
        capability.output_schema,
        capability.mcp_name if capability.public else "",
    )
