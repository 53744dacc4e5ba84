"""A service that goes away in the middle of an upload: nothing half is visible, and the next try is whole."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest
from tests.doubles.s3 import S3

from lakehouse.engine.bucket import Bucket, KeyNotFound
from lakehouse.engine.storage import Storage
from lakehouse.errors import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@contextmanager
def cut_after(endpoint: str, room: int) -> Iterator[str]:
    """A way to the service that is closed for good when so many bytes went up; its address."""
    target = urlsplit(endpoint)
    left, open_sockets = [room], set[socket.socket]()
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    left[0] -= len(data)
                    if left[0] < 0:
                        close()
                        return
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close() -> None:
        for each in (listener, *list(open_sockets)):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((target.hostname or "", target.port or 0))
                open_sockets.update((client, server))
                for source, sink, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pass_on, args=(source, sink, counted), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        close()


@pytest.mark.parametrize("size", [6, 40])  # in one request, and in parts
async def test_a_bucket_gone_in_mid_upload(moto: S3, tmp_path: Path, home: Path, size: int) -> None:
    """The put fails within its limits, no object is there, what was there stays, and a second put is whole."""
    whole = moto.settings(timeout_secs=2.0)
    bucket, file = Bucket(whole.url, settings=whole), tmp_path / "file"
    await bucket.put("there", b"old")
    data = bytes(size * 2**20)
    for key in ("new", "there"):
        await anyio.to_thread.run_sync(file.write_bytes, data)
        with cut_after(moto.endpoint, size * 2**19) as endpoint:
            storage = Storage(home, whole.model_copy(update={"endpoint": endpoint}))
            with pytest.raises(Upstream, match="cannot be reached"):
                await storage.put_file(key, file)
            await storage.aclose()
        assert not await anyio.Path(file).exists()
    with pytest.raises(KeyNotFound):
        await bucket.head("new")
    assert await bucket.get("there") == b"old"
    assert [stored.key for stored in (await bucket.list()).objects if not stored.key.startswith("_errors/")] == [
        "there"
    ]
    await anyio.to_thread.run_sync(file.write_bytes, data)
    await bucket.put_file("new", file)
    assert (await bucket.head("new")).size == len(data)
