"""The languages whose symbols are read: which one a text is in, and its syntax tree."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

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
    for name in (expected, *LANGUAGES) if expected else LANGUAGES:
        if name not in share:
            share[name] = errors(parse(data, name)) / len(data)
            if share[name] == 0 and name == expected:
                break
    best = min(share, key=lambda name: share[name])
    return best if share[best] < (_SURE if expected else _FOREIGN) else expected


def parse(data: bytes, language: str) -> "Tree":
    """The syntax tree of UTF-8 bytes; text that is not of the language gives a tree with errors in it."""
    return _parser(language).parse(data)


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
