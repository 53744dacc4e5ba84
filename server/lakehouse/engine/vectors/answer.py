"""One question answered from one snapshot of an index. Load it in a worker thread."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lakehouse.engine.vectors import batch
from lakehouse.engine.vectors.asking import Answer, Ask, Match, Term
from lakehouse.engine.vectors.items import Hit
from lakehouse.engine.vectors.snapshot import State

if TYPE_CHECKING:
    from lakehouse.engine.vectors.matching import Matching


@dataclass(frozen=True)
class Read:
    """Reads rows of a snapshot when they are wanted. `places` has the segment and row of each id in the answer."""

    state: State
    places: dict[str, tuple[int, int]]
    matching: "Matching | None"

    def metadata(self, id: str) -> Any:
        """An item's metadata."""
        return json.loads(self.state.meta(*self.places[id]))

    def terms(self, ids: Sequence[str]) -> dict[str, tuple[Term, ...]]:
        """The terms in each of some items that match."""
        if self.matching is None:
            return {}
        places = [self.places[id] for id in ids]
        found = self.matching.terms(places)
        return {id: found[place] for id, place in zip(ids, places, strict=True)}


def of(index: str, state: State, ask: Ask) -> Answer:
    """What a snapshot has to say. Raises InvalidInput for a vector that is none of its index."""
    manifest = state.manifest
    free = ask.filter is None and ask.ids is None
    masks = None if free else state.masks(ask.filter, ask.ids)
    places: dict[str, tuple[int, int]] = {}
    near: list[Hit] = []
    scanned = "scan"
    if ask.vector is not None:
        vector = batch.query(ask.vector, manifest.dimension, manifest.distance, ask.named)
        found, scanned = state.nearest(vector, ask.k, masks, exact=ask.exact, ef=ask.ef_search)
        near = [Hit(id, distance, None) for distance, id, _, _ in found]
        places = {id: (place, row) for _, id, place, row in found}
    matching = None if ask.text is None else state.matching(ask.text, ask.k, masks)
    matches: list[Match] = []
    for id, score, place, row in () if matching is None else matching.scored():
        places[id] = place, row
        matches.append(Match(id, score, None))
    details = Read(state, places, matching)
    if not ask.brief:
        near = [Hit(hit.id, hit.distance, details.metadata(hit.id)) for hit in near]
        terms = details.terms([match.id for match in matches])
        matches = [replace(match, metadata=details.metadata(match.id), terms=terms[match.id]) for match in matches]
    return Answer(
        index,
        manifest.build,
        near,
        matches,
        0 if masks is None else state.left_out(masks),
        scanned,
        vectors=state.vectors(list(places)) if ask.vectors else {},
        details=details if ask.brief else None,
    )
