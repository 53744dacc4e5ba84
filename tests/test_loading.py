"""A plugin's module while it is loaded: what it writes, what it changes, and how long it may take."""

import builtins
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.catalogue import Catalogue, loading

TOOL = '''
from lakehouse import tool
@tool()
async def one(lake) -> dict[str, int]:
    """One."""
    return {"one": 1}
'''


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deadline that suits a test; whatever thread outlives it ends by itself soon."""
    monkeypatch.setattr(loading, "SECONDS", 0.5)
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(20)


def project(folder: Path, source: str, name: str = "odd") -> Path:
    (folder / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "tools" / f"{name}.py").write_text(textwrap.dedent(source) + TOOL, encoding="utf-8")
    return folder


LONG = {
    "a loop": "while True: pass",
    "a loop that takes what is raised for its own": """
        import time
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                time.sleep(0.01)
            except Exception: pass
    """,
    "a wait": "import time\ntime.sleep(2)",
    "a loop of its own": "import asyncio\nasyncio.run(asyncio.sleep(2))",
    "a thread it waits for": """
        import threading, time
        thread = threading.Thread(target=time.sleep, args=[2])
        thread.start()
        thread.join()
    """,
}


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("source", LONG.values(), ids=LONG.keys())
def test_what_takes_too_long_is_left_out_and_not_tried_again(tmp_path: Path, source: str) -> None:
    project(tmp_path, source)
    project(tmp_path, "", "good")
    found = Catalogue([tmp_path])
    assert "good.one" in found and "odd.one" not in found
    (skipped,) = found.skipped
    assert "it took over 0.5 s to load" in skipped.reason
    threads = threading.active_count()
    again = Catalogue([tmp_path])
    assert again.skipped == found.skipped and threading.active_count() <= threads
    project(tmp_path, "# mended")
    assert Catalogue([tmp_path]).skipped == []


@pytest.mark.usefixtures("briefly")
def test_a_loop_in_python_is_stopped(tmp_path: Path) -> None:
    Catalogue([project(tmp_path, "while True: pass")])
    assert not [t for t in threading.enumerate() if "odd" in t.name and t.is_alive()]


@pytest.mark.usefixtures("briefly")
def test_an_import_of_a_library_is_not_cut_in_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever needs that library next could not import it any more."""
    (tmp_path / "lh_slow_library.py").write_text(
        "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: time.sleep(0.01)\nready = True\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    (skipped,) = Catalogue([project(tmp_path, "import lh_slow_library")]).skipped
    assert "importing lh_slow_library" in skipped.reason
    import lh_slow_library  # type: ignore[import-not-found]  # waits for the plugin's own import of it

    assert lh_slow_library.ready


@pytest.mark.slow
def test_nothing_of_it_reaches_standard_output(tmp_path: Path) -> None:
    """Neither what it prints, nor what it writes to the descriptor, nor what its child processes write."""
    project(
        tmp_path,
        """
        import os, subprocess, sys
        print("printed")
        sys.stdout.write("unfinished")
        os.write(1, b"written")
        sys.__stdout__.write("by the original")
        subprocess.run([sys.executable, "-c", "print('by a child')"])
        """,
    )
    program = (
        "import sys; from pathlib import Path; from lakehouse.catalogue import Catalogue\n"
        "sys.stdout.write('before ')\n"
        f"assert 'odd.one' in Catalogue([Path({str(tmp_path)!r})])\n"
        "print('after')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, encoding="utf-8")
    assert ran.stdout.split() == ["before", "after"]
    for words in ("printed", "unfinished", "written", "by the original", "by a child"):
        assert words in ran.stderr


def test_what_it_changes_of_the_process_is_put_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, opened, handlers = os.getcwd(), builtins.open, list(logging.getLogger().handlers)
    streams = sys.stdin, sys.stdout, sys.stderr
    project(
        tmp_path,
        """
        import builtins, io, logging, os, sys
        os.chdir("/")
        builtins.open = None
        del builtins.ascii
        sys.stdout = sys.stderr = io.StringIO()
        logging.basicConfig(level=0, force=True)
        """,
    )
    assert Catalogue([tmp_path]).skipped == []
    assert os.getcwd() == folder and builtins.open is opened and ascii("ä") == "'\\xe4'"
    assert (sys.stdin, sys.stdout, sys.stderr) == streams and logging.getLogger().handlers == handlers
    (told,) = [message for message in caplog.messages if message.startswith("plugin.changed")]
    for what in ("builtins.open", "builtins.ascii", "standard streams", "root logger", "working directory"):
        assert what in told


@pytest.mark.slow
def test_a_thread_it_starts_does_not_keep_the_process(tmp_path: Path) -> None:
    project(tmp_path, "import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()")
    program = (
        "from pathlib import Path; from lakehouse.catalogue import Catalogue\n"
        f"assert 'odd.one' in Catalogue([Path({str(tmp_path)!r})])"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_nothing_is_written_beside_it(tmp_path: Path) -> None:
    """A kept byte code could outlive an edit of the same length within a second."""
    project(tmp_path, "")
    Catalogue([tmp_path])
    assert [p.name for p in (tmp_path / "tools").iterdir()] == ["odd.py"]
