"""What is in a dataset, column by column, and the card a model needs to ask it right questions."""

from lakehouse.engine.profiling.card import card
from lakehouse.engine.profiling.facts import ColumnFacts, Common, Hint, Profile
from lakehouse.engine.profiling.profiler import Profiler

__all__ = ["ColumnFacts", "Common", "Hint", "Profile", "Profiler", "card"]
