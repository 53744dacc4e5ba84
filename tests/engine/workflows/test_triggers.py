"""Triggers: what starts workflows by itself, each occasion once, whatever the clock does and wherever it is killed."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.workflows.model import Input
from lakehouse.engine.workflows.triggers.due import between, following
from lakehouse.engine.workflows.triggers.trigger import triggers_of
from lakehouse.engine.workflows.triggers.watch import Triggers
from lakehouse.errors import NotFound, Unavailable

pytestmark = pytest.mark.anyio
NOON = datetime.fromisoformat("2026-06-01T12:00:00Z").timestamp()  # a Monday
ECHO = "  - {id: a, mode: fixture.echo, with: {value: $INPUTS.word}}"
SECRET = "a secret of enough characters"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def write(home: Path, triggers: str, name: str = "daily", nodes: str = ECHO) -> None:
    """A workflow file with one input, `word`."""
    text = f"name: {name}\ndescription: d\ninputs: {{word: {{default: x}}}}\ntriggers: {triggers}\nnodes:\n{nodes}\n"
    (home / "workflows").mkdir(parents=True, exist_ok=True)
    (home / "workflows" / f"{name}.yaml").write_text(text)


def watcher(lake: Lakehouse, clock: Clock, **more: Any) -> Triggers:
    """The triggers of a lake, as a process has them that begins now."""

    async def newest(dataset: str) -> tuple[int, float] | None:
        try:
            found = await lake.datasets.get(dataset)
        except NotFound:
            return None
        return found.version, datetime.fromisoformat(found.created_at).timestamp()

    return Triggers(lake.home / "triggers", lake.workflows, newest, enabled=True, clock=clock, **more)


async def runs(lake: Lakehouse, workflow: str = "daily") -> list[str]:
    """The runs of a workflow, all of which have ended then, the oldest first."""
    found = [record.id for record, _ in await lake.workflows.runs(500, workflow=workflow)]
    for run in found:
        assert (await lake.workflows.wait(run, 60)).status == "completed"
    return found[::-1]


def local(text: str, zone: str = "Europe/Berlin") -> float:
    from zoneinfo import ZoneInfo

    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def at(moment: float | None) -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment).astimezone().astimezone(tz=None).isoformat()


def test_cron_is_read_in_its_time_zone_across_changes_of_the_clock() -> None:
    """In spring 2:30 is left out and due after the gap, in autumn it is due once; steps go on by elapsed time."""
    assert following("30 2 * * *", "Europe/Berlin", local("2026-03-29T00:00")) == local("2026-03-29T03:00")
    assert following("30 2 * * *", "Europe/Berlin", local("2026-03-29T03:00")) == local("2026-03-30T02:30")
    assert between("30 2 * * *", "Europe/Berlin", local("2026-10-25T00:00"), local("2026-10-25T23:00"))[0] == 1
    assert between("*/30 * * * *", "Europe/Berlin", local("2026-10-25T00:00"), local("2026-10-26T00:00"))[0] == 50
    assert following("0 6 * * MON-FRI", "UTC", local("2026-06-05T06:00", "UTC")) == local("2026-06-08T06:00", "UTC")
    assert following("0 0 29 FEB *", "UTC", NOON) == local("2028-02-29T00:00", "UTC")


def test_what_was_due_too_often_to_count_is_counted_to_ten_thousand() -> None:
    """The last moment is right all the same."""
    assert between("* * * * *", "UTC", NOON - 86400 * 30, NOON + 30) == (10_000, NOON)
    assert between("* * * * *", "UTC", NOON, NOON + 59) == (0, None)


@pytest.mark.parametrize(
    ("given", "where", "said"),
    [
        ("{cron: '0 6 * *'}", "cron", "4 fields"),
        ("{cron: '61 6 * * *'}", "cron", "bad minute"),
        ("{cron: '0 6 30 2 *'}", "cron", "bad day"),
        ("{cron: '0 6 * * *', timezone: Europe/Berlen}", "timezone", "no time zone"),
        ("{cron: '0 6 * * *', timezone: ../../etc/passwd}", "timezone", "no time zone"),
        ("{cron: 6}", "cron", "must be a text"),
        ("{crom: '0 6 * * *'}", "", "not what starts"),
        ("{cron: '0 6 * * *', dataset: a}", "", "at once"),
        ("{dataset: orders, timezone: UTC}", "timezone", "not a key"),
        ("{dataset: orders, overlap: queue}", "overlap", "none of"),
        ("{dataset: orders, catch_up: all}", "catch_up", "none of"),
        ("{dataset: orders, input: {wort: x}}", "input", "no input 'wort'"),
        ("{dataset: orders, input: {wort: {from: trigger.version}}}", "input", "no input 'wort'"),
        ("{dataset: orders, input: {word: {from: trigger.body}}}", "input.word", "nothing of a firing"),
        ("{dataset: orders, input: [a]}", "input", "mapping"),
        ("{dataset: orders, input: {}}", "input", "need is required"),
        ("{webhook: a/b}", "webhook", "no name"),
        ("{webhook: a, secret_env: PATH}", "secret_env", "credential"),
        ("{webhook: }", "webhook", "empty"),
    ],
)
def test_what_is_wrong_with_a_trigger_is_told(given: str, where: str, said: str) -> None:
    """By place, and nothing of it is armed."""
    import yaml

    inputs = {"word": Input("word", type="integer")}
    if "need" in said:
        inputs["need"] = Input("need", required=True)
    found, problems = triggers_of([yaml.safe_load(given)], inputs)
    assert not found
    assert any(p.where.startswith(f"triggers.0{'.' if where else ''}{where}") and said in p.message for p in problems)


async def test_a_cron_trigger_fires_when_it_is_due_and_once(lake: Lakehouse, clock: Clock) -> None:
    """Its message tells of the firing; whoever looks again at the same moment begins nothing."""
    write(lake.home, "[{cron: '5 12 * * *', input: {word: {from: trigger.at}}}]")
    watch = watcher(lake, clock)
    await watch.tick()
    assert (await watch.report())[0].next == "2026-06-01T12:05:00.000000Z"
    clock.now = NOON + 303
    for _ in range(3):
        await watch.tick()
    (run,) = await runs(lake)
    record = (await lake.workflows.state(run)).record
    assert json.loads(record.message) == {"kind": "cron", "cron": "5 12 * * *", "at": "2026-06-01T12:05:00.000000Z"}
    assert record.inputs == {"word": "2026-06-01T12:05:00.000000Z"}
    assert (record.starter.via, record.starter.shell, record.starter.name) == ("workflow", False, "trigger:daily")
    (told,) = await watch.report()
    assert (told.last_run, told.status, told.missed, told.problem) == (run, "completed", 0, None)


async def test_what_was_missed_is_told_and_not_made_up_for(lake: Lakehouse, clock: Clock) -> None:
    """A process that was down, a clock that jumped; one that went back begins nothing twice."""
    write(lake.home, "[{cron: '0 * * * *'}]")
    await watcher(lake, clock).tick()
    clock.now = NOON + 5 * 3600 + 1800
    watch = watcher(lake, clock)  # another process
    await watch.tick()
    assert await runs(lake) == []
    (told,) = await watch.report()
    assert (told.missed, told.missed_at) == (5, "2026-06-01T17:30:00.000000Z")
    clock.now = NOON + 8 * 3600 + 10  # a jump: two more are missed, the last is due now
    await watch.tick()
    assert len(await runs(lake)) == 1
    assert (await watch.report())[0].missed == 7
    clock.now -= 7200 + 20  # and back
    for step in range(0, 7300, 50):
        clock.now = NOON + 6 * 3600 - 10 + step
        await watch.tick()
    assert len(await runs(lake)) == 3  # those of 18:00 and 19:00, not that of 20:00 again


async def test_the_last_of_what_was_missed_can_be_caught_up_with(lake: Lakehouse, clock: Clock) -> None:
    """One run, for the newest occasion."""
    write(lake.home, "[{cron: '0 * * * *', catch_up: last, input: {word: {from: trigger.at}}}]")
    await watcher(lake, clock).tick()
    clock.now = NOON + 5 * 3600 + 1800
    watch = watcher(lake, clock)
    await watch.tick()
    await watch.tick()
    (run,) = await runs(lake)
    assert (await lake.workflows.state(run)).record.inputs["word"] == "2026-06-01T17:00:00.000000Z"
    assert (await watch.report())[0].missed == 5


GATE = "  - {id: a, bash: 'while [ ! -e $INPUTS_WORD ]; do sleep 0.02; done'}"


async def test_while_the_run_before_runs_none_begins(home: Path, tmp_path: Path, clock: Clock) -> None:
    """It is counted; with `overlap: parallel` it begins; with `catch_up: last` one begins afterwards."""
    gate = tmp_path / "gate"
    async with lakehouse.open(home, overrides={"workflows.allow_shell": True}) as lake:
        for name, more in (("skips", ""), ("both", ", overlap: parallel"), ("late", ", catch_up: last")):
            write(home, f"[{{cron: '* * * * *'{more}, input: {{word: '{gate}'}}}}]", name, GATE)
        watch = watcher(lake, clock)
        await watch.tick()
        for minute in (1, 2, 3):
            clock.now = NOON + 60 * minute
            await watch.tick()
        counts = {name: len(await lake.workflows.runs(workflow=name)) for name in ("skips", "both", "late")}
        assert counts == {"skips": 1, "both": 3, "late": 1}
        gate.touch()
        for name in counts:
            await runs(lake, name)
        clock.now += 1
        await watch.tick()
        counts = {name: len(await runs(lake, name)) for name in counts}
        assert counts == {"skips": 1, "both": 3, "late": 2}
        assert {one.workflow: one.skipped for one in await watch.report()} == {"skips": 2, "both": 0, "late": 1}


async def test_programs_run_only_where_the_settings_let_them(lake: Lakehouse, clock: Clock) -> None:
    """Nobody is at the command line. Why no run began is told."""
    write(lake.home, "[{cron: '* * * * *'}]", nodes="  - {id: a, bash: 'echo hi'}")
    watch = watcher(lake, clock)
    await watch.tick()
    clock.now += 60
    await watch.tick()
    assert await runs(lake) == []
    assert "allow_shell" in ((await watch.report())[0].problem or "")


@pytest.mark.slow
async def test_a_new_version_of_a_dataset_starts_what_waits_for_it(lake: Lakehouse, clock: Clock) -> None:
    """Each version one run; of versions that came while nobody watched the number is told."""
    import pyarrow as pa

    write(lake.home, "[{dataset: orders, overlap: parallel, input: {word: {from: trigger.version}}}]")
    watch = watcher(lake, clock)
    await watch.tick()
    for number in range(2):
        manifest = await commit(lake, "orders", pa.table({"a": [number]}))
        watch.committed("orders", manifest.version, datetime.fromisoformat(manifest.created_at).timestamp())
    watch.committed("other", 1, NOON)
    await watch.tick()
    await watch.tick()
    found = [(await lake.workflows.state(run)).record for run in await runs(lake)]
    assert sorted(record.inputs["word"] for record in found) == [1, 2]
    assert json.loads(found[0].message)["dataset"] == "orders"
    for number in range(3):
        await commit(lake, "orders", pa.table({"a": [number]}))
    watch = watcher(lake, clock)
    await watch.tick()
    assert ((await watch.report())[0].missed, len(await runs(lake))) == (3, 2)
    watch.committed("orders", 6, NOON + 6, ("auth.token", ""))
    await watch.tick()
    assert len(await runs(lake)) == 3


@pytest.mark.slow
async def test_a_workflow_that_writes_its_own_dataset_does_not_go_round(home: Path) -> None:
    """Not by itself, and not by way of another workflow. The lake fires by itself here."""
    append = '  - {{id: a, mode: ingest.file, with: {{name: {0}, content: "a\\n1\\n", mode: append}}}}'
    write(home, "[{dataset: ping}]", "ping", append.format("pong"))
    write(home, "[{dataset: pong, overlap: parallel}]", "pong", append.format("ping"))
    write(home, "[{dataset: own}]", "own", append.format("own"))
    async with lakehouse.open(home, overrides={"workflows.triggers": True, "embed.provider": "hash"}) as lake:
        await lake.start()
        await lake.triggers.tick()
        for name in ("ping", "own"):
            await lake.call("ingest.file", {"name": name, "content": "a\n0\n"})
        for _ in range(5):  # what one round begins has ended before the next looks
            await lake.triggers.tick()
            for name in ("ping", "pong", "own"):
                await runs(lake, name)
        assert {name: len(await runs(lake, name)) for name in ("ping", "pong", "own")} == {
            "ping": 1,
            "pong": 1,
            "own": 1,
        }
        assert [(await lake.datasets.get(name)).version for name in ("ping", "pong", "own")] == [2, 1, 2]


async def test_files_that_change_or_break_are_noticed(lake: Lakehouse, clock: Clock) -> None:
    """A file with errors has no triggers that fire, and says so; a removed one is gone."""
    write(lake.home, "[{cron: '* * * * *'}]")
    watch = watcher(lake, clock)
    await watch.tick()
    write(lake.home, "[{cron: '* * * * *'}]", nodes="  - {id: a, depends_on: [none]}")
    clock.now += 60
    await watch.tick()
    (told,) = await watch.report()
    assert (told.workflow, told.kind) == ("daily", "")
    assert "of no kind" in (told.problem or "")
    write(lake.home, "[{cron: '* * * * *'}, {cron: oops}]")
    clock.now += 60
    await watch.tick()
    assert [one.kind for one in await watch.report()] == ["cron", ""]
    assert len(await runs(lake)) == 1
    assert (await watch.report())[0].missed == 1
    (lake.home / "workflows" / "daily.yaml").unlink()
    clock.now += 60
    await watch.tick()
    assert (await watch.report(), len(await runs(lake))) == ([], 1)
    report = await lake.workflows.validate("x", "name: x\ndescription: d\ntriggers: [{cron: oops}]\nnodes:\n" + ECHO)
    assert any("never fires" in one["message"] for one in report["warnings"])


async def test_a_disk_that_fails_before_the_run_began_loses_nothing(
    lake: Lakehouse, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is owed is fired when it can be."""
    write(lake.home, "[{cron: '* * * * *'}]")
    watch = watcher(lake, clock)
    await watch.tick()
    clock.now += 60

    async def refuse(*_: Any, **__: Any) -> None:
        raise Unavailable("full.")

    with monkeypatch.context() as patch:
        patch.setattr(lake.workflows, "start", refuse)
        await watch.tick()
    assert await runs(lake) == []
    await watcher(lake, clock).tick()
    assert len(await runs(lake)) == 1


async def test_a_run_that_began_before_it_was_noted_is_not_begun_again(
    lake: Lakehouse, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between the run's first commit and the note of the firing."""
    write(lake.home, "[{cron: '* * * * *'}]")
    watch = watcher(lake, clock)
    await watch.tick()
    clock.now += 60
    start = lake.workflows.start

    async def killed(*given: Any, **more: Any) -> None:
        await start(*given, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lake.workflows, "start", killed)
        with pytest.raises(KeyboardInterrupt):
            await watch.tick()
    watch = watcher(lake, clock)
    await watch.tick()
    (run,) = await runs(lake)
    assert (await watch.report())[0].last_run == run


def test_the_doctor_says_a_word(home: Path) -> None:
    """Only where triggers are switched on."""
    from lakehouse import config
    from lakehouse.engine.doctor.triggers import check_triggers

    write(home, "[{cron: '0 6 * * *'}]")
    write(home, "[{cron: oops}]", "other")
    assert check_triggers(config.read(home)) == []
    (found,) = check_triggers(config.read(home, None, {"workflows.triggers": True}))
    assert (found.ok, found.required, "other: triggers.0.cron" in found.detail) == (False, False, True)
    (home / "workflows" / "other.yaml").unlink()
    (found,) = check_triggers(config.read(home, None, {"workflows.triggers": True}))
    assert (found.ok, found.detail) == (True, "1 can fire")
