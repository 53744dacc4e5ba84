"""What people did with the answers of one search, as entries: the strongest of it for each answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.engine.playbook.entry import moment_of
from lakehouse.errors import InvalidInput, TooLarge, did_you_mean

SCORES = {"open": 0.3, "shortlist": 0.6, "placed": 1.0, "rejected": -1.0}
MAX_CLICKS = 5000
_FIELDS = ("answer_id", "answer_corpus", "kind", "ts")


def folded(query_text: str, clicks: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any], int]]:
    """For each answer the place of its strongest click, that as an entry's fields, and its polarity.

    Of two that are as strong the later one counts, by `ts`, then by place. Raises InvalidInput naming the click.
    """
    if not clicks:
        raise InvalidInput("clicks: the list is empty.", fix="Send at least one click.")
    if len(clicks) > MAX_CLICKS:
        raise TooLarge(f"clicks: {len(clicks)} are over the limit of {MAX_CLICKS}.", fix="Send them in several calls.")
    best: dict[tuple[Any, Any], tuple[tuple[float, str, int], int, dict[str, Any], int]] = {}
    for place, click in enumerate(clicks):
        for name in click:
            if name not in _FIELDS:
                raise InvalidInput(
                    f"clicks[{place}].{str(name)[:80]}: there is no such field.", fix=did_you_mean(str(name), _FIELDS)
                )
        kind, ts = click.get("kind"), click.get("ts")
        if not isinstance(kind, str) or kind not in SCORES:
            raise InvalidInput(
                f"clicks[{place}].kind: there is no {str(kind)[:40]!r}.", fix=f"Use one of {', '.join(SCORES)}."
            )
        when = None if ts is None else moment_of(ts, f"clicks[{place}].ts")
        score = SCORES[kind]
        fields = {
            "query_text": query_text,
            "answer_id": click.get("answer_id"),
            "answer_corpus": click.get("answer_corpus"),
            "score": abs(score),
            "recorded_at": when,
        }
        rank = (abs(score), when or "", place)
        answer = (str(click.get("answer_id")), str(click.get("answer_corpus")))
        if answer not in best or best[answer][0] < rank:
            best[answer] = (rank, place, fields, 1 if score > 0 else -1)
    return [(place, fields, polarity) for _, place, fields, polarity in best.values()]
