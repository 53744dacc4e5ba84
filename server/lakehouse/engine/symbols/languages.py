"""The languages whose symbols are read: which one a text is in, and its syntax tree."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from lakehouse.engine.ending import heed

if TYPE_CHECKING:
    from tree_sitter import Language, Parser, Tree

# The module of a grammar and the function in it. The grammars come with their wheels; nothing is fetched.
_GRAMMARS = {
    "python": ("tree_sitter_python", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "go": ("tree_sitter_go", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
}
LANGUAGES = tuple(_GRAMMARS)

# JavaScript is read as TSX, which has all of it; only TypeScript's `<T>x` casts would not be TSX.
SUFFIXES = {
    ".py": "python",
    ".pyi": "python",
    ".rs": "rust",
    ".go": "go",
    **dict.fromkeys((".ts", ".mts", ".cts"), "typescript"),
    **dict.fromkeys((".tsx", ".jsx", ".js", ".mjs", ".cjs"), "tsx"),
}
_OTHER_NAMES = {
    **dict.fromkeys(("py", "python3"), "python"),
    "rs": "rust",
    "golang": "go",
    **dict.fromkeys(("ts",), "typescript"),
    **dict.fromkeys(("js", "jsx", "javascript", "javascriptreact", "typescriptreact"), "tsx"),
}
# A language shows itself in the beginning of a file; five grammars read this much in some 20 ms.
_HEAD = 32_768
# Of what belongs to no language about all is errors, of code with a hole in it a small part.
_FOREIGN = 0.5
# A part of a file, torn at both ends, has errors in its own language too: 14 % and more, 16 % in another.
_SURE = 0.05
# Code takes a step for each 75 to 100 bytes, and so much is read in steps, not in seconds, that it always ends alike.
_STEPS, _BYTES = 500, 16
_SMALL = 512
_PAGE = 16_384


def language_of(text: str, path: str = "", language: str | None = None) -> str | None:
    """The language a text is in, one of LANGUAGES; None when it is in none of them.

    The `language` named, else the one the suffix of `path` stands for, is believed when its grammar reads the text
    without an error, or none of the others reads nearly all of it. Else the one whose grammar makes least errors.
    """
    named = _OTHER_NAMES.get((language or "").lower(), (language or "").lower())
    expected = named if named in _GRAMMARS else SUFFIXES.get(path[path.rfind(".") :].lower() if "." in path else "")
    data = text[:_HEAD].encode("utf-8", "replace")
    if not data.strip():
        return expected
    share: dict[str, float] = {}
    unread = set[str | None]()
    for name in (expected, *LANGUAGES) if expected else LANGUAGES:
        if name not in share:
            tree = _shape(data, name)
            share[name] = 1.0 if tree is None else errors(tree) / len(data)
            unread |= {name} if tree is None else set()
            if share[name] == 0 and name == expected:
                break
    best = min(share, key=lambda name: share[name])
    found = best if share[best] < (_SURE if expected else _FOREIGN) else expected
    return None if found in unread else found


def parse(data: bytes, language: str) -> "Tree | None":
    """The syntax tree of UTF-8 bytes; text that is not of the language gives a tree with errors in it.

    None where that takes over five times the work that code of this length does: 18 KB of `|-|-` take minutes.
    """
    if len(data) > _SMALL and _shape(data, language) is None:
        return None
    return _parser(language).parse(data)


def _shape(data: bytes, language: str) -> "Tree | None":
    """As `parse`, a tree whose nodes have no texts: the parser can be told to stop only where it asks for the text."""
    most, steps = _STEPS + len(data) // _BYTES, 0

    def enough(place: int, has_error: bool) -> bool:
        nonlocal steps
        heed()
        steps += 1
        return steps > most

    try:
        return _parser(language).parse(lambda at, point: data[at : at + _PAGE], progress_callback=enough)
    except ValueError:  # it was told to stop
        return None


@cache
def grammar(language: str) -> "Language":
    """The grammar of one of LANGUAGES."""
    from tree_sitter import Language

    module, function = _GRAMMARS[language]
    return Language(getattr(import_module(module), function)())


def _parser(language: str) -> "Parser":
    """A parser of its own for each use: they hold state, and texts are read in several threads."""
    from tree_sitter import Parser

    return Parser(grammar(language))


def errors(tree: "Tree") -> int:
    """The bytes of a text that fit nowhere, and one for each thing that is missing."""
    found, waiting = 0, [tree.root_node]
    while waiting:
        node = waiting.pop()
        if node.is_error:
            found += node.end_byte - node.start_byte
        elif node.is_missing:
            found += 1
        elif node.has_error:
            waiting += node.children
    return found
