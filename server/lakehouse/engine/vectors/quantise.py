"""Vectors as 8-bit codes for scanning. Imports numpy: load it in a worker thread."""

from dataclasses import dataclass

import numpy as np

from lakehouse.engine.vectors.batch import F32, F64, I8, Rows

_STEP = 4096  # rows at a time keep the temporaries in the cache


@dataclass(frozen=True)
class Coded:
    """Vectors (n, d) with their codes (n, d) and, per row, the size of a code step and the L2 norm (n)."""

    vectors: F32
    codes: I8
    steps: F64
    norms: F64

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice | Rows) -> "Coded":
        return Coded(self.vectors[rows], self.codes[rows], self.steps[rows], self.norms[rows])

    @classmethod
    def empty(cls, count: int, dimension: int) -> "Coded":
        """Room for so many rows."""
        shape = (count, dimension)
        return cls(np.empty(shape, np.float32), np.empty(shape, np.int8), np.empty(count), np.empty(count))

    def put(self, at: int, rows: "Coded") -> None:
        """Copy rows in, beginning at a row."""
        part = slice(at, at + len(rows))
        self.vectors[part], self.codes[part] = rows.vectors, rows.codes
        self.steps[part], self.norms[part] = rows.steps, rows.norms


@dataclass(frozen=True)
class Weights:
    """What turns the products of codes into scores, for each row, in single precision; made once for a segment.

    For euclidean, lengths are in units of the longest row, so that their squares stay within single precision.
    """

    steps: F32
    squares: F32
    step: float  # the largest
    unit: float

    @classmethod
    def of(cls, coded: Coded, distance: str) -> "Weights":
        """The weights of these rows."""
        unit = 1.0 if distance == "cosine" else float(coded.norms.max(initial=0.0)) or 1.0
        steps = (coded.steps / unit).astype(np.float32)
        squares = steps[:0] if distance == "cosine" else ((coded.norms / unit) ** 2).astype(np.float32)
        return cls(steps, squares, float(steps.max(initial=0.0)), unit)

    def __getitem__(self, rows: Rows) -> "Weights":
        squares = self.squares[rows] if len(self.squares) else self.squares
        return Weights(self.steps[rows], squares, self.step, self.unit)


def encode(vectors: F32, distance: str) -> Coded:
    """The vectors with their codes.

    A row is scaled by its own largest component, so that nothing is clipped, no row spoils another's resolution and
    codes can be copied from segment to segment. For cosine the step is that of the unit vector.
    """
    coded = Coded(vectors, np.empty(vectors.shape, np.int8), np.empty(len(vectors)), np.empty(len(vectors)))
    for start in range(0, len(vectors), _STEP):
        part = slice(start, start + _STEP)
        block = vectors[part]
        wide = block.astype(np.float64)
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        peak = np.abs(block).max(axis=1).astype(np.float64)
        factor = np.divide(127.0, peak, out=np.zeros_like(peak), where=peak > 0)
        wide *= factor[:, None]
        coded.codes[part] = np.rint(wide, out=wide)
        coded.norms[part] = norm
        coded.steps[part] = peak / 127 / (np.where(norm > 0, norm, 1) if distance == "cosine" else 1)
    return coded
