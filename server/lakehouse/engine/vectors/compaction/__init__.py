"""Segments merged and their graphs built in low-priority processes, while adds and searches go on."""

from lakehouse.engine.vectors.compaction.plan import Job, jobs
from lakehouse.engine.vectors.compaction.run import optimise, wanted

__all__ = ["Job", "jobs", "optimise", "wanted"]
