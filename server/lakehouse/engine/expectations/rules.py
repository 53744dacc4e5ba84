"""What can be expected of a dataset, and the SQL condition that a row breaks it."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lakehouse.engine.quoting import identifier, literal
from lakehouse.errors import InvalidInput, did_you_mean

MOST = 200  # expectations of one dataset
_MOST_VALUES = 1000
_MOST_TEXT = 2000
_NEEDS = {
    "unique": ("columns",),
    "not_null": ("columns",),
    "range": ("columns",),
    "allowed": ("columns", "values"),
    "pattern": ("columns", "pattern"),
    "sql": ("sql",),
    "row_count": (),
}
_MAY = {"range": ("min", "max"), "row_count": ("min", "max")}
_OWN = ("columns", "values", "pattern", "sql", "min", "max")
Bound = int | float | str


class Expectation(BaseModel):
    """A null breaks not_null only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["unique", "not_null", "range", "allowed", "pattern", "sql", "row_count"] = Field(
        description="unique: of columns together; sql: true for each row."
    )
    columns: tuple[str, ...] = Field((), description="What it is about.")
    min: Bound | None = Field(None, description="Of range, row_count.")
    max: Bound | None = Field(None, description="Likewise.")
    values: tuple[Any, ...] | None = Field(None, description="Of allowed.")
    pattern: str | None = Field(None, description="A regular expression; anchor it with ^$.")
    sql: str | None = Field(None, description="A condition over columns.")
    severity: Literal["error", "warn"] = Field("error", description="warn reports only.")

    @model_validator(mode="before")
    @classmethod
    def _one_column(cls, given: Any) -> Any:
        # What people write first: "column": "id".
        if isinstance(given, dict) and isinstance(given.get("column"), str) and "columns" not in given:
            return {name: value for name, value in given.items() if name != "column"} | {"columns": [given["column"]]}
        return given

    @model_validator(mode="after")
    def _says_what_it_needs(self) -> "Expectation":
        needed, allowed = _NEEDS[self.rule], (*_NEEDS[self.rule], *_MAY.get(self.rule, ()))
        for name in _OWN:
            given = getattr(self, name) not in (None, ())
            if name in needed and not given:
                raise ValueError(f"{self.rule} needs {name}")
            if given and name not in allowed:
                raise ValueError(f"{self.rule} takes no {name}")
        if self.rule in _MAY and self.min is None and self.max is None:
            raise ValueError(f"{self.rule} needs min or max")
        if self.rule == "row_count" and any(isinstance(b, str | float) for b in (self.min, self.max)):
            raise ValueError("row_count counts in whole numbers")
        if any(not isinstance(value, bool | int | float | str) for value in self.values or ()):
            raise ValueError("allowed takes texts, numbers, true and false")
        if self.values is not None and len(self.values) > _MOST_VALUES:
            raise ValueError(f"allowed takes {_MOST_VALUES} values at most; use sql, or pattern")
        if any(len(text or "") > _MOST_TEXT for text in (self.pattern, self.sql)):
            raise ValueError(f"{self.rule} takes {_MOST_TEXT} characters at most")
        return self

    @property
    def per_row(self) -> bool:
        """Whether each row breaks it, or holds it, by itself."""
        return self.rule not in ("unique", "row_count")

    @property
    def text(self) -> str:
        """The expectation in one line, as refusals name it."""
        columns = ", ".join(self.columns)
        if self.rule == "sql":
            return f"sql {self.sql}"
        if self.rule in _MAY:
            low, high = ("" if b is None else str(b) for b in (self.min, self.max))
            return f"{self.rule} {columns}{' ' * bool(columns)}{low}..{high}"
        if self.rule == "allowed":
            values = [str(value) for value in self.values or ()]
            return f"allowed {columns}: {', '.join(values[:5])}{', …' if len(values) > 5 else ''}"
        return f"{self.rule} {columns}" + (f" {self.pattern}" if self.pattern else "")

    def broken(self, column: str) -> str:
        """The SQL condition that a row breaks it by this column; of rules that each row breaks by itself."""
        cell = identifier(column)
        if self.rule == "not_null":
            return f"{cell} IS NULL"
        if self.rule == "range":
            bounds = [(self.min, "<"), (self.max, ">")]
            return " OR ".join(f"{cell} {sign} {_value(bound)}" for bound, sign in bounds if bound is not None)
        if self.rule == "allowed":
            return f"{cell} NOT IN ({', '.join(map(_value, self.values or ()))})"
        if self.rule == "pattern":
            return f"NOT regexp_matches(CAST({cell} AS VARCHAR), {literal(self.pattern or '')})"
        # On lines of its own: it may end in a comment.
        return f"NOT (\n{self.sql}\n)"


def read(given: Sequence[Any]) -> list[Expectation]:
    """Expectations as a caller writes them. Raises InvalidInput naming the one at fault."""
    if len(given) > MOST:
        raise InvalidInput(f"expectations: {len(given)} are given; {MOST} are the most.", fix="Leave some out.")
    found = []
    for number, each in enumerate(given, 1):
        try:
            found.append(_ADAPTER.validate_python(each))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            what = str(first["msg"]).removeprefix("Value error, ")
            raise InvalidInput(
                f"expectations: number {number}{f', {where}' if where else ''}: {what}.",
                fix='Write them as {"rule": "unique", "columns": ["id"]}.',
            ) from None
    return found


def stored(expectations: Sequence[Expectation]) -> tuple[dict[str, Any], ...]:
    """Expectations as a manifest keeps them."""
    return tuple(each.model_dump(mode="json", exclude_defaults=True) for each in expectations)


def check_columns(expectations: Sequence[Expectation], columns: Sequence[str]) -> None:
    """Raises InvalidInput for an expectation about a column that is not there."""
    known = set(columns)
    for each in expectations:
        for column in each.columns:
            if column not in known:
                raise InvalidInput(
                    f"expectations: {each.rule}: there is no column {column[:200]!r}.",
                    fix=did_you_mean(column, columns, f"The columns are: {', '.join(columns[:50])}."),
                )


def _value(value: bool | int | float | str) -> str:
    if isinstance(value, str):
        return literal(value)
    return repr(value).lower() if isinstance(value, bool) else repr(value)


_ADAPTER = TypeAdapter(Expectation)
