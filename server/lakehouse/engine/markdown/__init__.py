"""Data as Markdown: titles, texts, lists and tables, in which whatever the data holds is shown and nothing acts."""

from lakehouse.engine.markdown.escaping import block, fenced, inline
from lakehouse.engine.markdown.sections import Section, document

__all__ = ["Section", "block", "document", "fenced", "inline"]
