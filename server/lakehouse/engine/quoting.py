"""Names and strings as SQL writes them."""


def identifier(name: str) -> str:
    """A name, in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string, in single quotes."""
    return "'" + text.replace("'", "''") + "'"
