"""A corpus that is built together with its dataset."""

from dataclasses import dataclass

from lakehouse.engine.progress import Progress, share

_INGESTED = 20.0  # percent of the whole after which embedding begins, which takes longest


@dataclass(frozen=True)
class Embedding:
    """The columns of a dataset to embed, the one that names its rows, and what the corpus is called."""

    name: str
    dataset: str
    text: list[str]
    id: str

    def before(self, progress: Progress) -> Progress:
        """Where the ingest reports."""
        return share(progress, 0, _INGESTED)

    def after(self, progress: Progress) -> Progress:
        """Where the build reports."""
        return share(progress, _INGESTED, 100)
