"""Query processes: side by side, queued, killed, cancelled, replaced, and gone with their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pyarrow as pa
import pytest

import lakehouse
from lakehouse import InvalidInput, Lakehouse, LakehouseError, TimedOut, TooLarge, Upstream
from lakehouse.engine.child import Child

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Register = Callable[..., Awaitable[Path]]
ENDLESS = "SELECT count(*) FROM range(3000000) a JOIN range(3000000) b ON a.range < b.range"
STUCK = "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))"


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another process."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


async def working(lake: Lakehouse) -> int:
    """The process that has a query, once one has."""

    def pids() -> list[int]:
        return [worker.child.pid for worker in lake.sql._pool._alive.values() if not worker.sound]

    await until(lambda: bool(pids()))
    return pids()[0]


async def test_a_process_killed_at_work_is_replaced(lake: Lakehouse) -> None:
    """A-S8-7."""
    await lake.sql.query("SELECT 1")
    failed: list[LakehouseError] = []

    async def run() -> None:
        try:
            await lake.sql.query(STUCK)
        except LakehouseError as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        os.kill(await working(lake), signal.SIGKILL)
    assert isinstance(failed[0], Upstream)
    assert (await lake.sql.query("SELECT 3")).rows == [[3]]


async def test_processes_killed_while_idle_are_replaced(lake: Lakehouse) -> None:
    await lake.sql.query("SELECT 1")
    first = lake.sql.pids
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(worker.child.alive for worker in lake.sql._pool._alive.values()))
    assert (await lake.sql.query("SELECT 1")).rows == [[1]]
    assert not set(first) & set(lake.sql.pids)


async def test_a_cancelled_query_ends_its_process_and_the_spare_answers(lake: Lakehouse) -> None:
    await lake.sql.query("SELECT 1")
    before = set(lake.sql.pids)
    with anyio.move_on_after(0.2) as scope:
        await lake.sql.query(STUCK)
    assert scope.cancelled_caught
    left = set(lake.sql.pids)
    assert len(before - left) == 1  # it was reaped before the cancellation went on
    assert not any(is_there(pid) for pid in before - left)
    assert (await lake.sql.query("SELECT 2")).rows == [[2]]
    assert left & before <= set(lake.sql.pids)


@pytest.mark.slow
async def test_many_at_once_some_of_them_bombs(home: Path, register: Register) -> None:
    bombs = {2: STUCK, 3: "SELECT list(i) FROM range(100000000) t(i)", 5: ENDLESS, 7: "FROM range(100000000)"}
    async with lakehouse.open(home, overrides={"sql.memory_limit": "300MB", "sql.workers": 2}) as lake:
        await register(lake, "people", pa.table({"id": [1, 2, 3]}))
        await lake.sql.query("FROM people")
        answered: list[int] = []
        failed: list[int] = []

        async def ask(number: int) -> None:
            sql = bombs.get(number, f"SELECT id FROM people WHERE id <= {number % 3 + 1}")
            try:
                # A bomb that waited for its place has no time left, and fails without having run.
                answer = await lake.sql.query(sql, timeout=0.5 if number in {2, 5} else None)
                answered.append(number)
                assert number in bombs or answer.row_count == number % 3 + 1
            except (TooLarge, TimedOut):
                failed.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(ask, number)
        assert sorted(failed) == [2, 3, 5]
        assert len(answered) == 13
        assert len(lake.sql.pids) <= 3


async def test_a_query_that_cannot_start_in_time_says_so(home: Path) -> None:
    async with lakehouse.open(home, overrides={"sql.workers": 1}) as lake:
        await lake.sql.query("SELECT 1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self_cancelled, lake)
            await anyio.sleep(0.1)
            with pytest.raises(TimedOut, match=r"waited 0\.2 seconds.*places"):
                await lake.sql.query("SELECT 2", timeout=0.2)
            tasks.cancel_scope.cancel()
        assert (await lake.sql.query("SELECT 3")).rows == [[3]]


async def self_cancelled(lake: Lakehouse) -> None:
    """Work until the group is cancelled."""
    await lake.sql.query(STUCK)


@pytest.mark.slow
async def test_a_running_query_finishes_on_the_set_it_began_with(lake: Lakehouse, register: Register) -> None:
    """The second half of A-S8-4."""
    await register(lake, "people", pa.table({"id": [1, 2, 3]}))
    await lake.sql.query("FROM people")
    counted: list[int] = []

    async def count() -> None:
        slow = "(SELECT count(*) FROM range(30000) a JOIN range(30000) b ON a.range < b.range + 0 * random()) > 0"
        answer = await lake.sql.query(f"SELECT count(*) FROM people WHERE {slow}")
        counted.append(answer.rows[0][0])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await working(lake)
        await register(lake, "people", pa.table({"id": [1]}))
        assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[1]]
    assert counted == [3]
    assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[1]]


async def test_a_process_that_cannot_start_is_an_upstream_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch, cold_children: None
) -> None:
    async with lakehouse.open(home) as lake:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/bin/false")
            with pytest.raises(Upstream, match="no query process"):
                await lake.sql.query("SELECT 1")
            patched.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(Upstream, match="no query process"):
                await lake.sql.query("SELECT 1")
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
        assert not [p async for p in anyio.Path(home / "tmp").glob("sql-*") if p.name not in await folders(lake)]


async def test_a_process_killed_while_it_starts_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, killed = Child.start, list[int]()

    async def first_one_killed(module: str, setup: Mapping[str, Any]) -> Child:
        child = await start(module, setup)
        if not killed:
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child.pid)
        return child

    async with lakehouse.open(home) as lake:
        monkeypatch.setattr(Child, "start", first_one_killed)
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
        assert killed and killed[0] not in lake.sql.pids


async def folders(lake: Lakehouse) -> set[str]:
    """The private folders of the processes there are."""
    return {worker.folder.name for worker in lake.sql._pool._alive.values()}


@pytest.mark.slow
async def test_processes_go_with_their_parent(home: Path) -> None:
    """Even when the parent is killed while a query is within one call of a function."""
    code = (
        "import anyio, sys, lakehouse\n"
        "async def main():\n"
        "    async with lakehouse.open(sys.argv[1]) as lake:\n"
        "        await lake.sql.query('SELECT 1')\n"
        "        async with anyio.create_task_group() as tasks:\n"
        f"            tasks.start_soon(lake.sql.query, {STUCK!r})\n"
        "            await anyio.sleep(0.3)\n"
        "            sys.stdout.write(' '.join(map(str, lake.sql.pids)) + chr(10)); sys.stdout.flush()\n"
        "            await anyio.sleep(60)\n"
        "anyio.run(main)\n"
    )
    parent = await anyio.open_process([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, stderr=None)
    try:
        assert parent.stdout is not None
        pids = [int(pid) for pid in (await parent.stdout.receive()).split()]
        assert len(pids) == 2 and all(is_there(pid) for pid in pids)
        parent.kill()
        await parent.wait()
        await until(lambda: not any(is_there(pid) for pid in pids))
    finally:
        await parent.aclose()


async def test_closing_leaves_no_process(home: Path) -> None:
    async with lakehouse.open(home) as lake:
        await lake.sql.query("SELECT 1")
        pids = lake.sql.pids
        assert len(pids) == 2
    await until(lambda: not any(is_there(pid) for pid in pids))  # their template takes note of their end


async def test_a_process_has_nothing_it_does_not_need(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment, no core files, bounded memory and files, its own folder as working directory."""
    monkeypatch.setenv("LAKEHOUSE_SECRET", "hidden")
    await lake.sql.query("SELECT 1")

    def look(pid: int) -> tuple[bytes, str, dict[str, str]]:
        place = Path("/proc") / str(pid)
        limits = {line[:25].strip(): line[26:].split()[0] for line in (place / "limits").read_text().splitlines()[1:]}
        return (place / "environ").read_bytes(), os.readlink(place / "cwd"), limits

    environment, folder, limits = await anyio.to_thread.run_sync(look, lake.sql.pids[0])
    assert environment == b""
    assert Path(folder).parent == lake.storage.scratch_root
    assert limits["Max core file size"] == "0"
    assert limits["Max address space"] == str(lake.config.sql.address_space)
    assert limits["Max file size"] == str(lake.config.sql.max_spill_bytes)


async def test_splices_of_good_and_bad_do_no_harm(
    home: Path, register: Register, seconds: Callable[[float], float]
) -> None:
    """Random mixtures of allowed and refused statements: nothing is written, and the next query is answered."""
    cases = Path(__file__).parents[1] / "cases"
    texts = [
        block.partition("\n")[2]
        for name in ("sql_allowed.sql", "sql_refused.sql")
        for block in (cases / name).read_text(encoding="utf-8").strip().split("\n\n")[1:]
    ]
    random = Random(20240501)
    async with lakehouse.open(home, overrides={"sql.timeout_secs": 1.0, "sql.memory_limit": "300MB"}) as lake:
        file = await register(lake, "orders", pa.table({"id": [1, 2], "amount": [1.5, 2.5]}))
        original = await anyio.Path(file).read_bytes()
        names = await listing(home)
        ends = anyio.current_time() + seconds(4)
        tried = 0
        while anyio.current_time() < ends or tried <= 100:  # on a busy machine it takes longer
            sql = spliced(random, texts).replace("{home}", str(home)).replace("{file}", str(file))
            tried += 1
            try:
                answer = await lake.sql.query(sql)
                assert str(home) not in str(answer.rows) or str(home) in sql, sql
            except (InvalidInput, TooLarge, TimedOut) as error:
                assert str(home) not in str(error) or str(home) in sql, sql
            if tried % 20 == 0:
                assert (await lake.sql.query("SELECT sum(id) FROM orders")).rows == [[3]]
        assert await anyio.Path(file).read_bytes() == original
        assert await listing(home) == names


def spliced(random: Random, texts: list[str]) -> str:
    """A statement with a piece of another in it, or words of it moved about."""
    one, other = random.choice(texts), random.choice(texts)
    match random.randrange(5):
        case 0:
            at = random.randrange(len(one) + 1)
            return one[:at] + other + one[at:]
        case 1:
            words = one.split()
            at = random.randrange(len(words) + 1)
            return " ".join([*words[:at], f"({other})", *words[at:]])
        case 2:
            return one.replace("orders", f"({other})")
        case 3:
            words = one.split() + other.split()
            random.shuffle(words)
            return " ".join(words[: random.randrange(1, 25)])
        case _:
            return f"WITH x AS ({one}), y AS ({other}) SELECT * FROM x, y LIMIT 3"


async def listing(home: Path) -> list[str]:
    """Every file of the data directory but what calls and results leave there."""

    def find() -> list[str]:
        kept = ("results", "tmp", "observer")
        return sorted(str(p) for p in home.rglob("*") if p.is_file() and not set(p.parts) & set(kept))

    return await anyio.to_thread.run_sync(find)


@pytest.mark.slow
async def test_deep_and_wide_texts_do_not_stop_the_server(lake: Lakehouse) -> None:
    texts = [
        "SELECT " + "(" * 30_000 + "1" + ")" * 30_000,
        "SELECT a" + ".b" * 30_000,
        "SELECT 1" + " UNION ALL SELECT 1" * 3_000,
        "SELECT " + "NOT " * 15_000 + "true",
        "FROM t" + ", t" * 20_000,
    ]
    for sql in texts:
        try:
            await lake.sql.query(sql, timeout=1)
        except (InvalidInput, TooLarge, TimedOut):
            pass
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
