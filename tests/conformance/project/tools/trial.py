"""What the client matrix calls: a tool that waits until it is cancelled, and says that it was."""

from typing import Annotated

import anyio
from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


class Ended(BaseModel):
    """How it ended."""

    ended: bool = Field(description="Whether nothing cut it short.")


@tool()
async def wait(lake: Lakehouse, path: Annotated[str, "The file to write when the wait is cut short."]) -> Ended:
    """Report progress, then wait for ever."""
    await lake.progress(1, 4, "one of four")
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(path).write_text("cancelled", encoding="utf-8")
    return Ended(ended=True)
