"""The process that merges segments and builds graphs: it is given files and a folder, no credentials, and leaves."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from lakehouse.engine import child
from lakehouse.engine.vectors import segment
from lakehouse.engine.vectors.format import SegmentDoc, damaged, read_segment_doc, segment_key
from lakehouse.engine.vectors.graph import Builder, Wishes
from lakehouse.engine.vectors.merging import joined_texts, split
from lakehouse.engine.vectors.segment import Segment
from lakehouse.errors import LakehouseError, TooLarge, disk_failed

GRAPH = "graph.usearch"


def main() -> None:
    """Do what is asked, until the parent goes away."""
    setup, requests, reply = child.serve()
    if hasattr(os, "nice"):
        os.nice(setup["nice"])
    for request, dead in requests:
        try:
            answer = work(request, np.frombuffer(dead, np.int64), reply)
        except LakehouseError as error:
            answer = child.error_frame(error)
        except OSError as error:
            answer = child.error_frame(disk_failed(error))
        except MemoryError:
            answer = child.error_frame(TooLarge("memory ran out while segments were merged.", fix="Give it more."))
        reply(answer)


def work(request: dict[str, Any], dead: Any, reply: child.Reply) -> dict[str, Any]:
    """Write the merged segment and the graph that are asked for into the folder; what was written."""
    folder = Path(request["folder"])
    sources = [_opened(request["index"], source) for source in request["sources"]]
    answer: dict[str, Any] = {}
    over = sources[0]
    if request["segment"]:
        ends = np.cumsum([source["dead"] for source in request["sources"]])
        doc, check = _merged(folder, request["segment"], sources, np.split(dead, ends[:-1]))
        answer |= {"check": check, "doc": (folder / segment.DOC).read_text()}
        over = Segment(request["index"], doc, check, {name: folder / name for name in doc.files})
    if request["graph"]:
        builder = Builder(over.coded, over.doc.distance, Wishes(**request["wishes"]))
        for rows in builder.build():
            reply({"rows": rows})
        answer["graph"] = vars(builder.save(folder / GRAPH, request["graph"]))
    return answer


def _opened(index: str, source: dict[str, Any]) -> Segment:
    key = segment_key(index, source["id"], segment.DOC)
    doc = read_segment_doc(source["doc"].encode(), key, source["check"])
    found = Segment(index, doc, source["check"], {name: Path(path) for name, path in source["paths"].items()})
    if problems := found.verify():  # a flipped bit would get a checksum of its own
        raise damaged(*problems[0].split(": ", 1))
    return found


def _merged(folder: Path, id: str, sources: list[Segment], dead: list[Any]) -> tuple[SegmentDoc, str]:
    kept = [split(np.delete(np.arange(s.rows), d), s.doc.vectors) for s, d in zip(sources, dead, strict=True)]
    ids, metas = joined_texts([(source.ids, source.metas) for source in sources], kept)
    return segment.write(
        folder,
        id,
        sources[0].doc.dimension,
        sources[0].doc.distance,
        ids,
        metas,
        sum(len(rows) for rows, _ in kept),
        segment.gathered((source.coded, rows) for source, (rows, _) in zip(sources, kept, strict=True)),
    )


if __name__ == "__main__":
    main()
