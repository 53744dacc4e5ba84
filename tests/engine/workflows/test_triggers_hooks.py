"""Hooks: what opens them, and what those learn whom they stay closed to."""

import pytest
from tests.engine.workflows.test_triggers import NOON, SECRET, Clock, runs, watcher, write

from lakehouse import Lakehouse
from lakehouse.engine.workflows.runs import Starter
from lakehouse.engine.workflows.triggers.signature import signed, verified
from lakehouse.errors import Conflict, InvalidInput, NotFound

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_hooks_are_opened_by_a_signature_or_a_token(lake: Lakehouse, clock: Clock) -> None:
    """A hook that is not there, a signature that is wrong or old, and no secret look all the same."""
    write(lake.home, "[{webhook: deploy, secret_env: HOOK_SECRET, input: {word: {from: trigger.body.ref.0}}}]")
    watch = watcher(lake, clock, environ={"HOOK_SECRET": SECRET})
    await watch.tick()
    body = b'{"ref": ["main"], "x": "$(touch /tmp/x)"}'
    good = signed(SECRET, body, int(NOON))
    refused = [
        ("deploy", body, ""),
        ("deploy", body + b" ", good),
        ("deploy", body, signed(SECRET, body, int(NOON) - 301)),
        ("deploy", body, signed("another secret of this length", body, int(NOON))),
        ("deploy", body, good.replace("t=1", "t=-1")),
        ("none", body, good),
    ]
    said = set()
    for name, sent, signature in refused:
        with pytest.raises(NotFound) as error:
            await watch.posted(name, sent, signature, None)
        said.add(str(error.value))
    assert len(said) == 1
    run = await watch.posted("deploy", body, good, None)
    assert await watch.posted("deploy", body, good, None) == run  # sent twice
    assert await runs(lake) == [run]
    record = (await lake.workflows.state(run)).record
    assert (record.message, record.inputs, record.starter.remote) == (body.decode(), {"word": "main"}, True)
    bearer = Starter("http", True, name="ci")
    other = await watch.posted("deploy", body, "", bearer, "k1")
    assert await watch.posted("deploy", body, "", bearer, "k1") == other
    assert (await lake.workflows.state(other)).record.starter == bearer
    for bad in (b"{", b'{"other": 1}', b"[" * 100_000):
        with pytest.raises(InvalidInput):
            await watch.posted("deploy", bad, signed(SECRET, bad, int(NOON)), None)
    assert not verified(None, b"", signed("", b"", 0), 0.0)


async def test_hooks_of_one_name_and_without_a_secret_are_told(lake: Lakehouse, clock: Clock) -> None:
    """Two of a name: none fires. `overlap: skip` refuses while a run runs."""
    write(lake.home, "[{webhook: a, secret_env: HOOK_SECRET}, {webhook: b}]", "one")
    write(lake.home, "[{webhook: b}]", "two")
    watch = watcher(lake, clock, environ={"HOOK_SECRET": "short"})
    problems = [one.problem or "" for one in await watch.report()]
    assert sum("shorter than 16" in one for one in problems) == 1
    assert sum("several triggers" in one for one in problems) == 2
    with pytest.raises(NotFound):
        await watch.posted("b", b"", "", Starter())
    with pytest.raises(NotFound):
        await watch.posted("a", b"", signed("short", b"", int(NOON)), None)
    write(lake.home, "[{webhook: c, overlap: skip}]", "three", "  - {id: a, mode: fixture.echo}")
    await watch.tick()
    run = await watch.posted("c", b"", "", Starter())
    if (await lake.workflows.state(run)).status == "running":
        with pytest.raises(Conflict):
            await watch.posted("c", b"", "", Starter())
