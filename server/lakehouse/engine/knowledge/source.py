"""The text that knowledge is taken from: in parts that fit into a question, and searched for what is quoted of it."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from lakehouse.engine.chunks import spans
from lakehouse.engine.knowledge.fact import Fact
from lakehouse.errors import InvalidInput, TooLarge

MAX_TEXT = 1_000_000  # characters
PART_CHARS, MIN_PART, MAX_PART = 12_000, 500, 200_000
OVERLAP = 200  # characters that neighbouring parts share, so that a sentence is whole in one of them
MIN_QUOTE = 4  # letters and digits; anything shorter stands everywhere
MAX_QUOTE = 4000
AT_ONCE_FACTS = 20  # in one question; small models lose count of more


@dataclass(frozen=True)
class Sheet:
    """A part of the text, and facts to be judged by it."""

    part: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Text:
    """A text, to be asked about in parts of so many characters."""

    text: str
    part_chars: int = PART_CHARS

    def __post_init__(self) -> None:
        """Raises InvalidInput for a blank text, TooLarge for one over MAX_TEXT."""
        if not self.text.strip():
            raise InvalidInput("text: it is empty.", fix="Give the text to take knowledge from.")
        if len(self.text) > MAX_TEXT:
            raise TooLarge(
                f"text: it has {len(self.text):,} characters; {MAX_TEXT:,} are the most.", fix="Give it in pieces."
            )

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where the parts begin and end."""
        return spans(self.text, self.part_chars, OVERLAP)

    @property
    def parts(self) -> list[str]:
        """The parts, in order."""
        return [self.text[start:end] for start, end in self.spans]

    def place(self, quote: str | None) -> tuple[int, int] | None:
        """Where a quotation stands: as it is, else whatever its case and spaces. None: nowhere."""
        words = " ".join((quote or "").split()).strip("\"'“”‘’…")
        if len(re.findall(r"[^\W_]", words)) < MIN_QUOTE or len(words) > MAX_QUOTE:
            return None
        start = self.text.find(words)
        if start >= 0:
            return start, start + len(words)
        flat, places = self._flat
        start = flat.find(_lower(words))
        return (places(start), places(start + len(words) - 1) + 1) if start >= 0 else None

    @cached_property
    def _flat(self) -> tuple[str, Callable[[int], int]]:
        """The text in lower case with one space between words, and where a character of that stands in the text."""
        words = [(found.start(), _lower(found[0])) for found in re.finditer(r"\S+", self.text)]
        begins = [0, *accumulate(len(word) + 1 for _, word in words)]

        def place(at: int) -> int:
            number = bisect_right(begins, at) - 1
            return words[number][0] + at - begins[number]

        return " ".join(word for _, word in words), place

    @cached_property
    def _numbers(self) -> frozenset[str]:
        return frozenset(_numbers(self.text))

    def unknown_number(self, statement: str) -> str | None:
        """A number of a statement that the text does not have, written in digits; None: it has them all."""
        return next((number for number in _numbers(statement) if number not in self._numbers), None)

    def witnessed(self, fact: Fact, quote: str | None) -> Fact:
        """The fact with a quotation as its evidence, as the text has it; without evidence, where it does not stand."""
        place = self.place(quote)
        start, end = place or (None, None)
        return fact.model_copy(update={"evidence": self.text[start:end] if place else None, "start": start, "end": end})

    def sheets(self, facts: list[Fact]) -> list[Sheet]:
        """Every fact with the part that holds its evidence; one without evidence, with every part."""
        by_part: dict[int, list[Fact]] = {}
        for fact in facts:
            for number in self._parts_of(fact):
                by_part.setdefault(number, []).append(fact)
        parts = self.parts
        return [
            Sheet(parts[number], tuple(held[first : first + AT_ONCE_FACTS]))
            for number, held in sorted(by_part.items())
            for first in range(0, len(held), AT_ONCE_FACTS)
        ]

    def _parts_of(self, fact: Fact) -> list[int]:
        place = self.place(fact.evidence)
        if place is not None:
            for number, (start, end) in enumerate(self.spans):
                if start <= place[0] and place[1] <= end:
                    return [number]
        return list(range(len(self.spans)))


def _lower(text: str) -> str:
    """A text in lower case, character for character."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _numbers(text: str) -> list[str]:
    """The numbers in a text, by their digits: 1,500 and 1.500 are one."""
    return [re.sub(r"\D", "", found) for found in re.findall(r"[0-9]+(?:[.,][0-9]+)*", text)]


def as_data(name: str, text: str) -> str:
    """A text between marks that it cannot hold itself: they are made of its hash."""
    mark = f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return f"<{mark}>\n{text}\n</{mark}>"
