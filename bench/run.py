"""All figures, one script after another, each beside its peer or the raw library: `make bench` (`--quick` for less)."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = (
    *("protocol.py", "over_http.py", "attach.py", "tokens.py", "sql.py", "lineitem.py", "ingest.py", "vectors.py"),
    *(
        "nearest/run.py",
        "lexical.py",
        "buckets.py",
        "catalog.py",
        "merge.py",
        "quality.py",
        "workflows.py",
        "runners/run.py",
    ),
)


def main() -> int:
    """Run every part; the exit status is that of the worst."""
    worst = 0
    for part in PARTS:
        print(f"\n== {part.removesuffix('.py')}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(HERE / part), *sys.argv[1:]], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
