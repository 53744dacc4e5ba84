"""The node of the benchmarks of workflows."""

from typing import Annotated

from bench.runners.graphs import work
from pydantic import BaseModel

from lakehouse import Lakehouse, mode


class Number(BaseModel):
    """What was given."""

    number: int


@mode()
async def node(lake: Lakehouse, number: Annotated[int, "Which node it is."]) -> Number:
    """Leave a mark, where marks are wanted, and return the number."""
    return Number(number=work(number))
