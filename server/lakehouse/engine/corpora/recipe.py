"""How a corpus is made: its source, chunker, model and options, as a YAML file or a call says it. Light to import."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from lakehouse import config
from lakehouse.errors import InvalidInput

MAX_BATCH = 1024
MAX_WORKERS = 8  # as many batches an embedder sends to its provider at once
KINDS = ("dataset", "sql", "folder")
# What a run may choose anew without another corpus coming of it.
_RUN = {"name", "description", "batch_size", "workers"}
_Text = Annotated[str, StringConstraints(min_length=1, max_length=2**16)]


def _listed(value: Any) -> Any:
    """One name stands for a list of one."""
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[_Text], BeforeValidator(_listed)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """Where the documents come from: one of dataset, sql and folder."""

    dataset: _Text | None = None
    as_of: int | str | None = None
    sql: _Text | None = None
    folder: _Text | None = None
    text: _Names | None = None
    id: _Text | None = None
    metadata: _Names | None = None
    include: _Names = []
    exclude: _Names = []

    @property
    def kind(self) -> str:
        """dataset, sql or folder."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one(self) -> "Source":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("dataset, sql, folder: exactly one is needed")
        columns = [name for name in ("text", "id", "metadata") if getattr(self, name)]
        if given == ["folder"] and (columns or self.as_of is not None):
            raise ValueError("text, id, metadata, as_of: a folder has no columns and no versions")
        if given != ["folder"] and (self.include or self.exclude):
            raise ValueError("include, exclude: only a folder has files")
        return self


class Chunker(_Part):
    """How a document is cut. Without `max_chars` and `overlap`, as the settings say."""

    kind: _Text = "auto"
    max_chars: int | None = Field(None, ge=200)
    overlap: int | None = Field(None, ge=0)


def _chunker(value: Any) -> Any:
    """The kind alone stands for a chunker of that kind."""
    return {"kind": value} if isinstance(value, str) else value


class Recipe(_Part):
    """One corpus. With `follow`, each new version of its dataset brings it up to date."""

    name: _Text
    description: str = Field("", max_length=1000)
    source: Source
    chunker: Annotated[Chunker, BeforeValidator(_chunker)] = Chunker()
    model: str | None = None
    id_prefix: str = Field("", max_length=200)
    batch_size: int | None = Field(None, ge=1, le=MAX_BATCH)
    workers: int | None = Field(None, ge=1, le=MAX_WORKERS)
    limit: int | None = Field(None, ge=1)
    follow: bool = False

    @model_validator(mode="after")
    def _follows(self) -> "Recipe":
        if self.follow and (self.source.dataset is None or self.source.as_of is not None or self.limit is not None):
            raise ValueError("follow: only a corpus of a whole dataset, without as_of and limit, follows its versions")
        return self

    def cut(self, settings: config.Corpora) -> tuple[str, int, int]:
        """The kind of its chunker, and the characters of a chunk and of an overlap."""
        largest = self.chunker.max_chars or settings.max_chars
        shared = settings.overlap if self.chunker.overlap is None else self.chunker.overlap
        return self.chunker.kind, largest, min(shared, largest // 2)

    def stored(self) -> dict[str, Any]:
        """What is kept with the corpus, so that it can be made again and compared with a definition."""
        return self.model_dump(mode="json", exclude=_RUN, exclude_defaults=True)


def recipe_of(name: str, source: Mapping[str, Any], options: Mapping[str, Any]) -> Recipe:
    """The recipe that a call asks for; what is None is not given. Raises InvalidInput."""
    given = {key: value for key, value in options.items() if value is not None}
    where = {key: value for key, value in source.items() if value is not None}
    try:
        return Recipe.model_validate({"name": name, "source": where, **given})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"] if part != "source")
        said = problem["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{place}: {said}." if place else f"{said}.", fix="Mend it, or leave it out.") from None


def changes(then: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """The fields two stored recipes differ in: `source.text`, `model`, …"""
    found = []
    for name in dict.fromkeys([*then, *now]):
        old, new = then.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += changes(old, new, f"{path}{name}.")
        elif old != new:
            found.append(f"{path}{name}")
    return found
