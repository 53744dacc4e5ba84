"""Knowledge out of a text, in seven passes: facts are extracted, doubted, checked against the text, and arranged.

Each pass asks a chat model and believes nothing it can check itself: evidence must stand in the text, numbers must be
in their range, every fact must be answered for. The text itself is data for the model, whatever it says.
"""

from lakehouse.engine.knowledge.asking import Ask, Took, Unusable
from lakehouse.engine.knowledge.attack import Attacked, attacked
from lakehouse.engine.knowledge.curation import Curated, Question, curated, document
from lakehouse.engine.knowledge.extraction import Extracted, extracted
from lakehouse.engine.knowledge.fact import Fact
from lakehouse.engine.knowledge.judging import Checked, Judged, checked, judged
from lakehouse.engine.knowledge.repetition import MAX_ROUNDS, Agreed, agreed
from lakehouse.engine.knowledge.source import MAX_PART, MIN_PART, PART_CHARS, Text

__all__ = [
    "MAX_PART",
    "MAX_ROUNDS",
    "MIN_PART",
    "PART_CHARS",
    "Agreed",
    "Ask",
    "Attacked",
    "Checked",
    "Curated",
    "Extracted",
    "Fact",
    "Judged",
    "Question",
    "Text",
    "Took",
    "Unusable",
    "agreed",
    "attacked",
    "checked",
    "curated",
    "document",
    "extracted",
    "judged",
]
