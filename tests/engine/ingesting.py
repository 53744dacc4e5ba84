"""What the ingest tests share: an ingester on a folder of its own, and the reading process by itself."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse import config
from lakehouse.engine.child import Child
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.ingest import Ingested, Ingester
from lakehouse.engine.storage import Storage


class Bench:
    """An ingester on a folder of its own, and what it stored."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.storage = Storage(self.home, config.Storage())
        self.datasets = Datasets(self.home, self.storage)
        self.ingester = Ingester(self.storage, self.datasets, config.Ingest(**settings))

    async def take(self, data: bytes, name: str = "t", file: str = "t.csv", **options: Any) -> Ingested:
        """Ingest bytes as a file."""
        path = self.folder / file
        path.write_bytes(data)
        return await self.ingester.ingest_path(path, name, **options)

    async def aclose(self) -> None:
        """Close the files it holds open."""
        await self.datasets.aclose()
        await self.storage.aclose()

    def table(self, stored: Ingested) -> pa.Table:
        """What was stored."""
        return pq.ParquetFile(self.home / "objects" / stored.key).read()

    def objects(self) -> dict[str, bytes]:
        """Every object in the bucket."""
        root = self.home / "objects"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    def scratch(self) -> list[Path]:
        """What lies in the scratch folder."""
        return list(self.storage.scratch_root.iterdir()) if self.storage.scratch_root.exists() else []


async def read(source: Path, folder: Path, kind: str = "csv", **setup: Any) -> dict[str, Any]:
    """The worker's answer for a file."""
    usual = {"max_bytes": 2**30, "max_cell_bytes": 2**24, "memory_limit": "256MB", "threads": 2}
    child = await Child.start("lakehouse.engine.ingest.worker", {"folder": str(folder), **usual, **setup})
    try:
        await child.send({"path": str(source), "source": kind, "delimiter": None, "encoding": None, "types": {}})
        while "progress" in (answer := (await child.receive())[0]):
            pass
        return answer
    finally:
        await child.aclose()
