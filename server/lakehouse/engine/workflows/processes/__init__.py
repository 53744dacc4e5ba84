"""Programs of this machine that nodes run: read as they print, bounded, and ended with all that they start."""

from lakehouse.engine.workflows.processes.running import Exited, Finished, OnOutput, run

__all__ = ["Exited", "Finished", "OnOutput", "run"]
