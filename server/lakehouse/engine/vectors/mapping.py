"""Files mapped into memory. Load it in a worker thread."""

from pathlib import Path

import pyarrow as pa

from lakehouse.engine.vectors.format import damaged


def mapped(path: Path, key: str) -> pa.Buffer:
    """A file, mapped by Arrow, which needs no open file for it: numpy, mmap and usearch keep one each, eight a segment.

    What is mapped stays readable when the file is removed. Raises IndexDamaged naming the key.
    """
    try:
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(key, f"it cannot be mapped: {error}") from error
