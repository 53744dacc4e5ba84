"""How corpora stand to what they are made of: what a listing and a check of definitions tell. Light to import."""

from typing import Literal

from pydantic import BaseModel, Field

from lakehouse.engine.matrix import Corpus


class Standing(BaseModel):
    """A corpus against its definition and its dataset."""

    state: Literal["current", "behind", "refreshing", "incomplete", "unknown"] = Field(
        description="behind: its dataset or its definition is newer; incomplete: a build failed in part; unknown: the "
        "dataset is gone, or it is a folder, which nobody compares."
    )
    follows: bool = Field(False, description="Whether each new version of the dataset refreshes it.")
    version: int | None = Field(None, description="The dataset's version it holds.")
    newest: int | None = Field(None, description="The newest there is.")
    defined: bool = Field(False, description="Whether a file defines it.")
    drift: list[str] = Field([], description="What the definition says otherwise now.")
    error: str | None = Field(None, description="Why the last refresh failed.")


class Listed(Corpus):
    """An index that can be searched, and how it stands."""

    standing: Standing | None = Field(None, description="Of a corpus: how it stands to what it is made of.")


class Defined(BaseModel):
    """A corpus that a file defines and nobody has built."""

    name: str = Field(description="Build it by this name.")
    description: str = Field(description="What it is.")
    source: str = Field(description="dataset, sql or folder.")


class Checked(BaseModel):
    """A definition's file."""

    file: str = Field(description="The file in its corpora folder.")
    name: str = Field(description="The corpus.")
    problem: str | None = Field(None, description="What is wrong, with the line; absent when nothing is.")
