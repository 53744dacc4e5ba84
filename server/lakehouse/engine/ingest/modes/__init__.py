"""How data becomes a dataset's next version: in place of what is there, behind it, or by key."""

from lakehouse.engine.ingest.modes.deletion import Deletion
from lakehouse.engine.ingest.modes.incoming import Incoming
from lakehouse.engine.ingest.modes.place import Place

__all__ = ["Deletion", "Incoming", "Place"]
