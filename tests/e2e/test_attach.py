"""Two MCP hosts, a shell and a server on one data directory, and what is left when the one that owns it is killed."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.e2e.test_wire import ended, wire
from tests.owners import opened, probe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
PATIENCE = 60  # seconds until something that should happen counts as never happening


def until(holds: Callable[[], Any]) -> Any:
    """Look until it holds."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
    return found


def owner(home: Path) -> int:
    return int(json.loads((home / "lake.owner.json").read_bytes())["pid"])


def structured(answer: dict[str, Any]) -> dict[str, Any]:
    assert not answer.get("isError"), answer
    return dict(answer["structuredContent"])


def test_two_hosts_and_a_shell_go_on_when_the_first_host_is_killed(
    command: list[str], home: Path, tmp_path: Path
) -> None:
    """S3.8. The file the shell ingests through the first host is there once, and so is all the second one wrote."""
    rows = 500_000
    table = tmp_path / "orders.csv"
    with table.open("w", encoding="utf-8") as file:
        file.write("id,zip,note\n")
        file.writelines(f"{n},{n % 1000:05d},note of order {n}\n" for n in range(rows))
    end = tmp_path / "end"
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": str(probe(tmp_path))}
    with wire(command, home, **environment) as first, wire(command, home, **environment) as second:
        first.shake_hands()
        second.shake_hands()
        structured(first.call("create_index", {"name": "raw", "dimension": 2}))
        assert structured(second.call("list_indexes", {}))["count"] == 1 and owner(home) == first.child.pid
        with subprocess.Popen(
            [*command, "--home", str(home), "ingest", str(table), "--name", "orders", "--json"],
            env={**os.environ, **environment},  # it may be the next owner, and asked for the plugin's tools
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as shell:
            # The first host is at it, and in the middle of two calls of the second one.
            until(lambda: list((home / "tmp").glob("*/*")))
            waits = second.request("tools/call", {"name": "probe_wait", "arguments": {"path": str(end)}})
            adds = [
                second.request(
                    "tools/call",
                    {"name": "add_vectors", "arguments": {"index": "raw", "items": [{"id": f"{n}", "vector": [n, 1]}]}},
                )
                for n in range(50)
            ]
            assert shell.poll() is None
            first.child.kill()
            first.child.wait()
            end.touch()
            out, err = shell.communicate()
            assert shell.returncode == 0, err
        found = json.loads(out)
        assert (found["row_count"], found["version"]) == (rows, 1) and not err
        answers: dict[int, dict[str, Any]] = {}
        while not {waits, *adds} <= answers.keys():
            assert second.child.stdout is not None
            message = json.loads(second.child.stdout.readline())
            if "id" in message:
                answers[message["id"]] = message["result"]
        assert structured(answers[waits])["value"] != first.child.pid
        for identifier in adds:
            structured(answers[identifier])
        listed = structured(second.call("list_datasets", {}))
        assert owner(home) == second.child.pid
        assert [(m["name"], m["version"]) for m in listed["manifests"]] == [("orders", 1)]
        counted = structured(second.call("query_sql", {"sql": "SELECT count(*), count(DISTINCT id) FROM orders"}))
        assert counted["rows"] == [[rows, rows]]
        assert structured(second.call("get_index", {"name": "raw"}))["count"] == 50
        line = [*command, "--home", str(home), "sql", "SELECT max(id) FROM orders", "--json"]
        assert json.loads(subprocess.run(line, capture_output=True, check=True).stdout)["rows"] == [[rows - 1]]
        assert owner(home) == second.child.pid


def test_a_server_attaches_and_takes_over(command: list[str], home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def asked(path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answered = connection.getresponse()
            assert answered.status == 200, answered.read()
            return json.loads(answered.read())
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()

    with wire(command, home) as host:
        host.shake_hands()
        structured(host.call("list_datasets", {}))
        with subprocess.Popen([*command, "--home", str(home), "serve", "--port", str(port)]) as server:
            try:
                assert until(lambda: asked("/health"))["status"] == "ok"
                assert asked("/v1/call/sql.query", {"sql": "SELECT 1 AS x"})["rows"] == [[1]]
                assert owner(home) == host.child.pid
                host.child.kill()
                host.child.wait()
                assert asked("/v1/call/sql.query", {"sql": "SELECT 2 AS x"})["rows"] == [[2]]
                assert owner(home) == server.pid
            finally:
                server.terminate()


def test_a_command_finishes_what_it_runs_for_others(command: list[str], home: Path, tmp_path: Path) -> None:
    """Its own answer is shown before; then it waits for them, and goes."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": str(probe(tmp_path)), "LAKEHOUSE_SERVER__DRAIN_SECS": str(PATIENCE)}
    line = [*command, "--home", str(home), "call", "probe.wait", json.dumps({"path": str(mine)})]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env={**os.environ, **environment}) as shell:
        until((home / "lake.sock").exists)
        with wire(command, home, **environment) as host:
            host.shake_hands()
            arguments = {"line": "x", "note": str(tmp_path / "note"), "path": str(theirs)}
            waits = host.request("tools/call", {"name": "probe_once", "arguments": arguments})
            until((tmp_path / "note").exists)
            mine.touch()
            assert shell.stdout is not None and json.loads(shell.stdout.readline()) == {"value": shell.pid}
            assert shell.poll() is None
            # Who calls once it takes no more waits for the directory, and has it when that call has ended.
            until(lambda: not (home / "lake.sock").exists())
            late = host.request("tools/call", {"name": "probe_who", "arguments": {}})
            theirs.touch()
            assert structured(host.answer(waits)["result"])["value"] == shell.pid
            assert structured(host.answer(late)["result"])["value"][0] == host.child.pid
            assert shell.wait(PATIENCE) == 0
    assert (tmp_path / "note").read_text() == "x\n"


def test_a_host_ends_at_once_whatever_it_runs_for_others(command: list[str], home: Path, tmp_path: Path) -> None:
    """What may be done twice, the next one does again."""
    end = tmp_path / "end"
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": str(probe(tmp_path)), "LAKEHOUSE_SERVER__DRAIN_SECS": "600"}
    with wire(command, home, **environment) as second:
        with wire(command, home, **environment) as first:
            first.shake_hands()
            second.shake_hands()
            structured(first.call("list_datasets", {}))
            waits = second.request(
                "tools/call",
                {"name": "probe_wait", "arguments": {"path": str(end)}, "_meta": {"progressToken": 1}},
            )
            assert second.child.stdout is not None
            assert b"notifications/progress" in second.child.stdout.readline()
            assert owner(home) == first.child.pid and first.child.stdin is not None
            first.child.stdin.close()
            assert ended(first.child) == 0
        end.touch()
        assert structured(second.answer(waits)["result"])["value"] == second.child.pid


WORKER = """
import json, random, sys
import anyio
import lakehouse
from lakehouse import Busy, Unavailable

async def main(home, project, seed):
    source = random.Random(seed)
    name = f"w{seed}"
    settings = {"embed.provider": "hash", "plugins.folders": [project], "storage.upload_slots": 100}
    async with lakehouse.open(home, overrides=settings) as lake:
        print(json.dumps(["open"]), flush=True)

        async def work(lane):
            for n in range(1_000_000):
                kind = source.choice(("add", "put", "ingest", "once", "once", "read"))
                what = f"{name}-{lane}-{n}"
                try:
                    if kind == "add":
                        item = {"id": what, "vector": [n, 1.0]}
                        await lake.call("vectors.add", {"index": "raw", "items": [item]})
                    elif kind == "put":
                        await lake.call("storage.put", {"key": f"mine/{what}", "text": what})
                    elif kind == "ingest":
                        table = what.replace("-", "_")
                        await lake.call("ingest.file", {"name": table, "content": f"a\\n{n}\\n"})
                    elif kind == "once":
                        await lake.call("probe.once", {"line": what, "note": f"{home}/note"})
                    else:
                        await lake.call("vectors.search", {"index": "raw", "vector": [1, 1], "k": 1})
                except (Unavailable, Busy) as error:
                    print(json.dumps(["unknown", kind, what, str(error)]), flush=True)
                    continue
                print(json.dumps(["done", kind, what]), flush=True)

        async with anyio.create_task_group() as group:
            for lane in range(3):
                group.start_soon(work, lane)

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


KINDS = {"add", "put", "ingest", "once", "read"}


class Workers:
    """Processes that write as fast as they can, and what they say was done."""

    def __init__(self, home: Path, project: Path) -> None:
        self.said: list[list[str]] = []
        self._line = [sys.executable, "-c", WORKER, str(home), str(project)]
        self._running: dict[int, tuple[subprocess.Popen[bytes], threading.Thread]] = {}
        self._seed = 0

    def start(self) -> None:
        self._seed += 1
        child = subprocess.Popen([*self._line, str(self._seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        reader = threading.Thread(target=self._read, args=(child,))
        reader.start()
        self._running[child.pid] = child, reader

    def _read(self, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if line.endswith(b"\n"):
                self.said.append(json.loads(line))

    def kill(self, pid: int) -> None:
        """Kill one; it must have lived until now."""
        child, reader = self._running.pop(pid)
        assert child.poll() is None, child.stderr and child.stderr.read().decode()
        child.kill()
        reader.join()
        child.communicate()

    def kinds(self) -> set[str]:
        """What was done at least once."""
        return {said[1] for said in list(self.said) if said[0] == "done"}

    def owner(self, home: Path) -> int | None:
        """The one that owns the directory, when it is one of ours that runs."""
        try:
            pid = owner(home)
        except (OSError, ValueError):
            return None
        return pid if pid in self._running else None

    def end(self) -> None:
        for pid in list(self._running):
            self.kill(pid)


@contextmanager
def workers(home: Path, project: Path) -> Iterator[Workers]:
    found = Workers(home, project)
    try:
        yield found
    finally:
        found.end()


def test_owners_killed_at_random_lose_and_double_nothing(
    home: Path, tmp_path: Path, seconds: Callable[[float], float]
) -> None:
    """Whatever was acknowledged is there; what may not be done twice was not."""
    project = probe(tmp_path)

    async def prepare() -> None:
        async with opened(home, project) as lake:
            await lake.call("vectors.create", {"name": "raw", "dimension": 2})

    anyio.run(prepare)
    source = random.Random(5)
    with workers(home, project) as all_of_them:
        for _ in range(3):
            all_of_them.start()
        end = time.monotonic() + seconds(5)
        kills = 0
        # On a busy machine it takes longer until anything was proven.
        while time.monotonic() < end or kills < 3 or all_of_them.kinds() < KINDS:
            pid = until(lambda: all_of_them.owner(home))
            wanted = len(all_of_them.said) + source.randrange(1, 25)
            until(lambda wanted=wanted: len(all_of_them.said) >= wanted)  # type: ignore[misc]
            all_of_them.kill(pid)
            kills += 1
            all_of_them.start()
    done = {(kind, what) for word, kind, what, *_ in (s for s in all_of_them.said if s[0] == "done")}

    async def look() -> None:
        async with opened(home, project) as lake:
            for kind, what in sorted(done):
                if kind == "add":
                    assert (await lake.call("vectors.item", {"index": "raw", "id": what}))["id"] == what
                elif kind == "put":
                    assert (await lake.call("storage.get", {"key": f"mine/{what}"}))["text"] == what
                elif kind == "ingest":
                    manifest = await lake.call("datasets.get", {"name": what.replace("-", "_")})
                    assert (manifest["version"], manifest["row_count"]) == (1, 1)

    anyio.run(look)
    noted = Counter((home / "note").read_text().split())
    assert set(noted.values()) == {1}, [line for line, times in noted.items() if times > 1]
    assert {what for kind, what in done if kind == "once"} <= set(noted)
    # Only what may not be done twice may be left unknown.
    assert {said[1] for said in all_of_them.said if said[0] == "unknown"} <= {"once"}, all_of_them.said[-5:]
