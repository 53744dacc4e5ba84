"""JSON Schemas of workflow files, which may come from anybody: nothing is fetched, and no pattern takes long."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from lakehouse.errors import Unprocessable

MAX_FAULTS = 8


def check(schema: Mapping[str, Any] | None) -> None:
    """Raises Unprocessable for what is no JSON Schema of draft 2020-12. It blocks."""
    if schema is None:
        return
    from jsonschema.exceptions import SchemaError

    try:
        _validator().check_schema(schema)
    except (SchemaError, RecursionError) as error:
        said = getattr(error, "message", "it is too deep")
        raise Unprocessable(f"output_format: it is no JSON Schema: {said[:300]}.", fix="Mend it.") from None


def faults_of(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with a value: the first eight faults, each with its place. It blocks."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: otherwise a `$ref` with an address would be fetched.
    validator = _validator()(schema, registry=Registry())
    try:
        found = list(islice(validator.iter_errors(value), MAX_FAULTS))
    except Unresolvable as error:
        raise Unprocessable(
            f"output_format: $ref {str(error.ref)[:200]!r} leads nowhere.", fix="Put what it means under $defs."
        ) from None
    except RecursionError:
        raise Unprocessable("output_format: it refers to itself without end.", fix="Mend it.") from None
    return [f"{one.json_path}: {one.message[:300]}" for one in found]


@cache
def _validator() -> Any:
    """Draft 2020-12 with RE2 for its patterns, whose time grows with the text alone: `re` can be kept for hours."""
    from jsonschema.validators import Draft202012Validator, extend

    ours = {"pattern": _pattern, "patternProperties": _named_alike, "additionalProperties": _further}
    return extend(Draft202012Validator, ours)  # type: ignore[no-untyped-call]


def _pattern(validator: Any, pattern: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _named_alike(validator: Any, patterns: Mapping[str, Any], value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(value, dict):
        for pattern, wanted in patterns.items():
            for name, inner in value.items():
                if _matches(pattern, name):
                    yield from validator.descend(inner, wanted, path=name, schema_path=pattern)


def _further(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    names = [name for name in value if name not in schema.get("properties", {})]
    names = [name for name in names if not any(_matches(pattern, name) for pattern in patterns)]
    if isinstance(wanted, Mapping):
        for name in names:
            yield from validator.descend(value[name], wanted, path=name)
    elif wanted is False and names:
        yield ValidationError(f"there may be no {', '.join(map(repr, names[:MAX_FAULTS]))}")


def _matches(pattern: str, text: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return bool(pc.match_substring_regex(pa.array([text]), pattern=pattern)[0].as_py())
    except (pa.ArrowInvalid, UnicodeEncodeError):
        raise Unprocessable(
            f"output_format: the pattern {pattern[:200]!r} is none of RE2's.",
            fix="Write it without lookaround and backreferences.",
        ) from None
