"""One question answered from one snapshot of an index. Load it in a worker thread."""

from lakehouse.engine.vectors import batch
from lakehouse.engine.vectors.asking import Answer, Ask
from lakehouse.engine.vectors.items import Hit
from lakehouse.engine.vectors.snapshot import State


def of(index: str, state: State, ask: Ask) -> Answer:
    """What a snapshot has to say. Raises InvalidInput for a vector that is none of its index."""
    manifest = state.manifest
    free = ask.filter is None and ask.ids is None
    masks = None if free else state.masks(ask.filter, ask.ids)
    near: list[Hit] = []
    scanned = "scan"
    if ask.vector is not None:
        vector = batch.query(ask.vector, manifest.dimension, manifest.distance)
        near, scanned = state.search(vector, ask.k, masks, exact=ask.exact, ef=ask.ef_search)
    matches = [] if ask.text is None else state.matching(ask.text, ask.k, masks)
    shown = [hit.id for hit in near] + [match.id for match in matches]
    return Answer(
        index,
        manifest.build,
        near,
        matches,
        0 if masks is None else state.left_out(masks),
        scanned,
        vectors=state.vectors(shown) if ask.vectors else {},
    )
