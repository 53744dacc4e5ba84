"""The playbook: which answers served which questions, and how that moves the answers of the next search."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

from lakehouse.engine import moment
from lakehouse.engine.acting import acting
from lakehouse.engine.playbook.boost import boosted, lifted
from lakehouse.engine.playbook.endorsement import DEFAULT_CORPUS, DEFAULT_MAX_DISTANCE, DEFAULT_TOP_K, Endorsement
from lakehouse.engine.playbook.report import Judged, Report, Search
from lakehouse.engine.playbook.shown import Forgotten, Held, Looked, Outcome, Recorded, Shown
from lakehouse.engine.progress import Progress, unheard
from lakehouse.errors import InvalidInput, LakehouseError, NotFound, Upstream

if TYPE_CHECKING:
    from lakehouse import config
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.journal import Record
    from lakehouse.engine.playbook.entry import Entry
    from lakehouse.engine.playbook.holds import Hold
    from lakehouse.engine.playbook.memory import Memory
    from lakehouse.engine.vectors import Vectors


class Playbook:
    """Entries are items of an ordinary vector index, embedded by their question.

    One of a question, an answer and its corpus: recording it again replaces it. Every entry says who made it.
    """

    def __init__(self, embed: "Embedder", vectors: "Vectors", settings: "config.Config", record: "Record") -> None:
        from lakehouse.engine.playbook.influence import Influence

        self._embed, self._vectors, self._record = embed, vectors, record
        self._most = settings.vectors.max_k
        self._influence = Influence(settings.playbook)
        self._memories: WeakValueDictionary[str, Memory] = WeakValueDictionary()

    async def record(self, given: Mapping[str, Any], *, corpus: str = DEFAULT_CORPUS) -> str:
        """Note that an answer served a question; the entry's id. Durable when it returns.

        `given` has query_text, answer_id, answer_corpus, score (0 to 1), and may have tags, notes and recorded_at.
        Raises InvalidInput naming the field, Conflict for an index that is not of entries, and what embedding raises.
        """
        from lakehouse.engine.playbook.entry import entry_of

        return await self._one(entry_of(given), corpus)

    async def feedback(
        self, given: Mapping[str, Any], verdict: Literal["accept", "reject"], *, corpus: str = DEFAULT_CORPUS
    ) -> str:
        """The same for a verdict, whose `weight` (1 by default) is the score. The newest verdict counts."""
        from lakehouse.engine.playbook.entry import entry_of

        if verdict not in ("accept", "reject"):
            raise InvalidInput(f"verdict: there is no {str(verdict)[:40]!r}.", fix="Use accept or reject.")
        polarity = 1 if verdict == "accept" else -1
        return await self._one(entry_of({"weight": 1, **given}, polarity, score="weight"), corpus)

    async def bulk(
        self, entries: Sequence[Any], *, corpus: str = DEFAULT_CORPUS, progress: Progress = unheard
    ) -> Recorded:
        """Record up to 5,000 entries, each for itself: what became of each. One may name its own `corpus`.

        Raises InvalidInput for an empty list, TooLarge.
        """
        from lakehouse.engine.playbook.batch import Batch

        batch = Batch.of(entries, corpus)
        return await batch.write(self._several, lambda done: progress(done, len(entries), "recorded"))

    async def clicks(
        self,
        session_id: str,
        query_text: str,
        clicks: Sequence[Mapping[str, Any]],
        *,
        corpus: str = DEFAULT_CORPUS,
    ) -> Recorded:
        """Record what a session did with the answers of one search: for each answer its strongest click.

        What the session has recorded of an answer before stays where that is stronger, so that sending clicks again
        changes nothing. Raises InvalidInput naming the click.
        """
        from lakehouse.engine.playbook.batch import Batch
        from lakehouse.engine.playbook.clicks import folded
        from lakehouse.engine.playbook.entry import checked, entry_of

        if not checked(session_id, "session_id").strip() or len(session_id) > 200:
            raise InvalidInput("session_id: it is blank, or over 200 characters.", fix="Name the session.")
        batch = Batch()
        for place, fields, polarity in folded(query_text, clicks):
            try:
                batch.add(place, entry_of(fields, polarity, session=session_id), corpus)
            except InvalidInput as error:
                batch.fail(place, error)
        return await batch.write(self._several, _unheard)

    async def endorsements(
        self,
        vector: Any,
        *,
        corpus: str = DEFAULT_CORPUS,
        top_k: int = DEFAULT_TOP_K,
        max_distance: float = DEFAULT_MAX_DISTANCE,
        without: Collection[str] = (),
        model: str | None = None,
    ) -> list[Endorsement]:
        """What is known about questions near to this one; nothing when there is no playbook yet.

        At most one an answer: the strongest. `without` are ids of entries to leave out of account. `model` is the one
        the vector is of, where that is known. Raises Upstream when the playbook is there and cannot be read, or is of
        another model or dimension.
        """
        from lakehouse.engine.playbook.counting import counted
        from lakehouse.engine.vectors import IndexNotFound

        if top_k < 1:
            return []
        memory = self._memory(corpus)
        try:
            pinned = await memory.model()
            if None not in (model, pinned) and model != pinned:
                raise Upstream(
                    f"playbook {corpus} is of {pinned}, the question of {model}.", fix="Search without the playbook."
                )
            found = await counted(memory, self._influence, vector, top_k, max_distance, frozenset(without))
        except IndexNotFound:
            return []
        except Upstream:
            raise
        except LakehouseError as error:
            raise Upstream(f"playbook {corpus}: {error.detail}", fix=error.fix) from error
        return [
            Endorsement(
                said.near.id, *said.near.entry.answer, said.effect, said.near.distance, said.near.entry.query_text
            )
            for said in self._influence.weighed(found)
        ]

    async def lookup(
        self,
        query_text: str | None = None,
        *,
        corpus: str = DEFAULT_CORPUS,
        ids: Sequence[str] | None = None,
        writer: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 10,
    ) -> Looked:
        """Entries whose question is nearest to one, or the newest; all that is given must hold. Nothing is left out for
        being in quarantine. `total` counts those that fit, the nearest `vectors.max_k` at most.

        Raises InvalidInput, and what embedding raises.
        """
        from lakehouse.engine.playbook.holds import Chosen
        from lakehouse.engine.vectors import IndexNotFound

        chosen, memory = Chosen.of(ids, writer, since, until, some=False), self._memory(corpus)
        fit: list[tuple[Entry, float | None]] = []
        try:
            holds = await memory.holds()
            if query_text is not None:
                vector = (await memory.embedded([query_text])).vectors[0]
                near, _ = await memory.near(vector, self._most)
                fit += [(one.entry, one.distance) for one in near if chosen.has(one.id, one.entry)]
            else:
                every = (await memory.every()).values()
                newest = sorted(every, key=lambda one: (one.by.at, one.id), reverse=True)
                fit += [(entry, None) for entry in newest if chosen.has(entry.id, entry)]
        except IndexNotFound:
            return Looked(entries=[], count=0, total=0)
        shown = [self._shown(entry, holds, distance) for entry, distance in fit[:limit]]
        return Looked(entries=shown, count=len(shown), total=len(fit), quarantine=[Held.of(hold) for hold in holds])

    async def get(self, id: str, *, corpus: str = DEFAULT_CORPUS) -> Shown:
        """One entry. Raises NotFound."""
        found = (await self._known(corpus, [id])).get(id)
        if found is None:
            raise NotFound(f"playbook {corpus} has no entry {id[:80]!r}.", fix="playbook_lookup lists the entries.")
        return self._shown(found, await self._memory(corpus).holds())

    async def forget(
        self,
        *,
        corpus: str = DEFAULT_CORPUS,
        ids: Sequence[str] | None = None,
        writer: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Forgotten:
        """Delete entries: all that is given must hold, at least one of it. Where a forgotten entry had replaced another
        writer's, that one stands again. Raises InvalidInput when nothing is given.
        """
        from lakehouse.engine.playbook.holds import Chosen, without
        from lakehouse.engine.vectors import IndexNotFound

        chosen = Chosen.of(ids, writer, since, until)
        try:
            changed, gone = await self._memory(corpus).change(partial(without, chosen))
        except IndexNotFound:
            return Forgotten(removed=0, restored=0)
        if changed or gone:
            told = {"removed": len(gone), "restored": len(changed), "ids": [*gone, *changed][:100]}
            await self._record("forget", "playbook", corpus, before=chosen.told(), after=told)
        return Forgotten(removed=len(gone), restored=len(changed))

    async def quarantine(
        self,
        *,
        corpus: str = DEFAULT_CORPUS,
        ids: Sequence[str] | None = None,
        writer: str | None = None,
        since: str | None = None,
        until: str | None = None,
        reason: str | None = None,
    ) -> Held:
        """Put entries aside: all that is given must hold, for entries to come too. They move nothing until released.

        Raises InvalidInput when nothing is given, and IndexNotFound when nothing has been recorded.
        """
        from lakehouse.engine.playbook.entry import checked
        from lakehouse.engine.playbook.holds import MAX_TEXT, Chosen, Hold

        if reason is not None and len(checked(reason, "reason")) > MAX_TEXT:
            raise InvalidInput(f"reason: it has over {MAX_TEXT} characters.", fix="Give a shorter one.")
        hold = Hold(Chosen.of(ids, writer, since, until), acting.get().name, moment.now(), reason)
        memory = self._memory(corpus)
        await memory.change_holds(lambda holds: holds.update({hold.id: hold}))
        entries = sum(hold.chosen.has(id, entry) for id, entry in (await memory.every()).items())
        await self._record("quarantine", "playbook", corpus, after=hold.stored() | {"entries": entries})
        return Held.of(hold, entries)

    async def release(self, quarantine_id: str, *, corpus: str = DEFAULT_CORPUS) -> Held:
        """Take a rule back: what it alone put aside counts again. Raises NotFound."""
        memory = self._memory(corpus)
        taken: list[Hold] = []

        def take(holds: "dict[str, Hold]") -> None:
            if quarantine_id not in holds:
                raise NotFound(
                    f"quarantine_id: there is no {quarantine_id[:80]!r} in playbook {corpus}.",
                    fix="playbook_lookup lists the quarantine.",
                )
            taken.append(holds.pop(quarantine_id))

        await memory.change_holds(take)
        entries = sum(taken[-1].chosen.has(id, entry) for id, entry in (await memory.every()).items())
        await self._record("release", "playbook", corpus, before=taken[-1].stored() | {"entries": entries})
        return Held.of(taken[-1], entries)

    async def report(
        self,
        search: Search,
        *,
        corpus: str = DEFAULT_CORPUS,
        questions: Sequence[Judged] | None = None,
        after: str | None = None,
        limit: int = 50,
        progress: Progress = unheard,
    ) -> Report:
        """What each entry is worth: how much worse `search` finds the accepted answers when the entry is left out.

        The questions are those recorded, each with the answers that are accepted for it, or the judged ones given; by
        their text, `limit` of them behind `after`. Nothing is written. Raises what `search` raises.
        """
        from lakehouse.engine.playbook.report import asked, measured
        from lakehouse.engine.vectors import IndexNotFound

        memory = self._memory(corpus)
        try:
            holds, every = await memory.holds(), await memory.every()
        except IndexNotFound:
            holds, every = [], {}
        todo = asked(every, holds) if questions is None else [*questions]

        async def used(question: str) -> list[str]:
            vector = (await memory.embedded([question])).vectors[0]
            return [one.playbook_id for one in await self.endorsements(vector, corpus=corpus)]

        known = {info.name for info in await self._vectors.list()}
        return await measured(todo, every, known, used, search, after, limit, progress)

    def _memory(self, corpus: str) -> "Memory":
        from lakehouse.engine.playbook.memory import Memory

        made = Memory(corpus, self._embed, self._vectors, self._most)
        return self._memories.setdefault(corpus, made)

    async def _one(self, entry: "Entry", corpus: str) -> str:
        before = (await self._memory(corpus).put([entry])).get(entry.id)
        await self._record(
            "record", "playbook", entry.id, before=None if before is None else _told(before), after=_told(entry)
        )
        return entry.id

    async def _several(self, corpus: str, entries: "Sequence[Entry]") -> None:
        before = await self._memory(corpus).put(entries)
        ids = [entry.id for entry in entries]
        told = {"recorded": len(ids), "replaced": len(before), "first": ids[0], "last": ids[-1]}
        await self._record("record", "playbook", corpus, after=told)

    async def _known(self, corpus: str, ids: Sequence[str]) -> "dict[str, Entry]":
        from lakehouse.engine.vectors import IndexNotFound

        try:
            return await self._memory(corpus).some(ids)
        except IndexNotFound:
            return {}

    def _shown(self, entry: "Entry", holds: "Sequence[Hold]", distance: float | None = None) -> Shown:
        from lakehouse.engine.playbook.holds import standing

        stands = standing(entry.id, entry, holds)
        effect = 0.0 if stands is None else self._influence.effect(stands)
        return Shown.of(entry, effect, self._influence.trusts(entry.by), stands is not entry, distance)


def _told(entry: "Entry") -> dict[str, Any]:
    """What the journal says of an entry."""
    return {
        "answer_id": entry.answer_id,
        "answer_corpus": entry.answer_corpus,
        "score": entry.score,
        "polarity": entry.polarity,
        "who": entry.by.who,
    }


async def _unheard(done: int) -> None:
    """Nobody is told."""


__all__ = [
    "DEFAULT_CORPUS",
    "DEFAULT_MAX_DISTANCE",
    "DEFAULT_TOP_K",
    "Endorsement",
    "Forgotten",
    "Held",
    "Judged",
    "Looked",
    "Outcome",
    "Playbook",
    "Recorded",
    "Report",
    "Search",
    "Shown",
    "boosted",
    "lifted",
]
