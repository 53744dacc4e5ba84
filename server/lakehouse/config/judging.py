"""Settings of what judges search results, and the models that are given them."""

from typing import Literal

from pydantic import Field

from lakehouse.config.section import Section


class Rerank(Section):
    """An optional model that judges the best hits again."""

    provider: Literal["", "litellm"] = Field("", description="litellm, or empty for none.")
    model: str = Field("", description="As litellm spells it: cohere/rerank-v3.5, infinity/BAAI/bge-reranker-base.")
    api_base: str = Field("", description="Where its API is, if not at its usual place.")
    api_key_env: str = Field("", description="Environment variable that holds its key.")
    top_n: int = Field(50, ge=1, le=1000, description="Hits it is asked about; the others are left out.")
    timeout_secs: float = Field(20, gt=0, description="Seconds it may take.")


class Relevance(Section):
    """The relevance filter for chunks of code."""

    threshold: float = Field(
        0.3, allow_inf_nan=False, description="Least score kept where the request says none; LH_RELEVANCE_THRESHOLD."
    )
    filter: bool = Field(True, description="Off: everything is kept, scored; LH_RELEVANCE_FILTER=0.")


class Models(Section):
    """What is known of chat models."""

    weak_models: tuple[str, ...] = Field(
        ("qwen3.5:latest", "qwen3:latest"),
        description="Models that keep the composed review mode, beside all whose name has :free.",
    )
    force_full_enrichment: bool = Field(
        False, description="Keep the mode where a request does not say; LH_FORCE_FULL_ENRICHMENT."
    )
