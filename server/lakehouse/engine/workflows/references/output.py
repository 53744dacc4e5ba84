"""What a node puts out, and the one text that a value has wherever it is put."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json


@dataclass(frozen=True)
class Output:
    """What a node puts out: a text, and where `typed` the value whose canonical JSON it is."""

    text: str
    typed: bool = False

    @classmethod
    def of(cls, value: Any) -> "Output":
        """The output that is a value. NaN and infinities, which JSON does not have, become null."""
        return cls(json_of(value), True)

    @property
    def value(self) -> Any:
        """The value, or the text."""
        return json.loads(self.text) if self.typed else self.text


def json_of(value: Any) -> str:
    """A value as JSON without spaces. Half characters, which no file or process can hold, become question marks."""
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except ValueError:
        return to_json(_whole(value), inf_nan_mode="null").decode()


def plain(value: Any) -> str:
    """A value within a text: a string is itself, everything else its JSON; 3.0 is `3`, as every JSON reader has it."""
    if isinstance(value, str):
        return value if value.isascii() else whole_characters(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return json_of(value)


def whole_characters(text: str) -> str:
    """A text that can be encoded."""
    return text.encode("utf-8", "replace").decode()


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, (list, tuple)) else value
