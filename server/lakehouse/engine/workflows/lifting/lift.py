"""Makes workflows of recorded calls: finds the calls, lifts them, checks and tests what came out, and saves it."""

import re
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from lakehouse.engine import files
from lakehouse.engine.kept import SETTING, Kept
from lakehouse.engine.observer import SOURCES
from lakehouse.engine.workflows.lifting.file import TESTS, stubs_text, test_text, workflow_text
from lakehouse.engine.workflows.lifting.lifting import lifted
from lakehouse.engine.workflows.lifting.recorded import Recording, of_kept, of_run
from lakehouse.engine.workflows.lifting.tested import failures
from lakehouse.engine.workflows.lifting.told import FromOps
from lakehouse.engine.workflows.part import Workflows
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.runs import Starter
from lakehouse.errors import Conflict, Forbidden, InvalidInput, NotFound, Unprocessable, disk_failed

NAME = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)
APART = ("workflow.", "observer.")  # what watches calls is no part of the work


class Lifting:
    """Workflows out of what was recorded."""

    def __init__(self, home: Path, workflows: Workflows, kept: Kept, door: Door) -> None:
        self._folder = home / "workflows"
        self._workflows = workflows
        self._kept = kept
        self._door = door

    async def lift(
        self,
        of: Sequence[str],
        starter: Starter,
        *,
        last: int = 10,
        name: str = "",
        save: bool = False,
    ) -> FromOps:
        """The workflow of a run, of the calls with these ids or made by them, or of the newest of a source.

        What it makes is understood by the loader, passes the checks, and gives in a dry run what was recorded. Raises
        NotFound for calls that were not kept, Unprocessable when nothing can be lifted, Forbidden to save from
        elsewhere than this machine, Conflict where there is a file already.
        """
        if name and not NAME.fullmatch(name):
            raise InvalidInput("name: letters, digits, - and _ make a name.", fix="Choose another.")
        if save and not starter.shell:
            raise Forbidden("files are saved from this machine only.", fix="Save the texts yourself.")
        await self._door.ready()
        recording = await self._recording(of, last)
        made = await anyio.to_thread.run_sync(lifted, recording.calls, self._door.mode)
        notes = [*recording.notes, *made.notes]
        if not made.nodes:
            raise Unprocessable("there is no call to make a workflow of.", fix=" ".join(notes)[:1000] or "Name others.")
        name = name or f"{recording.name or made.nodes[0]['id']}-lifted"
        text, test = workflow_text(name, made), test_text(name, made)
        report = await self._workflows.validate(name, text, starter)
        wrong = [f"{one['where']}: {one['message']}" for one in report["errors"]]
        if not wrong:
            wrong = [str(one) for one in await failures(self._workflows, test, starter, name, text)]
        if wrong:
            raise Unprocessable(
                f"what was recorded cannot be run again: {'; '.join(wrong)[:2000]}", fix="Name fewer calls."
            )
        found = FromOps(name=name, workflow=text, stubs=stubs_text(made), test=test, nodes=len(made.nodes), notes=notes)
        if save:
            found.saved = await anyio.to_thread.run_sync(self._save, found)
        return found

    async def _recording(self, of: Sequence[str], last: int) -> Recording:
        if len(of) == 1:
            try:
                state = await self._workflows.state(of[0])
            except NotFound:
                pass
            else:
                return await anyio.to_thread.run_sync(of_run, state, self._door.mode)
        source = of[0] if len(of) == 1 and of[0] in SOURCES else ""
        if not self._kept.limit:
            raise NotFound(
                "calls are not kept whole here, only summaries of them.",
                fix=f"Set {SETTING}, make the calls again; or name a run of a workflow, which has all of it.",
            )
        kept = await self._kept.newest()
        if not source:
            found = [one for one in kept if one["id"] in of or one.get("parent") in of]
            lost = [id for id in of if not any(id in (one["id"], one.get("parent")) for one in found)]
            if lost:
                fix = f"Name calls made since {SETTING} was set; observer_recent lists them."
                raise NotFound(f"of {', '.join(lost)[:300]} nothing was kept.", fix=fix)
        else:
            own = [one for one in kept if one["source"] == source and not one.get("parent")]
            found = [one for one in own if not one["op"].startswith(APART)][-last:]
        return of_kept(found, SETTING)

    def _save(self, found: FromOps) -> str:
        path = self._folder / f"{found.name}.yaml"
        try:
            files.write(path, found.workflow.encode(), create=True)
            files.write(self._folder / TESTS / path.name, found.test.encode())
        except FileExistsError:
            raise Conflict(f"there is a {path.name} already.", fix="Choose another name.") from None
        except OSError as error:
            raise disk_failed(error) from error
        return f"workflows/{path.name}"
