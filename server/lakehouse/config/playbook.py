"""Settings of the playbook."""

from pydantic import Field

from lakehouse.config.section import Section


class Playbook(Section):
    """What was learned from feedback, and whose feedback counts for how much."""

    half_life_days: float = Field(
        90, ge=0, allow_inf_nan=False, description="Days after which an entry has half its effect; 0: it keeps it."
    )
    trusted: tuple[str, ...] = Field(
        ("auth.token",),
        description="Tokens whose entries count as those of this machine's own callers do: whole, and without a limit.",
    )
    untrusted_weight: float = Field(
        1, ge=0, le=1, description="Part of their effect that entries of other tokens have; 0: none."
    )
    writer_effect: float = Field(
        2,
        gt=0,
        allow_inf_nan=False,
        description="Total effect, in whole boosts, that one such token's entries have on one question.",
    )
    independent_writers: int = Field(
        2, ge=2, description="Writers who say the same of an answer, so that the limit does not hold for it."
    )
