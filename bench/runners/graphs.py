"""The graphs that every runner runs, and what their nodes do: nothing, or leave a mark of when."""

import os
import time

MARKS = "BENCH_MARKS"  # names the file for marks, where there is one
Graph = list[list[list[int]]]  # layers, each with what each of its nodes needs; nodes are numbered from 0, in order

_file = os.open(os.environ[MARKS], os.O_APPEND | os.O_CREAT | os.O_WRONLY) if MARKS in os.environ else None


def chain(count: int) -> Graph:
    """Each node needs the one before."""
    return [[[number - 1] if number else []] for number in range(count)]


def layered(count: int) -> Graph:
    """Layers of ten: each node needs two of the layer before."""
    return [
        [[n - 10, n - n % 10 - 10 + (n + 1) % 10] if n >= 10 else [] for n in range(start, start + 10)]
        for start in range(0, count, 10)
    ]


def fan(count: int) -> Graph:
    """One node, then all others but one, then that one."""
    return [[[]], [[0]] * (count - 2), [list(range(1, count - 1))]]


GRAPHS = {"chain": chain, "layered": layered, "fan": fan}


def work(number: int) -> int:
    """What a node does."""
    if _file is not None:
        os.write(_file, b"%d %.6f\n" % (number, time.time()))
    return number
