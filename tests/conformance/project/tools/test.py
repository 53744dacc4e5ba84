"""What the official conformance suite asks for by name, as far as a tool, resource or prompt of ours can be it."""

from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import InvalidInput, Lakehouse, mode, prompt, resource, tool

# One red pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)


class Said(BaseModel):
    """A sentence."""

    text: str = Field(description="The sentence.")


class Values(BaseModel):
    """Completions."""

    values: list[str]


class Filled(BaseModel):
    """A template with its parameter put in."""

    id: str
    templateTest: bool
    data: str


@tool()
async def simple_text(lake: Lakehouse) -> Said:
    """Say one sentence."""
    return Said(text="This is a simple text response for testing.")


@tool()
async def error_handling(lake: Lakehouse) -> Said:
    """Fail, always."""
    raise InvalidInput("This tool intentionally returns an error for testing.")


@tool()
async def tool_with_progress(lake: Lakehouse) -> Said:
    """Report progress thrice."""
    for done in (0, 50, 100):
        await lake.progress(done, 100, f"{done} of 100")
    return Said(text="Done.")


@tool()
async def header(
    lake: Lakehouse, region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"}), "Where."]
) -> Said:
    """Take an argument that a client repeats in an HTTP header."""
    return Said(text=region)


@resource("test://static-text", mime_type="text/plain")
async def static_text(lake: Lakehouse) -> str:
    """A text."""
    return "This is the content of the static text resource."


@resource("test://static-binary", mime_type="image/png")
async def static_binary(lake: Lakehouse) -> bytes:
    """An image."""
    return PNG


@resource("test://template/{id}/data", complete={"id": "test.ids"}, listed=True)
async def template(lake: Lakehouse, id: Annotated[str, "Which."]) -> Filled:
    """A thing of many."""
    return Filled(id=id, templateTest=True, data=f"Data for ID: {id}")


@mode()
async def ids(lake: Lakehouse, prefix: Annotated[str, "Typed so far."] = "") -> Values:
    """The ids of the template."""
    return Values(values=[id for id in ("1", "12", "2") if id.startswith(prefix)])


@mode()
async def many(lake: Lakehouse, prefix: Annotated[str, "Typed so far."] = "") -> Values:
    """More values than an answer may hold."""
    return Values(values=[f"{prefix}{n}" for n in range(150)])


@prompt()
async def test_simple_prompt(lake: Lakehouse) -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


@prompt(complete={"arg1": "test.many"})
async def test_prompt_with_arguments(
    lake: Lakehouse, arg1: Annotated[str, "One."], arg2: Annotated[str, "Two."]
) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1={arg1!r}, arg2={arg2!r}"
