"""What a build of a corpus answers, and how it fails in part. Light to import: tools show these shapes."""

from pydantic import BaseModel, Field

from lakehouse.errors import Upstream

# Ids and files listed in an answer; the rest is only counted.
SHOWN = 20


class PartialFailure(Upstream):
    """Some batches of a build failed; the others are stored. `data` holds the counts of the build."""


class SkippedFile(BaseModel):
    """A file that is not in the corpus."""

    path: str = Field(description="Path inside the folder.")
    reason: str = Field(description="Why it was left out.")


class Built(BaseModel):
    """What a build did, and what the corpus is now."""

    name: str = Field(description="The corpus.")
    model: str = Field(description="The embedding model, pinned in the corpus.")
    chunks: int = Field(description="Pieces they gave; a short document is one.")
    count: int = Field(description="Items in the corpus now, empty documents included.")
    scanned: int = Field(description="Rows or files read.")
    embedded: int = Field(description="Chunks whose vectors were computed or taken from the cache.")
    added: int = Field(description="Items that are new.")
    updated: int = Field(description="Items stored anew.")
    removed: int = Field(description="Items whose row or file is gone.")
    unchanged: int = Field(description="Items that were stored already, as they are now.")
    skipped: int = Field(description="Files left out.")
    empty: int = Field(description="Documents without text: kept, but never found by a search.")
    empty_ids: list[str] = Field(description="Ids of the first of them.")
    truncated: int = Field(description="Of the chunks embedded now, those the model read only the beginning of.")
    skipped_files: list[SkippedFile] = Field(description="The first files left out, and why.")
    failed_batches: int = Field(description="Batches that failed; a build with any raises.")
    docs_per_s: float = Field(description="Documents per second.")
    wall_s: float = Field(description="Seconds the build took.")
