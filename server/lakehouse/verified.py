"""A verified query as a file: its question, its SQL, its parameters with types, and what its datasets looked like.

question: How many orders does each city have?
sql: SELECT city, count(*) AS n FROM orders WHERE year = $year GROUP BY ALL
params:
  year: {type: integer, description: The year., default: 2024, min: 2000}
verified:           # written by verify_query and save_query
  ...
"""

import datetime
import keyword
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from lakehouse.errors import InvalidInput

Kind = Literal["integer", "number", "string", "boolean", "date", "timestamp"]
RESERVED = frozenset({"delete", "list", "run", "save", "verify"})  # capabilities of their own
MAX_BYTES = 2**18
_NAME = re.compile(r"[a-z][a-z0-9_]{0,55}")
_TAKEN = frozenset({"config", "help", "home", "json", "lake"})  # options of every command
_TYPES: dict[str, Any] = {"integer": int, "number": float, "string": str, "boolean": bool}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Parameter(_Part):
    """A parameter: what it takes, and where `default` is given, what it is when it is left out."""

    type: Kind
    description: str = ""
    default: Any = None
    enum: list[Any] | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None
    example: Any = None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return "default" not in self.model_fields_set

    @property
    def annotation(self) -> Any:
        """Its type, as the signature of a capability has it."""
        metadata: list[Any] = [self.description] if self.description else []
        if self.type in ("date", "timestamp"):
            kind: Any = str
            metadata.append(AfterValidator(_moment if self.type == "timestamp" else _day))
            metadata.append(AfterValidator(_between(self.min, self.max)))
            shown: dict[str, Any] = {"type": "string", "format": "date" if self.type == "date" else "date-time"}
            metadata.append(WithJsonSchema(shown | ({"enum": self.enum} if self.enum else {})))
        else:
            kind = _TYPES[self.type]
            limits: dict[str, Any] = {"ge": self.min, "le": self.max} if self.type in ("integer", "number") else {}
            if self.enum:
                limits["json_schema_extra"] = {"enum": self.enum}
            metadata.append(Field(**limits))
        if self.enum:
            metadata.append(AfterValidator(_one_of(self.enum)))
        return Annotated[(kind, *metadata)]

    @property
    def trial(self) -> Any:
        """A value to try the query with. Raises ValueError where it has none."""
        for value in (self.example, self.default, (self.enum or [None])[0], self.min, self.max):
            if value is not None:
                return value
        if self.required:
            raise ValueError("give it a default or an example: the query is run once with it")
        return None


class Seen(_Part):
    """A dataset as it was when a query over it was verified: column names and Arrow types."""

    fingerprint: str
    columns: dict[str, str]


class Column(_Part):
    """A column of the result."""

    name: str
    type: str


class Verified(_Part):
    """When a query was run and found right, over what, and what came out."""

    at: str
    datasets: dict[str, Seen] = {}
    columns: list[Column] = []


class Query(_Part):
    """One query."""

    name: str
    question: str = Field(min_length=1, max_length=1000)
    sql: str = Field(min_length=1)
    params: dict[str, Parameter] = {}
    verified: Verified | None = None

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all parameters. Raises InvalidInput naming each one that is wrong, unknown or missing."""
        fields: dict[str, Any] = {
            name: (parameter.annotation, ... if parameter.required else parameter.default)
            for name, parameter in self.params.items()
        }
        model = create_model(self.name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)
        try:
            return dict(model.model_validate(dict(given)))
        except ValidationError as error:
            known = ", ".join(self.params) or "none"
            raise InvalidInput(_told(error, "params"), fix=f"Its parameters: {known}.") from None


def parsed(data: bytes, name: str) -> Query:
    """The query in a file of this name. Raises InvalidInput that says what of it is wrong."""
    import yaml

    if len(data) > MAX_BYTES:
        raise InvalidInput(f"it has {len(data):,} bytes; {MAX_BYTES:,} are the most.", fix="Shorten it.")
    try:
        fields = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"it is not YAML: {' '.join(str(error).split())[:300]}.", fix="Mend it.") from None
    if not isinstance(fields, dict):
        raise InvalidInput("it is no mapping.", fix="Write question: and sql: into it.")
    if "question" not in fields and "description" in fields:
        fields["question"] = fields.pop("description")
    if fields.setdefault("name", name) != name:
        raise InvalidInput(f"name: it is {fields['name']!r}, in a file called {name}.", fix="Rename one of them.")
    return checked(fields)


def checked(fields: Mapping[str, Any]) -> Query:
    """The query that these fields describe. Raises InvalidInput."""
    try:
        query = Query.model_validate(_plain(fields))
    except ValidationError as error:
        raise InvalidInput(_told(error, ""), fix="A query has question, sql and params.") from None
    check_name(query.name)
    for name, parameter in query.params.items():
        if not _NAME.fullmatch(name) or name in _TAKEN or keyword.iskeyword(name):
            raise InvalidInput(
                f"params.{name}: it is no name for a parameter.",
                fix=f"Use a-z, 0-9 and _; not {', '.join(sorted(_TAKEN))}, and no word of Python's.",
            )
        _check(name, parameter)
    return query


def check_name(name: str) -> None:
    """Raises InvalidInput for what a query cannot be called."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise InvalidInput(
            f"name: {name[:80]!r} is no name for a query.",
            fix=f"Use a-z, 0-9 and _, beginning with a letter, at most 56; not {', '.join(sorted(RESERVED))}.",
        )


def dumped(query: Query) -> bytes:
    """The query as a file, in the order people read it."""
    fields = query.model_dump(exclude_unset=True, exclude={"name", "verified"})
    text = _yaml({"name": query.name, **fields})
    return (text if query.verified is None else text + _record(query.verified)).encode()


def recorded(data: bytes, verified: Verified) -> bytes:
    """A query's file with another record of its verification; the rest of it stays as it is written."""
    kept, inside = [], False
    for line in data.decode().splitlines(keepends=True):
        inside = line.startswith("verified:") or (inside and (line[:1].isspace() or line[:1] == "-"))
        if not inside:
            kept.append(line)
    text = "".join(kept)
    return (text + ("" if text.endswith("\n") else "\n") + _record(verified)).encode()


def _record(verified: Verified) -> str:
    return _yaml({"verified": verified.model_dump()})


def _yaml(fields: Mapping[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as they are."""

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return str(yaml.dump(dict(fields), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110))


def _check(name: str, parameter: Parameter) -> None:
    """Raises InvalidInput where a parameter's own values do not fit its type."""
    if parameter.type in ("string", "boolean") and (parameter.min, parameter.max) != (None, None):
        raise InvalidInput(f"params.{name}: a {parameter.type} has no min and max.", fix="Leave them out.")
    kind = _TYPES.get(parameter.type, str)
    for limit in (parameter.min, parameter.max):
        if limit is not None and not isinstance(limit, int if kind is int else (int, float) if kind is float else str):
            raise InvalidInput(f"params.{name}: the limit {limit!r} is no {parameter.type}.", fix="Mend it.")
    adapter = TypeAdapter(parameter.annotation, config=ConfigDict(strict=True))
    for value in (parameter.default, parameter.example, *(parameter.enum or ())):
        try:
            if value is not None:
                adapter.validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise InvalidInput(f"params.{name}: {value!r} does not fit: {why}.", fix="Mend it.") from None


def _plain(value: Any) -> Any:
    """YAML reads dates; JSON and SQL parameters have them as text."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _told(error: ValidationError, prefix: str) -> str:
    problems = error.errors(include_url=False, include_input=False)[:5]
    said = [(".".join([prefix, *map(str, p["loc"])]), p["msg"].removeprefix("Value error, ")) for p in problems]
    return "; ".join(f"{where.removeprefix('.')}: {what}" for where, what in said) + "."


def _day(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no date like 2024-12-31") from None


def _moment(text: str) -> str:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time like 2024-12-31T23:59:59Z") from None
    return text


def _between(least: Any, most: Any) -> Callable[[str], str]:
    def check(text: str) -> str:
        moment = _time(text)
        if (least is not None and moment < _time(least)) or (most is not None and moment > _time(most)):
            raise ValueError(f"it is not between {least or '-'} and {most or '-'}")
        return text

    return check


def _time(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _one_of(values: list[Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in values:
            raise ValueError(f"it is one of {', '.join(map(str, values))}")
        return value

    return check
