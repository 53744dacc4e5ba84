"""A file's text as plain data, and no more of it than a workflow may be."""

from typing import TYPE_CHECKING, Any

from lakehouse.engine.workflows.problems import Problem

if TYPE_CHECKING:
    from lakehouse.engine.workflows.language import Source

MAX_BYTES = 2**20


def read(source: "Source") -> tuple[dict[str, Any] | None, list[Problem]]:
    """The mapping a text holds, or why it holds none."""
    import yaml

    if len(source.text.encode("utf-8", "replace")) > MAX_BYTES:
        return None, [Problem("file", f"it is over {MAX_BYTES:,} bytes.", "Split it.")]
    try:
        found = yaml.safe_load(source.text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [Problem("file", f"it is not YAML: {' '.join(str(error).split())[:300]}.", "Mend it.")]
    if not isinstance(found, dict):
        return None, [Problem("file", "it holds no mapping.", "Write name:, description: and nodes:.")]
    missing = [key for key in ("name", "description", "nodes") if not found.get(key)]
    return found, [Problem(key, "it is missing.", f"Add {key}:.") for key in missing]
