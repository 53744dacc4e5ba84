"""What every worker process is given and held to."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

BOUND = """
import resource, sys
from lakehouse.engine.child import bound
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
bound(5000, 2**32)
print(*(resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_AS)))
"""


@pytest.mark.parametrize(("outside", "held"), [(-1, 5000), (9000, 5000), (1000, 1000)])
def test_the_stricter_of_two_limits_holds(outside: int, held: int) -> None:
    """A user's own `ulimit -f` must not be the end of every worker process."""
    ran = subprocess.run([sys.executable, "-c", BOUND, str(outside)], capture_output=True, text=True, check=True)
    assert ran.stdout.split()[:2] == [str(held), "0"]
    if sys.platform == "linux":
        assert ran.stdout.split()[2] == str(2**32)
