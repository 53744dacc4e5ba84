"""Work that cannot tell how far it is still says that it goes on."""

import anyio
import pytest

from lakehouse.engine import progress
from lakehouse.engine.progress import beating
from lakehouse.errors import Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BEAT_SECS", 0.001)


async def test_it_is_told_until_the_work_ends() -> None:
    told: list[tuple[float, float | None, str]] = []
    third = anyio.Event()

    async def heard(done: float, total: float | None, message: str) -> None:
        told.append((done, total, message))
        if len(told) == 3:
            third.set()

    async def work() -> int:
        await third.wait()
        return 7

    assert await beating(heard, lambda: f"{len(told)} times", work) == 7
    assert [message for _, _, message in told[:3]] == ["0 times", "1 times", "2 times"]
    seconds = [done for done, _, _ in told]
    assert seconds == sorted(seconds) and {total for _, total, _ in told} == {None}
    so_far = len(told)
    await anyio.wait_all_tasks_blocked()
    assert len(told) == so_far  # nothing beats on


async def test_its_error_leaves_alone() -> None:
    async def work() -> int:
        raise Upstream("gone.", fix="Again.")

    with pytest.raises(Upstream):
        await beating(progress.unheard, str, work)
