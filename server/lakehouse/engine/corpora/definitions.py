"""Definitions of corpora: the YAML files of the `corpora` folders, read strictly, each mistake with its line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lakehouse.engine.corpora.recipe import Chunker, Recipe, Source
from lakehouse.errors import InvalidInput, did_you_mean

FOLDER = "corpora"
MAX_BYTES = 2**18
MAX_FILES = 1000
MAX_DEPTH = 20
_PARTS: dict[str, type[BaseModel]] = {"": Recipe, "source": Source, "chunker": Chunker}
Lines = dict[tuple[str, ...], int]


@dataclass(frozen=True)
class Definition:
    """A recipe and the file it is from; whether that one is `shipped`."""

    recipe: Recipe
    path: Path
    shipped: bool = False

    def rules(self, made_by: str | None) -> bool:
        """Whether a corpus of its name is its own: not one of another definition; not any other, if it is shipped."""
        return made_by == self.recipe.name if made_by or self.shipped else True


@dataclass(frozen=True)
class Unusable:
    """A file that defines no corpus, and why."""

    path: Path
    name: str
    error: InvalidInput


def find(folders: Sequence[Path], shipped: Path | None = None) -> tuple[list[Definition], list[Unusable]]:
    """The definitions of project folders, by name, and the files that cannot be used. It blocks.

    Of two files that define one name, the one of the folder named first counts; those of the project `shipped` give
    way without a word.
    """
    found: dict[str, Definition] = {}
    problems = []
    for path in files_of(folders):
        try:
            definition = read(path)
            other = found.setdefault(definition.recipe.name, definition)
            if other is not definition:
                raise InvalidInput(
                    f"name: {definition.recipe.name} is defined in {_shown(other.path)} already.",
                    fix="Rename one of the two.",
                )
        except InvalidInput as error:
            problems.append(Unusable(path, path.stem, error))
    for path in files_of([shipped]) if shipped is not None else ():
        definition = replace(read(path), shipped=True)
        found.setdefault(definition.recipe.name, definition)
    return [found[name] for name in sorted(found)], problems


def files_of(folders: Sequence[Path]) -> list[Path]:
    """The definition files of project folders, in reading order, each once."""
    places = [path for folder in folders for path in sorted((folder / FOLDER).glob("[!_.]*.yaml"))[:MAX_FILES]]
    return list(dict.fromkeys(places))


def read(path: Path) -> Definition:
    """The definition in a file. A folder it names is meant from the project, the folder above `corpora`.

    Raises InvalidInput naming the line.
    """
    try:
        if not path.is_file():
            raise InvalidInput("it is not a plain file.", fix="Replace it.")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"it cannot be read: {error.strerror}.", fix="Open it to reading.") from error
    recipe = parsed(data, path.stem)
    if recipe.source.folder is not None:
        folder = str(path.parent.parent / Path(recipe.source.folder).expanduser())
        recipe = recipe.model_copy(update={"source": recipe.source.model_copy(update={"folder": folder})})
    return Definition(recipe, path)


def parsed(data: bytes, name: str) -> Recipe:
    """The recipe in the contents of a file of this name. Raises InvalidInput naming the line."""
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"it has {len(data):,} bytes; {MAX_BYTES:,} are the most.", fix="Shorten it.")
    fields, lines = _loaded(data)
    if not isinstance(fields, dict):
        raise InvalidInput("line 1: it is no mapping.", fix="Write source: and what it is into it.")
    given = fields.setdefault("name", name)
    if given != name:
        line = lines.get(("name",), 1)
        raise InvalidInput(f"line {line}: name: it is {given!r}, in a file called {name}.", fix="Rename one of them.")
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise _told(error, lines) from None


def _loaded(data: bytes) -> tuple[Any, Lines]:
    """The values of a YAML text, and the line of each key. Days and times stay texts."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows no dates, and no aliases: a few of them can stand for more than fits into memory."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            """As it is. Raises ComposerError for an alias, and for what is nested deeper than a definition can be."""
            if self.check_event(yaml.AliasEvent):
                raise self._refused("aliases are not resolved here")
            self.depth = getattr(self, "depth", 0) + 1
            if self.depth > MAX_DEPTH:
                raise self._refused("it is nested too deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def _refused(self, why: str) -> yaml.YAMLError:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            return yaml.composer.ComposerError(None, None, why, event.start_mark)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        loader = Loader(data)
        try:
            root = loader.get_single_node()
            lines: Lines = {}
            if root is not None:
                _note(root, (), lines)
            return (None if root is None else loader.construct_document(root)), lines
        finally:
            loader.dispose()
    except InvalidInput:
        raise
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        why = getattr(error, "problem", None) or " ".join(str(error).split())[:200]
        raise InvalidInput(f"{where}it is not YAML: {why}.", fix="Mend it.") from None


def _note(node: Any, path: tuple[str, ...], lines: Lines) -> None:
    if node.id == "sequence":
        for place, each in enumerate(node.value):
            lines[*path, str(place)] = each.start_mark.line + 1
        return
    if node.id != "mapping":
        return
    for key, value in node.value:
        at = (*path, str(key.value))
        line = key.start_mark.line + 1
        if at in lines:
            raise InvalidInput(f"line {line}: {'.'.join(at)}: it is there twice.", fix=f"See line {lines[at]}.")
        lines[at] = line
        _note(value, at, lines)


def _told(error: ValidationError, lines: Lines) -> InvalidInput:
    """The first mistake, with its line and what is meant instead; a misspelt key before the one it should be."""
    problems = error.errors(include_url=False, include_input=False)
    problem = min(problems, key=lambda each: each["type"] != "extra_forbidden")
    loc = tuple(map(str, problem["loc"]))
    # Where a value may be one of several types, the type is part of the place.
    known = [loc[:size] for size in range(len(loc), 0, -1) if loc[:size] in lines]
    place = known[0] if known else loc[:1]
    line = f"line {lines[place]}: " if known else ""
    said = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        fields = list(_PARTS[".".join(loc[:-1])].model_fields)
        there = f"There are: {', '.join(fields)}."
        return InvalidInput(f"{line}{'.'.join(loc)}: there is no such key.", fix=did_you_mean(loc[-1], fields, there))
    if problem["type"] == "missing":
        return InvalidInput(f"{'.'.join(loc)}: it is missing.", fix="A definition has source: and what it is.")
    return InvalidInput(f"{line}{'.'.join(place)}: {said[0].lower()}{said[1:]}.", fix="Mend it.")


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
