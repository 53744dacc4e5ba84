"""Which files are cut how, by the end of their names."""

SUFFIXES = {
    **dict.fromkeys((".txt", ".text", ".rst", ".log"), "plain"),
    **dict.fromkeys((".md", ".markdown", ".mdx"), "markdown"),
    **dict.fromkeys((".py", ".pyi", ".rs", ".go"), "code"),
    **dict.fromkeys((".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"), "code"),
    **dict.fromkeys((".csv", ".tsv"), "table"),
}


def kind_of(path: str) -> str:
    """How a file of such a name is cut; `plain` where the suffix says nothing."""
    name = path.rsplit("/", 1)[-1].lower()
    dot = name.rfind(".")
    return SUFFIXES.get(name[dot:], "plain") if dot > 0 else "plain"
