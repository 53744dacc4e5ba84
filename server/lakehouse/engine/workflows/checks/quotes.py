"""References in a bash script that stand within quotes of its own, where quoting them once more undoes it."""

from collections.abc import Iterator

from lakehouse.engine.workflows.references.templates import Reference, references


def quoted_references(script: str) -> Iterator[tuple[Reference, str]]:
    """Each reference to an output that stands in `single` or `double` quotes. Here-documents are not told apart."""
    found = [one for one in references(script) if one.kind in ("output", "previous")]
    if not found:
        return
    inside = _quotes(script)
    for reference in found:
        kind = inside[reference.start]
        if kind:
            yield reference, "single" if kind == "'" else "double"


def _quotes(script: str) -> list[str]:
    """For each character the quote it stands in, if any."""
    inside: list[str] = []
    open_: list[str] = [""]  # the quotes and substitutions that are open, the innermost last
    place = 0
    while place < len(script):
        char, state = script[place], open_[-1]
        inside.append(state if state != "(" else "")
        if state == "'":
            if char == "'":
                open_.pop()
        elif char == "\\":
            inside.append(inside[-1])
            place += 1
        elif script.startswith("$(", place):
            open_.append("(")
            inside.append(inside[-1])
            place += 1
        elif char == '"':
            if state == '"':
                open_.pop()
            else:
                open_.append('"')
        elif state != '"':
            if char == "'":
                open_.append("'")
            elif char == "(":
                open_.append("(")
            elif char == ")" and state == "(":
                open_.pop()
            elif char == "#" and (place == 0 or script[place - 1] in " \t\n;"):
                end = script.find("\n", place)
                end = len(script) if end < 0 else end
                inside += [""] * (end - place - 1)
                place = end - 1
        place += 1
    return inside
