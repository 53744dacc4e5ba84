"""Many entries at once: each stands alone, and no bad one keeps the others out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lakehouse.engine.playbook.entry import FIELDS, Entry, entry_of
from lakehouse.engine.playbook.shown import Outcome, Recorded
from lakehouse.errors import InvalidInput, LakehouseError, TooLarge, did_you_mean

MAX_ENTRIES = 5000
MAX_CORPORA = 50  # an index is made for each that is not there
MAX_TEXTS = 256  # embedded and stored together
Put = Callable[[str, Sequence[Entry]], Awaitable[None]]


class Batch:
    """Entries with their places in what was sent, each for one playbook."""

    def __init__(self) -> None:
        self._of: dict[str, list[tuple[int, Entry]]] = {}
        self._outcomes: dict[int, Outcome] = {}

    @classmethod
    def of(cls, entries: Sequence[Any], corpus: str) -> "Batch":
        """Entries as callers give them, each for its own `corpus` or this one. Raises InvalidInput, TooLarge."""
        if not entries:
            raise InvalidInput("entries: the list is empty.", fix="Send at least one entry.")
        if len(entries) > MAX_ENTRIES:
            raise TooLarge(
                f"entries: {len(entries)} are over the limit of {MAX_ENTRIES}.", fix="Send them in several calls."
            )
        batch = cls()
        for place, given in enumerate(entries):
            try:
                if not isinstance(given, Mapping):
                    raise InvalidInput("it is no object.", fix='Send {"query_text": "…", "answer_id": "…", …}.')
                fields = {**given}
                where = fields.pop("corpus", None)
                if where is not None and not isinstance(where, str):
                    raise InvalidInput("corpus: it must be a text.", fix="Leave it out.")
                _check(fields)
                entry = entry_of(fields)
                if len({*batch._of, where or corpus}) > MAX_CORPORA:
                    raise InvalidInput(f"corpus: one call is for {MAX_CORPORA} at most.", fix="Send several calls.")
                batch.add(place, entry, where or corpus)
            except InvalidInput as error:
                batch.fail(place, error)
        return batch

    def add(self, place: int, entry: Entry, corpus: str) -> None:
        """One to be stored."""
        self._of.setdefault(corpus, []).append((place, entry))

    def fail(self, place: int, error: LakehouseError) -> None:
        """One that cannot be."""
        self._outcomes[place] = Outcome(index=place, error=str(error))

    def done(self, place: int, entry: Entry) -> None:
        """One that is stored."""
        self._outcomes[place] = Outcome(index=place, playbook_id=entry.id)

    async def write(self, put: Put, told: Callable[[int], Awaitable[None]]) -> Recorded:
        """Store them in groups; where a group is refused for what is in it, one by one. `told` hears how many are."""
        for corpus, all in self._of.items():
            for begin in range(0, len(all), MAX_TEXTS):
                await self._group(put, corpus, all[begin : begin + MAX_TEXTS])
                await told(len(self._outcomes))
        results = [self._outcomes[place] for place in sorted(self._outcomes)]
        failed = sum(one.error is not None for one in results)
        return Recorded(recorded=len(results) - failed, failed=failed, results=results)

    async def _group(self, put: Put, corpus: str, group: list[tuple[int, Entry]]) -> None:
        try:
            await put(corpus, [entry for _, entry in group])
        except (InvalidInput, TooLarge) as error:
            if len(group) == 1:
                return self.fail(group[0][0], error)
            for one in group:
                await self._group(put, corpus, [one])
        except LakehouseError as error:  # the store or the embedder: the others would fail of the same
            for place, _ in group:
                self.fail(place, error)
        else:
            for place, entry in group:
                self.done(place, entry)


def _check(fields: Mapping[str, Any]) -> None:
    known = (*FIELDS, "corpus")
    for name in fields:
        if name not in known:
            raise InvalidInput(f"{str(name)[:80]}: there is no such field.", fix=did_you_mean(str(name), known))
