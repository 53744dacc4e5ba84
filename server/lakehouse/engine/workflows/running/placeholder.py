"""The plainest value that fits a JSON Schema: what a dry run answers where nothing else is given."""

import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 12


def placeholder(schema: Mapping[str, Any], text: str) -> Any:
    """A value of this schema; strings are `text`, as far as they may be. Its own examples come first."""
    return _value(schema, schema, text, 0)


def _value(schema: Any, root: Mapping[str, Any], text: str, depth: int) -> Any:
    schema = _followed(schema, root)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][0]
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return _value({**schema, name: None, **_followed(schema[name][0], root)}, root, text, depth)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object" or (kind is None and "properties" in schema):
        return _object(schema, root, text, depth)
    if kind == "array":
        first = [_value(one, root, text, depth + 1) for one in schema.get("prefixItems", ())]
        missing = (1 if depth < MAX_DEPTH and schema.get("maxItems", 1) else 0) if not first else 0
        wanted = max(schema.get("minItems", 0), missing) - len(first)
        return first + [_value(schema.get("items", {}), root, text, depth + 1) for _ in range(wanted)]
    if kind in ("integer", "number"):
        return _number(schema, kind == "integer")
    if kind == "boolean":
        return True
    return None if kind == "null" else _text(schema, text)


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], text: str, depth: int) -> dict[str, Any]:
    # Past the greatest depth only what must be there is: a schema may refer to itself.
    properties = schema.get("properties", {})
    wanted = list(properties) if depth < MAX_DEPTH else []
    wanted += [name for name in schema.get("required", ()) if name not in wanted]
    return {name: _value(properties.get(name, {}), root, text, depth + 1) for name in wanted}


def _number(schema: Mapping[str, Any], whole: bool) -> float:
    step = schema.get("multipleOf", 1)
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    value: float = 0
    if low is not None and value < low:
        value = math.ceil(low / step) * step
    if above is not None and value <= above:
        value = (math.floor(above / step) + 1) * step
    if high is not None and value > high:
        value = math.floor(high / step) * step
    if below is not None and value >= below:
        value = (math.ceil(below / step) - 1) * step
    if not whole and ((above is not None and value <= above) or (high is not None and value > high)):
        return float((above if above is not None else low or 0) + (high if high is not None else below or 0)) / 2
    return int(value) if whole else value


def _text(schema: Mapping[str, Any], text: str) -> str:
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema["maxLength"]] if "maxLength" in schema else text


def _followed(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with what it refers to, and all it has to fit at once, in one."""
    if not isinstance(schema, Mapping):  # `true` is any value
        return {}
    found = dict(schema)
    for _ in range(MAX_DEPTH):
        reference = found.pop("$ref", None)
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target: Any = root
        for part in reference[1:].strip("/").split("/") if len(reference) > 1 else ():
            target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, Mapping) else {}
        found = {**(target if isinstance(target, Mapping) else {}), **found}
    for part in found.pop("allOf", None) or ():
        inner = _followed(part, root)
        properties = {**found.get("properties", {}), **inner.get("properties", {})}
        required = [*found.get("required", ()), *inner.get("required", ())]
        found = {**inner, **found}
        found |= ({"properties": properties} if properties else {}) | ({"required": required} if required else {})
    return found
