"""What is in a dataset, column by column, and the card a model needs to ask it right questions."""

from lakehouse.engine.profile.card import card
from lakehouse.engine.profile.facts import ColumnFacts, Common, Hint, Profile
from lakehouse.engine.profile.profiler import Profiler

__all__ = ["ColumnFacts", "Common", "Hint", "Profile", "Profiler", "card"]
