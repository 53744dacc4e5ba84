"""Workflows that say `tool: true` are capabilities of their own, found at the next start."""

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as t
import pytest
from mcp import Client

import lakehouse
from lakehouse import InvalidInput
from lakehouse.catalogue import Catalogue
from lakehouse.faces.mcp import mcp_server
from lakehouse.rendered import rendered

pytestmark = pytest.mark.anyio

SHOUT = """\
name: shout-it
description: Say a word in capitals.
tool: true
title: Shout
inputs:
  word: {required: true, description: The word.}
  times: {type: integer, default: 2}
  more: {type: object}
nodes: [{id: up, mode: fixture.upper, with: {text: "$INPUTS.word $INPUTS.times $ARGUMENTS"}}]
"""


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / "workflows" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


async def test_its_inputs_are_its_arguments(home: Path) -> None:
    written(home, shout=SHOUT)
    async with lakehouse.open(home) as lake:
        await lake.load()
        tool = lake.catalogue.find("workflow_shout_it")
        assert (tool.name, tool.title, tool.description) == ("workflow.shout_it", "Shout", "Say a word in capitals.")
        schema = tool.input_schema
        assert schema["required"] == ["word"] and schema["properties"]["word"]["description"] == "The word."
        assert schema["properties"]["times"] == {"type": "integer", "default": 2}
        assert schema["properties"]["more"]["type"] == "object" and "message" in schema["properties"]
        told = await lake.call("workflow.shout_it", {"word": "hey", "message": "you"})
        assert told["result"] == '{"text":"HEY 2 YOU"}' and told["workflow"] == "shout-it"
        with pytest.raises(InvalidInput, match="times"):
            await lake.call("workflow.shout_it", {"word": "hey", "times": "many"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SHOUT.replace("shout-it", "run"), "two capabilities are called"),
        (SHOUT.replace("word:", "a-b:"), "no argument of that name"),
        (SHOUT.replace("word:", "home:"), "an option of that name"),
        (SHOUT.replace("word:", "json:"), "no argument of that name"),
        (SHOUT.replace("more:", "message:"), "which is called so"),
        (SHOUT.replace("mode:", "mod:"), "is of no kind"),
        (SHOUT.replace("shout-it", "日本"), "no name for a capability"),
    ],
)
def test_one_that_cannot_be_a_tool_is_left_out_and_told(tmp_path: Path, text: str, reason: str) -> None:
    found = Catalogue([written(tmp_path, bad=text)])
    assert [reason in one.reason for one in found.skipped] == [True], found.skipped
    assert set(found) == set(Catalogue())


def test_the_file_of_a_later_place_is_the_tool(tmp_path: Path) -> None:
    """As it is for runs by name; what only speaks of tools is none."""
    first = written(tmp_path / "a", shout=SHOUT, talk=SHOUT.replace("tool: true", "title: 'tool: x'").replace("-", "_"))
    second = written(tmp_path / "b", loud=SHOUT.replace("Say a word", "Call a word"))
    found = Catalogue([first], second)
    assert found.skipped == []
    assert found["workflow.shout_it"].description == "Call a word in capitals."
    assert found.by_mcp_name["workflow_shout_it"] is found["workflow.shout_it"]


def test_it_is_there_at_the_next_start(home: Path) -> None:
    """The rendering is kept: a new file, and a changed one, make it anew; others leave it as it is."""

    def names() -> list[str]:
        return [tool["mcp_name"] for tool in rendered((), home)["tools"] if tool["mcp_name"].startswith("workflow_s")]

    before = names()
    written(home, other=SHOUT.replace("tool: true\n", ""))
    assert names() == before
    written(home, shout=SHOUT)
    assert set(names()) - set(before) == {"workflow_shout_it"}
    written(home, shout=SHOUT.replace("shout-it", "shout"))
    assert set(names()) - set(before) == {"workflow_shout"}


async def test_a_model_is_offered_it(home: Path) -> None:
    """In the list, called with progress, its run a resource with completion."""
    written(home, shout=SHOUT)
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with lakehouse.open(home) as lake:
        server = mcp_server(lake, await anyio.to_thread.run_sync(rendered, (), home))
        async with Client(server) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["workflow_shout_it"].input_schema["required"] == ["word"]
            given: dict[str, Any] = {"word": "hey", "times": 1}
            told = await client.call_tool("workflow_shout_it", given, progress_callback=hear)
            assert told.structured_content is not None and told.structured_content["status"] == "completed"
            assert [message for _, message in heard][:2] == ["run started", "up started"]
            assert [done for done, _ in heard] == sorted({done for done, _ in heard})
            run = told.structured_content["run_id"]
            read = await client.read_resource(f"lakehouse://runs/{run}/nodes/up")
            assert isinstance(read.contents[0], t.TextResourceContents)
            assert read.contents[0].text == '{"text":"HEY 1 "}'
            template = t.ResourceTemplateReference(type="ref/resource", uri="lakehouse://runs/{id}")
            found = await client.complete(template, {"name": "id", "value": run[:6]})
            assert found.completion.values == [run]
