"""Workflow files of a test that exist as texts only."""

from collections.abc import Mapping

from lakehouse.engine.workflows.language import Loaded, Source, load


class Given:
    """What is around a workflow: these texts. See language.Around."""

    def __init__(
        self,
        workflows: Mapping[str, str] | None = None,
        commands: Mapping[str, str] | None = None,
        scripts: Mapping[str, str] | None = None,
    ) -> None:
        self._texts = {"workflow": workflows or {}, "command": commands or {}, "script": scripts or {}}

    def at(self, source: Source) -> "Given":
        return self

    def workflow(self, name: str) -> Source | None:
        return self._source("workflow", name, f"{name}.yaml")

    def command(self, name: str) -> Source | None:
        return self._source("command", name, f"{name}.md")

    def script(self, name: str) -> Source | None:
        return self._source("script", name, f"{name}.py")

    def names(self, kind: str) -> list[str]:
        return list(self._texts[kind])

    def _source(self, kind: str, name: str, path: str) -> Source | None:
        text = self._texts[kind].get(name)
        return None if text is None else Source(name, text, path)


def understood(text: str, **around: Mapping[str, str]) -> Loaded:
    """A text, loaded among these."""
    return load(Source("t", text, "t.yaml"), Given(**around))
