"""The facts of a profile, as they are shown and kept."""

from typing import Any

from pydantic import BaseModel, Field

FORMAT = 1


class Common(BaseModel):
    """A value that is there often."""

    value: Any = Field(description="The value, cut at 200 characters.")
    count: int = Field(description="Rows that have it.")


class Hint(BaseModel):
    """A sign that a column holds personal data."""

    kind: str = Field(description="email, phone, card, iban, ip, ssn or name.")
    by: str = Field(description="values, or header: what says so.")
    share: float | None = Field(None, description="Share of the looked at values that are such.")


class ColumnFacts(BaseModel):
    """One column."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its SQL type.")
    nulls: int = Field(description="Rows without a value.")
    distinct: int = Field(description="Different values, to a few percent.")
    unique: bool = Field(False, description="Whether no value is there twice; known of columns that may be keys.")
    min: Any = Field(None, description="The least; of text, in byte order.")
    max: Any = Field(None, description="The greatest.")
    mean: float | None = Field(None, description="Of numbers.")
    common: list[Common] = Field(default_factory=list, description="The most frequent values, up to 10.")
    samples: list[str] = Field(default_factory=list, description="Up to 5 different values, as text.")
    pii: list[Hint] = Field(default_factory=list, description="Signs of personal data; values are masked then.")


class Profile(BaseModel):
    """A version of a dataset, column by column."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="The version.")
    row_count: int = Field(description="Its rows.")
    columns: list[ColumnFacts] = Field(description="Its columns, in order.")
