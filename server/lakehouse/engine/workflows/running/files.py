"""The files of a run: its folder of artifacts, what nodes leave there, and the evidence it may have to show."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from pydantic_core import to_json

from lakehouse.engine import moment
from lakehouse.engine.files import make_folder, write
from lakehouse.engine.workflows.model import Approval, Cancel, Child, Mode, Node
from lakehouse.engine.workflows.references import Output
from lakehouse.errors import LakehouseError, Unprocessable, disk_failed

if TYPE_CHECKING:
    from lakehouse.engine.workflows.running.live import Live

EVIDENCE = "evidence.json"
_PLAIN = re.compile(r"[A-Za-z0-9_#-][A-Za-z0-9_#.-]{0,99}")


def artifacts(live: "Live") -> Path:
    """Where the run's nodes leave files: `$ARTIFACTS_DIR`."""
    return live.folder / "artifacts"


def state(live: "Live") -> Path:
    """What a workflow keeps from one run to the next: `$STATE_DIR`. Each profile has its own."""
    profile, kept = live.record.starter.profile, live.folder.parent / "state"
    return (kept if profile is None else kept / f"@{file_name(profile)}") / file_name(live.workflow.name)


def log_of(folder: Path, path: str) -> Path:
    """What a node's programs printed, in its run's folder: lines of when (ISO, UTC), `out` or `err`, and what."""
    *folders, name = map(file_name, path.split("/"))
    return folder.joinpath("logs", *folders, f"{name}.log")


async def prepare(live: "Live") -> None:
    """Make the run's folders, where one of its nodes may look for them. Raises Upstream."""
    if not any(_looks(node) for node in live.workflow.nodes):
        return

    def make() -> None:
        try:
            make_folder(artifacts(live))
            make_folder(state(live))
        except OSError as error:
            raise disk_failed(error) from error

    try:
        await anyio.to_thread.run_sync(make)
    except LakehouseError as error:
        live.broken = error
        raise


async def keep_output(live: "Live", node: Node, path: str, output: Output, model: str) -> None:
    """Write `nodes/<id>.md` and `nodes/<id>.meta.json` beside the artifacts, durably. Raises Upstream."""
    if live.dry:
        return
    about = {
        "run": live.record.id,
        "workflow": live.record.workflow,
        "node": path,
        "kind": node.kind,
        "output_type": node.output_type,
        "json": output.typed,
        "model": model,
        "written_at": moment.now(),
    }
    *folders, name = map(file_name, path.split("/"))
    folder = artifacts(live).joinpath("nodes", *folders)

    def keep() -> None:
        try:
            write(folder / f"{name}.md", output.text.encode("utf-8", "replace"))
            write(folder / f"{name}.meta.json", to_json(about, indent=2))
        except OSError as error:
            raise disk_failed(error) from error

    await anyio.to_thread.run_sync(keep)


async def check_evidence(live: "Live") -> None:
    """Raises Unprocessable where the workflow wants evidence of its work and none was left."""
    if not live.workflow.evidence_required or live.dry:
        return
    if not await anyio.to_thread.run_sync((artifacts(live) / EVIDENCE).is_file):
        raise Unprocessable(
            f"there is no {EVIDENCE} in $ARTIFACTS_DIR, which evidence_policy asks for.",
            fix="Have a node write it, or take evidence_policy out.",
        )


def file_name(name: str) -> str:
    """A name of a file for any text: the text itself where it is plain, else what is plain of it and a hash."""
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_#-]', '_', name)[:80]}-{digest}"


def _looks(node: Node) -> bool:
    if isinstance(node.body, Mode | Child | Approval | Cancel):
        return bool(node.output_type) or "_DIR" in repr((node.given, node.body))
    return True
