"""A workflow with all it was read from, as plain data: what a run keeps, so that files may change under it."""

from collections.abc import Mapping
from typing import Any

from lakehouse.engine.workflows.language import Around, Loaded, Source


def pack(source: Source, loaded: Loaded) -> dict[str, Any]:
    """The bundle of a workflow that was loaded: JSON, with `name`, `text` and `path` of the workflow itself."""
    used = [
        {"kind": kind, "as": name, "name": one.name, "text": one.text, "path": one.path}
        for (kind, name), one in sorted(loaded.used.items())
    ]
    return {"name": source.name, "text": source.text, "path": source.path, "used": used}


def unpack(bundle: Mapping[str, Any]) -> tuple[Source, Around]:
    """The workflow of a bundle and what was around it; `load` understands the two as it did when they were packed."""
    texts = {(one["kind"], one["as"]): _source(one) for one in bundle.get("used", ())}
    return _source(bundle), Packed(texts)


def child(bundle: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The bundle of a workflow that the bundled one starts, or None: its text was not known when it was packed."""
    _, around = unpack(bundle)
    source = around.workflow(name)
    if source is None:
        return None
    mark = f"{name}/"
    used = [one for one in bundle["used"] if one["kind"] == "workflow" or "/" in one["as"]]
    # Those of the child stand there twice: it may start itself.
    own = [one | {"as": one["as"].removeprefix(mark)} for one in used if one["as"].startswith(mark)]
    return {"name": source.name, "text": source.text, "path": source.path, "used": own + used}


class Packed:
    """What is around a workflow of a bundle. See language.Around."""

    def __init__(self, texts: Mapping[tuple[str, str], Source], owner: str = "") -> None:
        """`owner` is the workflow whose commands and scripts these are; empty for the bundled one."""
        self._texts = texts
        self._mark = f"{owner}/" if owner else ""

    def at(self, source: Source) -> "Packed":
        """What was around another workflow of the bundle."""
        return Packed(self._texts, source.name)

    def workflow(self, name: str) -> Source | None:
        """Another workflow's text."""
        return self._texts.get(("workflow", name))

    def command(self, name: str) -> Source | None:
        """A command's text."""
        return self._texts.get(("command", self._mark + name))

    def script(self, name: str) -> Source | None:
        """A named script's source."""
        return self._texts.get(("script", self._mark + name))

    def names(self, kind: str) -> list[str]:
        """What the bundle has of a kind."""
        mark = "" if kind == "workflow" else self._mark
        return [name.removeprefix(mark) for one, name in self._texts if one == kind and name.startswith(mark)]


def _source(given: Mapping[str, Any]) -> Source:
    return Source(given["name"], given["text"], given["path"])
