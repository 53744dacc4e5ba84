"""Where log lines go: stderr, and a small rotating file in the data directory; stdout belongs to the protocol."""

import logging
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from lakehouse.config import Settings
from lakehouse.lake import redactor

FORM = "%(asctime)s %(levelname)s %(message)s"
MAX_BYTES, KEPT = 2**20, 3


class Whole(logging.Formatter):
    """Lines with their time and traceback, without known credentials."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        super().__init__(FORM)
        self.clean = clean

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it."""
        return self.clean(super().format(record))


class Brief(Whole):
    """Lines for a person: the message alone. The traceback is in the file."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without the traceback."""
        return self.clean(f"{record.levelname.lower()}: {record.getMessage()}")


class HomeFile(RotatingFileHandler):
    """`logs/lakehouse.log` below a data directory; silent while there is no such directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        path = home / "logs" / "lakehouse.log"
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. A full or read-only disk costs the line, never what was asked for."""
        try:
            if self.home.is_dir():
                Path(self.baseFilename).parent.mkdir(mode=0o700, exist_ok=True)
                super().emit(record)
        except OSError:
            return

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: stderr has the line too."""


def keep_logs(settings: Settings, *, brief: bool) -> None:
    """Send warnings and worse to stderr (whole for a server, whose host keeps them; brief for a person) and to the
    data directory's log file, tracebacks included."""
    clean = redactor(settings.config).whole
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(Brief(clean) if brief else Whole(clean))
    file = HomeFile(settings.home)
    file.setFormatter(Whole(clean))
    logging.basicConfig(level=logging.WARNING, handlers=[stderr, file])
