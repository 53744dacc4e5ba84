"""What queries answer: rows, and explanations."""

from typing import Any

from pydantic import BaseModel, Field


class ResultColumn(BaseModel):
    """A column of an answer."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its DuckDB type, for instance BIGINT.")


class Rows(BaseModel):
    """The answer to a query."""

    columns: list[ResultColumn] = Field(description="The columns, in order.")
    rows: list[list[Any]] = Field(description="The rows; when truncated, only the first of them.")
    row_count: int = Field(description="How many rows the result has; with complete false, how many were kept.")
    truncated: bool = Field(False, description="Whether `rows` lacks some; `handle` has them.")
    handle: str | None = Field(None, description="Where a truncated result is read from.")
    complete: bool = Field(True, description="False when the handle was cut, too.")
    elapsed_ms: float = Field(description="Milliseconds the query ran.")


class Read(BaseModel):
    """What a query reads of one dataset."""

    name: str = Field(description="The table in the query.")
    dataset: str = Field(description="The dataset.")
    version: int = Field(description="Its version.")
    total_rows: int = Field(description="Rows of its files.")
    total_bytes: int = Field(description="Bytes of its files.")
    rows: int = Field(description="The most rows that are read, by the files' statistics.")
    bytes: int = Field(description="The most bytes that are read: these columns of those rows.")


class Operator(BaseModel):
    """A step of a plan that was run."""

    operator: str = Field(description="What it does.")
    rows: int = Field(description="Rows it handed on.")
    ms: float = Field(description="Milliseconds it worked, all threads together.")


class Ran(BaseModel):
    """What running a query took."""

    elapsed_ms: float = Field(description="Milliseconds in all.")
    rows: int = Field(description="Rows of the answer.")
    rows_read: int = Field(description="Rows that came out of the files, past the filters applied there.")
    row_groups_read: int = Field(description="Parts of files that were read.")
    row_groups: int = Field(description="Parts of files there are.")
    bytes_read: int = Field(description="Bytes read from the files.")
    peak_memory: int = Field(description="The most bytes of memory the engine held.")
    operators: list[Operator] = Field(description="The steps, last first, as in the plan.")


class Explanation(BaseModel):
    """What a query would do."""

    plan: str = Field(description="The steps, last first, each below the one it feeds.")
    reads: list[Read] = Field(description="What is read of each dataset.")
    rows: int = Field(description="The most rows read, all datasets together.")
    bytes: int = Field(description="The most bytes read, all datasets together.")
    hints: list[str] = Field(description="What may make it slow.")
    ran: Ran | None = Field(None, description="With analyze: what it took.")
