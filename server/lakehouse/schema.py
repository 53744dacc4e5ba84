"""JSON Schemas as the pickiest clients want them: no titles, nullable unions or references; an object at the root."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def portable(schema: dict[str, Any], *, absent_for_null: bool = False, closed: bool = False) -> dict[str, Any]:
    """A copy without `title` noise and `null` alternatives, with references put in place, rooted in an object.

    Clients drop tools over `anyOf: [X, null]`, over a root that is not an object with `properties`, and over `$ref`.
    With `absent_for_null` a property that could be null is not a required one: the answer leaves it out instead.
    With `closed` no object that names its properties takes others.

    Raises ValueError for a recursive type, which has no such form.
    """
    definitions = schema.get("$defs", {})
    root = _Cleaner(definitions, absent_for_null, closed).clean({k: v for k, v in schema.items() if k != "$defs"}, ())
    if root.get("type") != "object":
        raise ValueError("arguments and results must be objects; wrap the value in a model with a named field")
    root.setdefault("properties", {})
    return dict(root)


def brief(schema: Any) -> Any:
    """A portable schema as models are shown it, at each turn: without what only the checks and the shell read.

    Those are `additionalProperties` of true or false (an unknown name is refused with the known ones all the same),
    formats, bounds of numbers and lengths (a value outside is refused with its bound), that a flag is off and a text or
    list empty unless it is given, and what each item of a described list is called: a sixth of what all tools weigh. An
    object without properties stays closed, as clients want it.
    """
    if isinstance(schema, list):
        return [brief(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = schema.get("properties") != {}
    shown: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            shown[key] = {name: brief(inner) for name, inner in value.items()}
        elif key in _VALUES:
            if value is not False and not (key == "default" and value in ("", [], {})):
                shown[key] = value
        elif key == "anyOf" and _NUMBER in (kinds := brief(value)):
            shown[key] = [kind for kind in kinds if kind != _WHOLE]  # each of which is a number, too
        elif key == "items" and isinstance(value, dict) and "description" in schema:
            shown[key] = {name: inner for name, inner in brief(value).items() if name != "description"}
        elif not (key in _UNSHOWN or (key == "additionalProperties" and isinstance(value, bool) and named)):
            shown[key] = brief(value)
    return shown


@dataclass(frozen=True)
class _Cleaner:
    definitions: Mapping[str, Any]
    absent_for_null: bool
    closed: bool

    def clean(self, node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [self.clean(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in inside:
                raise ValueError(f"{name} refers to itself; tool schemas cannot be recursive")
            target = self.clean(self.definitions[name], (*inside, name))
            return target | {k: self.clean(v, inside) for k, v in node.items() if k != "$ref"}
        cleaned: dict[str, Any] = {}
        for key, value in node.items():
            if key == "title" and isinstance(value, str):
                continue
            if key == "properties":
                cleaned[key] = {name: self.clean(inner, inside) for name, inner in value.items()}
            elif key != "default" or value is not None:
                cleaned[key] = value if key in _VALUES else self.clean(value, inside)
        if self.absent_for_null and "required" in cleaned:
            cleaned["required"] = [name for name in cleaned["required"] if not _nullable(node["properties"][name])]
        if self.closed and isinstance(cleaned.get("properties"), dict):
            cleaned["additionalProperties"] = False
        return _without_null(cleaned)


_VALUES = {"default", "enum", "const", "examples"}
_WHOLE, _NUMBER = {"type": "integer"}, {"type": "number"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
_UNSHOWN = _BOUNDS | {"format", "minItems", "maxItems"}
_NULL = {"type": "null"}


def _nullable(schema: Mapping[str, Any]) -> bool:
    return _NULL in schema.get("anyOf", ())


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    if not _nullable(schema):
        return schema
    rest = [choice for choice in schema.pop("anyOf") if choice != _NULL]
    return rest[0] | schema if len(rest) == 1 else schema | {"anyOf": rest}
