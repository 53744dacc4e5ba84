"""Data as texts for people."""

from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse import Lakehouse, mode
from lakehouse.engine.markdown import Section, document


class Rendered(BaseModel):
    """A document."""

    markdown: str = Field(description="The text.")


@mode()
async def markdown(
    lake: Lakehouse,
    data: Annotated[Any, "What to show."],
    title: Annotated[str, "The document's title, a plain text."] = "",
    sections: Annotated[list[Section] | None, "What is shown, in order; default all of the data."] = None,
) -> Rendered:
    """Show data as Markdown: texts with `{path}` in them, lists, tables. Whatever the data holds is escaped.

    Example: {"data": {"n": 2, "rows": [{"id": "w-7"}]}, "sections": [{"text": "{n} found"}, {"table": "rows"}]}.
    """
    text = await anyio.to_thread.run_sync(partial(document, data, title=title, sections=sections))
    return Rendered(markdown=text)
