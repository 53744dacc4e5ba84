"""What the playbook says of one answer."""

from dataclasses import dataclass

DEFAULT_CORPUS = "playbook_memory"
DEFAULT_TOP_K = 5
DEFAULT_MAX_DISTANCE = 0.5


@dataclass(frozen=True)
class Endorsement:
    """What the playbook says of one answer to a question like this one.

    `effect` is the effective score, after decay and caps: 0 to 1, below 0 for a rejection.
    """

    playbook_id: str
    answer_id: str
    answer_corpus: str
    effect: float
    distance: float  # of the recorded question from this one
    query_text: str
