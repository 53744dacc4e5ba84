"""A user's own project: the plugin folders and a config file that names them, as `lakehouse init` writes them."""

from pathlib import Path
from typing import Any

from lakehouse.errors import Conflict, InvalidInput

CONFIG = """\
# Settings of this Lakehouse project. `lakehouse config` lists every setting, its value and where it came from.
# Use it with: lakehouse --config {file}

[plugins]
folders = ["."]            # tools/, modes/, queries/, workflows/ and corpora/ beside this file

# [storage]
# url = "file:///data/lake"   # where datasets and vectors are kept; default: the data directory

# [server]
# read_only = true            # hide and refuse whatever writes

# [embed]
# provider = "ollama"         # default: bundled, which needs no server and no network
# model = "nomic-embed-text"
"""

TOOL = '''\
"""Greetings: replace this file with tools of your own."""

from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


class Greeting(BaseModel):
    """A greeting."""

    text: str = Field(description="The greeting.")


@tool(toolset="admin")
async def hello(lake: Lakehouse, name: Annotated[str, "Whom to greet."] = "world") -> Greeting:
    """Greet somebody, to see that tools of this folder are loaded."""
    return Greeting(text=f"Hello, {name}.")
'''

QUERY = """\
# A verified query: a question with its SQL. On every face: queries_numbers over MCP, `lakehouse queries numbers` here.
# Once you change it, `lakehouse queries verify numbers` runs it and writes below what its datasets look like.
question: What are the squares of the first numbers?
sql: SELECT i AS number, i * i AS square FROM range(1, $most + 1) AS r(i)
params:
  most: {type: integer, description: How many., default: 5, min: 1, max: 1000}
verified:
  at: '2026-01-01T00:00:00.000000Z'
  datasets: {}
  columns:
  - {name: number, type: BIGINT}
  - {name: square, type: BIGINT}
"""

CORPUS = """\
# A corpus: `lakehouse corpora build notes` makes it of the texts in notes/, and `lakehouse search` finds them then;
# `lakehouse corpora check` tells mistakes.
description: Notes of this project.
source:
  folder: notes                # or dataset: NAME with text: and id: columns, or sql: SELECT id, text FROM ...
  include: ["*.md", "*.txt"]
chunker: auto
"""

WORKFLOW = """\
# A workflow: `lakehouse --config ... run greet` does it. Every tool is a step as well; `lakehouse workflow modes` lists
# them all.
name: greet
description: |
  Use when: seeing how a workflow of this folder is put together.
  Does: greets somebody with the tool of this folder, counts the words with its step, and writes both down.
  NOT for: anything else.
inputs:
  name: {default: world, description: Whom to greet.}
nodes:
  - id: hello
    mode: greeting.hello
    with: {name: $INPUTS.name}
  - id: count
    depends_on: [hello]
    mode: words.count
    with: {text: $hello.output.text}
  - id: page
    depends_on: [hello, count]
    mode: render.markdown
    with:
      data: {hello: $hello.output.text, words: $count.output.words}
      sections: [{text: "**{hello}** has {words} words."}]
returns: page
"""

MODE = '''\
"""Words, counted: replace this file with steps of your own."""

from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, mode


class Count(BaseModel):
    """How many."""

    words: int = Field(description="How many words.")


@mode()
async def count(lake: Lakehouse, text: Annotated[str, "The text."]) -> Count:
    """Count the words of a text."""
    return Count(words=len(text.split()))
'''

NOTE = """\
# Notes

Whatever is written in this folder can be searched: by what it means, and by its words.
"""

FILES = {
    "tools/greeting.py": TOOL,
    "queries/numbers.yaml": QUERY,
    "modes/words.py": MODE,
    "workflows/greet.yaml": WORKFLOW,
    "corpora/notes.yaml": CORPUS,
    "notes/notes.md": NOTE,
}


def create(folder: str | Path) -> dict[str, Any]:
    """Write a project into a folder, new or existing; what is there already is left as it is.

    Raises Conflict when the folder holds a lakehouse.toml already, InvalidInput when it cannot be written.
    """
    root = Path(folder).expanduser().resolve()
    config = root / "lakehouse.toml"
    if config.exists():
        raise Conflict(f"{config} is there already.", fix="Edit it, or choose another folder.")
    written = []
    try:
        for name, text in {**FILES, "lakehouse.toml": CONFIG.format(file=config)}.items():
            path = root / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                written.append(name)
    except OSError as error:
        raise InvalidInput(f"{root} cannot be written: {error.strerror}.", fix="Choose another folder.") from error
    return {"folder": str(root), "written": written, "next": f"lakehouse --config {config} greeting hello"}
