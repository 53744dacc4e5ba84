"""What every worker process is given and held to."""

import subprocess
import sys

import pytest

from lakehouse.engine.child import Child, ChildDied

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


@pytest.mark.anyio
async def test_nothing_is_left_of_a_child_that_takes_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Child] = []

    async def refuse(child: Child, setup: object) -> None:
        started.append(child)
        raise ChildDied

    monkeypatch.setattr(Child, "send", refuse)
    with pytest.raises(ChildDied):
        await Child.start("lakehouse.engine.sql.worker", {})
    assert not started[0].alive


def test_workers_start_without_what_only_their_parent_needs() -> None:
    """A worker starts in its part's package, whose first lines once loaded the settings: 0.1 s of each start."""
    workers = ("sql.worker", "sql.session", "tables.worker", "ingest.worker", "export.worker")
    code = f"import sys, {', '.join(f'lakehouse.engine.{w}' for w in workers)}; print(*sys.modules, sep=chr(10))"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "asyncio", "lakehouse.config", "lakehouse.engine.datasets"} & set(ran.stdout.split())
