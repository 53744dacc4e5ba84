"""The append-only log: checksums, torn lines, rotation, a killed writer."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.engine.log import Log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "log.jsonl"


def numbers(journal: Log, count: int = 1000) -> list[Any]:
    return [record["n"] for record in journal.tail(count).records]


def test_what_is_appended_comes_back_in_order(path: Path) -> None:
    journal = Log(path)
    assert journal.tail(5).records == []
    journal.append([{"n": 1, "text": 'é\n\u2028"\\ \ud800'}, {"n": 2}])
    journal.append([{"n": 3}])
    assert journal.tail(5).records[0] == {"n": 1, "text": 'é\n\u2028"\\ \ud800'}
    assert numbers(Log(path)) == [1, 2, 3]
    assert numbers(journal, 2) == [2, 3]
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == [1, 2, 3]
    assert path.stat().st_mode & 0o777 == 0o600
    journal.close()
    journal.append([{"n": 4}])
    assert numbers(journal) == [1, 2, 3, 4]
    journal.close()
    journal.close()


def test_corrupt_lines_are_skipped_and_counted(path: Path) -> None:
    """S19.2."""
    journal = Log(path)
    for n in range(6):
        journal.append([{"n": n}])
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"n":1', b'"n":7')
    lines[3] = b"\x00garbage\xff\n"
    lines.insert(4, b"\n")
    path.write_bytes(b"".join(lines))
    tail = Log(path).tail(100)
    assert ([r["n"] for r in tail.records], tail.skipped) == ([0, 2, 4, 5], 2)
    assert numbers(Log(path), 3) == [2, 4, 5]


@given(st.data())
def test_a_torn_tail_costs_only_the_torn_record(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever byte the file was cut at, the whole lines before it are read and the next record is, too."""
    path = tmp_path_factory.mktemp("torn") / "log.jsonl"
    journal = Log(path)
    journal.append([{"n": n} for n in range(4)])
    journal.close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    torn = whole[:cut].rpartition(b"\n")[2]
    # A line that lacks nothing but its newline is whole.
    kept += bool(torn) and whole[cut : cut + 1] == b"\n"
    after = Log(path)
    after.append([{"n": 99}])
    after.close()
    assert numbers(after) == [*range(kept), 99]


def test_only_the_tail_of_a_long_file_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Log(path)
    journal.append([{"n": n, "pad": "x" * 200} for n in range(5000)])
    journal.close()
    monkeypatch.setattr("lakehouse.engine.log._BLOCK", 1000)
    assert numbers(journal, 7) == list(range(4993, 5000))
    assert numbers(journal, 5000) == list(range(5000))
    data = path.read_bytes()
    path.write_bytes(b"\x00" * 1000 + data[1000:])
    assert numbers(journal, 3) == [4997, 4998, 4999]


def test_the_file_is_exchanged_when_it_is_full(path: Path) -> None:
    """A server that runs for a year does not fill the disk: two files of a bounded size, no record lost in between."""
    journal = Log(path, max_bytes=1000)
    for n in range(100):
        journal.append([{"n": n, "pad": "x" * 50}])
    assert path.stat().st_size < 1100 and journal.previous.stat().st_size < 1100
    assert sorted(p.name for p in path.parent.iterdir()) == ["log.jsonl", "log.jsonl.1"]
    kept = numbers(journal)
    assert kept == list(range(kept[0], 100)) and len(kept) > 10
    assert numbers(journal, len(kept)) == kept
    journal.close()
    reopened = Log(path, max_bytes=1000)
    reopened.append([{"n": 100}])
    assert numbers(reopened)[-2:] == [99, 100]
    reopened.close()


def test_threads_do_not_mix_their_lines(path: Path) -> None:
    journal = Log(path, max_bytes=5000)

    def work(first: int) -> None:
        for n in range(first, first + 50):
            journal.append([{"n": n}])

    threads = [threading.Thread(target=work, args=(k * 50,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers(journal)) == list(range(200))
    journal.close()


def test_a_record_must_be_json_and_say_something(path: Path) -> None:
    journal = Log(path)
    for bad in ({}, {"n": float("nan")}):
        with pytest.raises(ValueError, match=r"."):
            journal.append([bad])
    with pytest.raises(TypeError):
        journal.append([{"n": object()}])
    journal.append([{"n": 1}])
    assert numbers(journal) == [1]
    journal.close()


def test_a_file_that_cannot_be_written_is_an_os_error(path: Path) -> None:
    path.mkdir(parents=True)
    journal = Log(path)
    for _ in range(2):
        with pytest.raises(OSError, match=r"."):
            journal.append([{"n": 1}])
    path.rmdir()
    journal.append([{"n": 2}])
    assert numbers(journal) == [2]
    journal.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from lakehouse.engine.log import Log

journal = Log(Path(sys.argv[1]))
journal.append([{"n": 0}])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
failed = 0
for n in (1, 2):
    try:
        journal.append([{"n": n, "pad": "x" * 100}])
    except OSError:
        failed += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
journal.append([{"n": 3}])
print(failed, [r["n"] for r in journal.tail(10).records], journal.tail(10).skipped)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
def test_a_half_written_record_does_not_spoil_the_next(path: Path) -> None:
    """The disk fills in the middle of a line; when there is room again, the log goes on."""
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2 [0, 3] 1\n", done.stderr


KILLED = """
import sys
from pathlib import Path
from lakehouse.engine.log import Log

journal = Log(Path(sys.argv[1]), max_bytes=20_000)
n = int(sys.argv[2])
while True:
    journal.append([{"n": n, "pad": "x" * 100}])
    print(n, flush=True)
    n += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
def test_acknowledged_records_survive_kill_9(path: Path) -> None:
    """Three lives, three kills: every record that was acknowledged and not yet rotated away is read back."""
    last = -1
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(path), str(last + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for line in child.stdout:
                last = int(line)
                if last % 100 == 99:
                    child.kill()
        kept = numbers(Log(path))
        assert kept == list(range(kept[0], kept[-1] + 1)) and kept[-1] >= last
        last = kept[-1]
