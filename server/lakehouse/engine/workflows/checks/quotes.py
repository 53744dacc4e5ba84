"""References in a bash script that stand where they are not simply a word."""

import re
from collections.abc import Iterator

from lakehouse.engine.workflows.references.places import read
from lakehouse.engine.workflows.references.quoting import read_again
from lakehouse.engine.workflows.references.standing import Place
from lakehouse.engine.workflows.references.templates import Reference, references

ENVIRONMENT = "Give it with with:, and read it from the environment there."
_PROGRAMS = re.compile(
    r"(?:^|[\s;&|(!/])(g?awk|mawk|perl|ruby|node|bun|deno|jq|sed|php|python[\d.]*|sqlite3|psql|duckdb)\s", re.DOTALL
)


def strange_places(script: str) -> Iterator[tuple[Reference, str, str]]:
    """Each reference to an output that is not a word by itself; what becomes of it, and what to write instead."""
    found = [one for one in references(script) if one.kind in ("output", "previous")]
    for reference, place in zip(found, read(script, found).places if found else (), strict=True):
        told = _told(place)
        if told is not None:
            yield reference, *told


def _told(place: Place) -> tuple[str, str] | None:
    program, again = _PROGRAMS.search(place.command), read_again(place.command)
    if again:
        return "is read by a shell once more: what it says may be run.", "Give it to a program as an argument."
    if place.taken == "later":
        return "goes into a variable that the script computes with.", "Compare texts with == instead, or give a number."
    if place.taken != "text" or place.kind == "computed":
        return "stands where bash computes: anything but a number fails there.", "Compare texts with == instead."
    if place.kind in ("single", "double", "ansi") and program is not None:
        return f"becomes a part of a program of {program[1]}, whatever it holds.", ENVIRONMENT
    if place.kind in ("double", "here", "literal"):
        where = "double quotes" if place.kind == "double" else "a here-document"
        return f"stands in {where}, where its own single quotes are part of the text.", "Write it without quotes."
    if place.kind in ("single", "ansi"):
        return "stands in single quotes, where it is one word, which Archon splits.", "Write it without quotes."
    if place.kind == "unsure":
        return "stands in a script that is not understood here: it may come with quotes around it.", ENVIRONMENT
    return None
