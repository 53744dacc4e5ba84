"""What the playbook knows of a question moves the hits it is about."""

from collections.abc import Sequence

from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.shapes import PlaybookPart
from lakehouse.engine.playbook import Endorsement, boosted, lifted


def moved(candidates: Sequence[Candidate], endorsements: Sequence[Endorsement]) -> int:
    """Move each hit that an endorsement is about, by item and corpus both, once. Returns how many changed.

    Where several are about one hit the strongest counts. Nothing is added that retrieval did not find.
    """
    known: dict[tuple[str, str], Endorsement] = {}
    for each in endorsements:
        held = known.setdefault((each.answer_corpus, each.answer_id), each)
        if each.effect > held.effect:
            known[each.answer_corpus, each.answer_id] = each
    changed = 0
    for one in candidates:
        # A retained generation of a corpus is still that corpus.
        found = known.get((one.corpus.partition("@")[0], one.id)) or known.get((one.corpus, one.id))
        changed += found is not None and _move(one, found)
    return changed


def _move(one: Candidate, by: Endorsement) -> bool:
    """Whether that changes it: not where it stands at 0, or the effect has faded to nothing."""
    # A reranker's score may be below 0, and is better the nearer it is to 0 then, as a distance is.
    divides = one.by == "score" and one.value >= 0
    factor = lifted(1.0, by.effect) if divides else boosted(1.0, by.effect)
    to = lifted(one.value, by.effect) if divides else boosted(one.value, by.effect)
    if to == one.value:
        return False
    one.move("playbook", to)
    one.playbook = PlaybookPart(
        playbook_id=by.playbook_id, question=by.query_text, distance=by.distance, effect=by.effect, factor=factor
    )
    return True
