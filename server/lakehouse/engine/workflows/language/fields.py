"""One mapping of a file, read key by key: each as the type it has to be, with a problem where it is not."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lakehouse.engine.workflows.language.findings import Findings
from lakehouse.engine.workflows.language.reading import Mapped, plain
from lakehouse.errors import did_you_mean

_EXAMPLES = {  # of keys that are often thought to take a text
    "approval": 'approval: {message: "…"}',
    "loop": 'loop: {prompt: "…", until: DONE, max_iterations: 10}',
    "fan_out": "fan_out: {items: $node.output, as: item}",
    "retry": "retry: {max_attempts: 2}",
    "output_format": "output_format: {type: object, properties: {ok: {type: boolean}}}",
}


class Fields:
    """The keys of a mapping at `where`. A key that is empty counts as not written."""

    def __init__(
        self,
        given: Mapping[str, Any],
        where: str,
        findings: Findings,
        feature: str = "",
        dropped: Collection[str] = (),
    ) -> None:
        """`feature` is the prefix under which its keys are features of the language, if they are.

        `dropped` are keys of which a value that is wrong is left out with a warning.
        """
        self.where = where
        self.findings = findings
        self._given = given
        self._feature = feature
        self._dropped = dropped
        if isinstance(given, Mapped):
            mark = f"{where}." if where else ""
            findings.lines.update((mark + key, line) for key, line in given.lines.items())

    def __contains__(self, key: str) -> bool:
        return self._given.get(key) is not None

    def at(self, key: str) -> str:
        """The place of a key."""
        return f"{self.where}.{key}" if self.where else key

    def raw(self, key: str) -> Any:
        """What stands there, as plain data."""
        return plain(self._given.get(key))

    def wrong(self, key: str, message: str, fix: str = "") -> None:
        """An error at a key, or a warning that it is left out."""
        if key in self._dropped:
            self.findings.warn(self.at(key), f"{message} It is left out.", fix)
        else:
            self.findings.error(self.at(key), message, fix)

    def only(self, known: Collection[str]) -> None:
        """Warn of every key that is not among these; mark those that are as used."""
        for key, value in self._given.items():
            if key not in known:
                self.findings.unknown(self.where, key, known)
            elif value is None:
                self.findings.warn(self.at(key), "it is empty.", "Give it a value, or leave it out.")
            elif self._feature:
                self.findings.used(f"{self._feature}.{key}")

    def text(self, key: str, *, required: bool = False, strip: bool = False) -> str:
        """A text that is not blank; "" where there is none."""
        value = self._given.get(key)
        if value is None:
            if required:
                self.wrong(key, "it is missing." if key not in self._given else "it is empty.", f"Add {key}:.")
            return ""
        if not isinstance(value, str):
            self.wrong(key, f"it is {_what(value)}, and must be a text.", _quoted(key, value))
            return ""
        if not value.strip():
            self.wrong(key, "it is blank.", "Write a text, or leave it out.")
            return ""
        return value.strip() if strip else value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self._given.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, f"it is {_what(value)}, and must be true or false.", "Write true or false.")
        return default

    def number(self, key: str, *, least: float = 0, most: float = math.inf, above: bool = False) -> float | None:
        """A finite number in a range; `above`: `least` itself is none of it."""
        value = self._given.get(key)
        if value is None:
            return None
        span = f"over {least:g}" if above else f"{least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
        fix = f"Write a number, {span}."
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(key, f"it is {_what(value)}, and must be a number.", fix)
            return None
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or not least <= number <= most or (above and number == least):
            self.wrong(key, f"it is {_what(value)}.", fix)
            return None
        return number

    def whole(self, key: str, *, least: int = 0, most: float = math.inf) -> int | None:
        """As `number`, without a fraction."""
        number = self.number(key, least=least, most=most)
        if number is not None and number != int(number):
            self.wrong(key, f"it is {number:g}, and must be a whole number.", f"Write {int(number) or 1}.")
            return None
        return None if number is None else int(number)

    def seconds(self, key: str) -> float | None:
        """Milliseconds, as seconds."""
        number = self.number(key, above=True)
        return None if number is None else number / 1000

    def choice(self, key: str, among: Sequence[str]) -> str:
        """One of some words."""
        value = self._given.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or value not in among:
            said = value if isinstance(value, str) else str(plain(value))
            fix = did_you_mean(said, among, "Write one of these.")
            self.wrong(key, f"{said[:60]!r} is not one of {', '.join(among)}.", fix)
            return ""
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts that are not blank; None where there is none."""
        value = self._given.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.wrong(key, f"it is {_what(value)}, and must be a list.", f"Write {key}: [...].")
            return ()
        for item in value:
            if not isinstance(item, str) or not item.strip():
                self.wrong(key, f"an item is {_what(item)}, and must be a text.", "Write texts.")
        return tuple(item.strip() for item in value if isinstance(item, str))

    def mapping(self, key: str, feature: str = "") -> "Fields | None":
        """A mapping within it; None where there is none."""
        value = self._given.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.wrong(
                key,
                f"it is {_what(value)}, and must be a mapping.",
                f"Write {_EXAMPLES.get(key, f'{key}: with keys under it')}.",
            )
            return None
        return Fields(value, self.at(key), self.findings, feature, value if key in self._dropped else ())

    def items(self) -> list[tuple[str, Any]]:
        """The keys and what stands there."""
        return list(self._given.items())


def _what(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {str(value)[:40]}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}" if value.strip() else "blank"
    return "a list" if isinstance(value, list) else "a mapping"


def _quoted(key: str, value: Any) -> str:
    if isinstance(value, list | dict):
        return "Write a text."
    said = str(value).lower() if isinstance(value, bool) else str(value)[:40]
    return f'Write {key}: "{said}".'
