"""JSON Schemas as the pickiest clients want them: no titles, nullable unions or references; an object at the root."""

from typing import Any


def portable(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy without `title` noise and `null` alternatives, with references put in place, rooted in an object.

    Clients drop tools over `anyOf: [X, null]`, over a root that is not an object with `properties`, and over `$ref`.
    Raises ValueError for a recursive type, which has no such form.
    """
    definitions = schema.get("$defs", {})
    root: dict[str, Any] = _clean({k: v for k, v in schema.items() if k != "$defs"}, definitions, ())
    if root.get("type") != "object":
        raise ValueError("arguments and results must be objects; wrap the value in a model with a named field")
    root.setdefault("properties", {})
    return root


def _clean(node: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_clean(item, definitions, inside) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in inside:
            raise ValueError(f"{name} refers to itself; tool schemas cannot be recursive")
        target = _clean(definitions[name], definitions, (*inside, name))
        return target | {k: _clean(v, definitions, inside) for k, v in node.items() if k != "$ref"}
    cleaned: dict[str, Any] = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "properties":
            cleaned[key] = {name: _clean(inner, definitions, inside) for name, inner in value.items()}
        elif key != "default" or value is not None:
            cleaned[key] = (
                value if key in {"default", "enum", "const", "examples"} else _clean(value, definitions, inside)
            )
    choices = cleaned.get("anyOf")
    if choices and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del cleaned["anyOf"]
        cleaned = (rest[0] | cleaned) if len(rest) == 1 else cleaned | {"anyOf": rest}
    return cleaned
