"""Processes that own a data directory, for tests that attach to them, and tools that do what they are told."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import lakehouse

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

PROBE = r'''"""Tools that fail, wait and count as they are told."""

import os
from pathlib import Path
from typing import Annotated, Any

import anyio
from pydantic import BaseModel, Field

import lakehouse
from lakehouse import Lakehouse, LakehouseError, NotFound, mode, resource, tool
from lakehouse.declare import download
from lakehouse.transfer import Accepts, Download, Upload


class KeyNotFound(NotFound):
    """A key is not there."""


class Answer(BaseModel):
    """An answer."""

    value: Any = Field(None, description="What it is.")


@tool()
async def echo(lake: Lakehouse, value: Annotated[Any, "Anything."] = None) -> Answer:
    return Answer(value=value)


@tool()
async def who(lake: Lakehouse) -> Answer:
    """Which process runs it, and for whom."""
    return Answer(value=[os.getpid(), lake.via, lake.caller.folder, lake.caller.read_only])


@tool()
async def at(lake: Lakehouse, path: Annotated[Path, "A file."]) -> Answer:
    return Answer(value=str(path))


@tool()
async def fail(lake: Lakehouse, kind: Annotated[str, "A class of lakehouse."]) -> Answer:
    if kind == "KeyNotFound":
        raise KeyNotFound("no k.", fix="Look.", data={"key": "k"})
    if kind == "RuntimeError":
        raise RuntimeError("the reason")
    try:
        raise ValueError("what was behind it")
    except ValueError as cause:
        known = LakehouseError if kind == "LakehouseError" else getattr(lakehouse, kind)
        raise known("so it is.", fix="Do this.", data={"n": 1}) from cause


@tool()
async def many(lake: Lakehouse) -> Answer:
    """Report from several tasks at once."""
    async with anyio.create_task_group() as group:
        for n in range(50):
            group.start_soon(lake.progress, n, 50, "x" * 10_000)
    return Answer()


async def _until(lake: Lakehouse, path: Path) -> None:
    await lake.progress(1, 2, "begun")
    while not await anyio.Path(path).exists():
        await anyio.sleep(0.01)


@tool()
async def wait(lake: Lakehouse, path: Annotated[Path, "It ends when this is there."]) -> Answer:
    await _until(lake, path)
    return Answer(value=os.getpid())


@tool("writes")
async def once(
    lake: Lakehouse, line: Annotated[str, "What to note."], note: Annotated[Path, "Where."],
    path: Annotated[Path | None, "It ends when this is there."] = None,
) -> Answer:
    """Add a line to a file: twice is not the same as once."""
    async with await anyio.open_file(note, "a") as file:
        await file.write(line + "\n")
    if path is not None:
        await _until(lake, path)
    return Answer(value=os.getpid())


@tool("writes", idempotent=True)
async def again(
    lake: Lakehouse, line: Annotated[str, "What to note."], note: Annotated[Path, "Where."],
    path: Annotated[Path | None, "It ends when this is there."] = None,
) -> Answer:
    """As once, but it says that twice is fine."""
    return await once(lake, line, note, path)


@tool("writes")
async def nested(lake: Lakehouse) -> Answer:
    """Calls another for whoever called it."""
    return Answer(**await lake.call("probe.who"))


@tool("writes")
async def send(
    lake: Lakehouse, upload: Annotated[Upload | None, Accepts(lambda c, a: 1000, "storage.max_put_bytes")] = None
) -> Answer:
    return Answer(value=None if upload is None else await anyio.Path(upload.path).read_text())


@download("GET /v1/probe/file/{name}")
async def file(lake: Lakehouse, name: Annotated[str, "Which."]) -> Download:
    path = lake.home / name
    await anyio.Path(path).write_text("contents")
    return Download(path=path, size=8, etag="e", filename=name)


@resource("lakehouse://probe/wait/{name}")
async def held(lake: Lakehouse, name: Annotated[str, "Below the data directory."]) -> Answer:
    return await wait(lake, lake.home / name)


@mode()
async def shout(lake: Lakehouse, text: Annotated[str, "A text."]) -> Answer:
    return Answer(value=text.upper())
'''

SCRIPT = """
import json, sys
import anyio, anyio.to_thread
import lakehouse

async def main():
    async with lakehouse.open(sys.argv[1], overrides=json.loads(sys.argv[2])):
        print("open", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)

anyio.run(main)
"""


def probe(folder: Path) -> Path:
    """A project folder below `folder` with the tools above, as `probe.*`."""
    path = folder / "probe-project" / "tools" / "probe.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROBE, encoding="utf-8")
    return path.parents[1]


def opened(home: Path, project: Path | None = None, **overrides: Any) -> Any:
    """Open the data directory in this process, with settings written as `section__key`."""
    settings = {"embed.provider": "hash", **{k.replace("__", "."): v for k, v in overrides.items()}}
    if project is not None:
        settings["plugins.folders"] = [str(project)]
    return lakehouse.open(home, overrides=settings)


@asynccontextmanager
async def another(
    home: Path, project: Path | None = None, **overrides: Any
) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """As `owning`, started and ended in a thread."""
    owner = owning(home, project, **overrides)
    child = await anyio.to_thread.run_sync(owner.__enter__)
    try:
        yield child
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(owner.__exit__, None, None, None)


async def end(child: "subprocess.Popen[bytes]") -> None:
    """End such a process in good order."""
    assert child.stdin is not None
    child.stdin.close()
    await anyio.to_thread.run_sync(child.wait)


@contextmanager
def owning(home: Path, project: Path | None = None, **overrides: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that has the data directory open until its stdin closes."""
    settings = {"embed.provider": "hash", **{k.replace("__", "."): v for k, v in overrides.items()}}
    if project is not None:
        settings["plugins.folders"] = [str(project)]
    command = [sys.executable, "-c", SCRIPT, str(home), json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"open\n"
            yield child
        finally:
            child.kill()
