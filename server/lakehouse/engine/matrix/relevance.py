"""Whether a chunk of code has to do with the file being worked on: additive signals, some of them negative."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lakehouse.engine.ending import heed
from lakehouse.errors import InvalidInput

DEFAULT_THRESHOLD = 0.3
PATH, FILENAME, DEFINED, OVERLAP, PREFIX, IMPORT = 1.0, 0.6, 0.6, 0.4, 0.3, -0.5
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")
_WORD = re.compile(r"[A-Za-z0-9_]+")
_SEPARATORS = re.compile(r"[/\\:.\-]+")
STOPWORDS = frozenset(
    "the a an and or of to in is it for on with as by at from this that be are was were not but if else into its use "
    "used uses has have had which when then than so no yes do does did can will would should may might must".split()
)


class Focus(BaseModel):
    """The file being worked on."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="Its path.")
    content: str | None = Field(None, description="Its text.")
    defined_symbols: list[str] | None = Field(None, description="Else of content.")
    imported_symbols: list[str] | None = Field(None, description="Else of content.")


class Chunk(BaseModel):
    """One."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, description="Yours.")
    source: str | None = Field(None, description="Its path.")
    doc_id: str | None = Field(None, description="Its id.")
    text: str = Field(description="Its words.")


class Signals(BaseModel):
    """What a chunk scored, and each signal that is not 0. Added in the order they stand they are the score."""

    score: float = Field(description="The sum.")
    path_match: float = Field(0.0, description="Its source or doc_id is the focus's path.")
    filename_match: float = Field(0.0, description="It mentions the focus's file name.")
    defined_match: float = Field(0.0, description="It mentions a symbol the focus defines.")
    token_overlap: float = Field(0.0, description="0.4 x the share of words in common.")
    prefix_match: float = Field(0.0, description="Its source begins with the focus's first two folders.")
    import_penalty: float = Field(0.0, description="It mentions symbols the focus imports, and none it defines.")


class Scored(Chunk):
    """A chunk with what it scored."""

    score: float = Field(description="The sum of the signals.")
    signals: dict[str, float] = Field(description="Those that fired.")


class Split(BaseModel):
    """Chunks that belong to the focus, and those that do not."""

    kept: list[Scored] = Field(description="At or above the threshold, in the order given.")
    dropped: list[Scored] = Field(description="The others.")
    threshold: float = Field(description="The least score kept.")
    count: int = Field(description="How many are kept.")


def tokens(text: str) -> frozenset[str]:
    """The words of a text that count: three characters or more, lower-cased, without stop words."""
    return frozenset(word for word in map(str.lower, _TOKEN.findall(text)) if word not in STOPWORDS)


def jaccard(some: Collection[str], other: Collection[str]) -> float:
    """The share of words in common; 0 where there are none at all."""
    every = {*some, *other}
    return len({*some} & {*other}) / len(every) if every else 0.0


def mentions(text: str, symbol: str) -> bool:
    """Whether a symbol stands in a text as a whole word, in this very case."""
    return (
        bool(symbol)
        and symbol in text
        and re.search(rf"(?<![A-Za-z0-9_]){re.escape(symbol)}(?![A-Za-z0-9_])", text) is not None
    )


def mentions_any(text: str, symbols: Collection[str]) -> bool:
    """Whether one of the symbols stands in a text as a whole word. Their number costs little: callers send them."""
    words = set(_WORD.findall(text)) if symbols else set()
    for symbol in symbols:
        if symbol in words:
            return True
        if not _WORD.fullmatch(symbol):
            heed()
            if mentions(text, symbol):
                return True
    return False


def file_prefix(path: str) -> str | None:
    """The first two segments of a path; None for what is not like a path."""
    parts = [part for part in path.split("/") if part and part != "."]
    return "/".join(parts[:2]) if len(parts) > 1 and "/" in path else None


def encodes(given: str | None, path: str) -> bool:
    """Whether a source or document id is a path, or contains it, however it is spelt."""
    if not given or not path:
        return False
    spelt, meant = _SEPARATORS.sub("_", given), _SEPARATORS.sub("_", path)
    return spelt == meant or path in given or (bool(meant.strip("_")) and meant in spelt)


class Scorer:
    """Scores chunks against one focus, whose words and symbols are read once, in a worker thread."""

    def __init__(self, focus: Focus) -> None:
        if not focus.path.strip():
            raise InvalidInput("focus.path: it is empty.", fix="Give the path of the file being worked on.")
        self._path = focus.path
        self._name = focus.path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        self._prefix = file_prefix(focus.path)
        self._tokens = tokens(focus.content or "")
        defined, imported = focus.defined_symbols, focus.imported_symbols
        if (defined is None or imported is None) and focus.content:
            from lakehouse.engine.symbols import symbols

            found = symbols(focus.content, focus.path)
            defined = list(found.defined) if defined is None else defined
            imported = list(found.imported) if imported is None else imported
        self._defined, self._imported = dict.fromkeys(defined or ()), dict.fromkeys(imported or ())

    def score(self, text: str, source: str | None = None, doc_id: str | None = None) -> Signals:
        """The signals of one chunk, each of them at most once."""
        heed()
        defined = mentions_any(text, self._defined)
        imported = mentions_any(text, self._imported)
        fired = {
            "path_match": PATH * (encodes(source, self._path) or encodes(doc_id, self._path)),
            "filename_match": FILENAME * mentions(text, self._name),
            "defined_match": DEFINED * defined,
            "token_overlap": OVERLAP * jaccard(tokens(text), self._tokens),
            "prefix_match": PREFIX * (self._prefix is not None and file_prefix(source or "") == self._prefix),
            "import_penalty": IMPORT if imported and not defined else 0.0,
        }
        total = 0.0
        for value in fired.values():
            total += value
        return Signals(score=total, **fired)


def split(focus: Focus, chunks: Sequence[Chunk], threshold: float = DEFAULT_THRESHOLD, keep_all: bool = False) -> Split:
    """The chunks with a score of `threshold` or more, and the others; with `keep_all` all are kept, scored.

    Raises InvalidInput for no chunks and for a focus without a path.
    """
    if not chunks:
        raise InvalidInput("chunks: the list is empty.", fix="Give at least one chunk.")
    if threshold != threshold:
        raise InvalidInput("threshold: it is not a number.", fix="Leave it out for the default.")
    scorer = Scorer(focus)
    kept: list[Scored] = []
    dropped: list[Scored] = []
    for chunk in chunks:
        found = scorer.score(chunk.text, chunk.source, chunk.doc_id)
        signals: dict[str, Any] = found.model_dump(exclude={"score"})
        fired = {name: value for name, value in signals.items() if value}
        scored = Scored(**chunk.model_dump(), score=found.score, signals=fired)
        (kept if keep_all or found.score >= threshold else dropped).append(scored)
    return Split(kept=kept, dropped=dropped, threshold=threshold, count=len(kept))
