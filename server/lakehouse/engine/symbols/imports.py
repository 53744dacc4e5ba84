"""The names a source text brings in from elsewhere."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lakehouse.engine.symbols.declarations import requires
from lakehouse.engine.symbols.grammars import CUT, IMPORTS
from lakehouse.engine.symbols.languages import parse

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

_MAJOR = re.compile(r"v\d+")
_CLOSING = {"(": ")", "{": "}"}
_LONGEST = 4096  # characters of an import statement
_NOTHING = {"_", "self", "super", "crate"}


def imported(tree: "Tree", language: str) -> list[str]:
    """The imported names in order, some more than once.

    A path contributes its last segment, a list its entries, a rename the new name, a wildcard what it is taken from:
    `use a::{B, C as D}` B and D, `import numpy as np` np, `from a import b` b, `"net/http"` http.
    """
    names: list[str] = []
    waiting = [tree.root_node]
    while waiting:
        node = waiting.pop()
        if node.is_error:
            names += _completed(node, language)
        if node.is_named and node.type in IMPORTS[language] and _imports(node):
            names += _READ[language](node)
        else:
            waiting += reversed(node.children)
    return [name for name in names if name and name not in _NOTHING]


def _imports(node: "Node") -> bool:
    if node.type == "export_statement":
        return node.child_by_field_name("source") is not None
    return node.type != "variable_declarator" or requires(node)


def _completed(node: "Node", language: str) -> list[str]:
    """What the last import in an unreadable part names, when it only lacks its end."""
    start, end = CUT[language]
    text = _text(node)
    found = [match.start() for match in start.finditer(text)]
    if not found or len(text) - found[-1] > _LONGEST:
        return []
    cut = text[found[-1] :].rstrip().rstrip(",")
    brackets = "".join(_CLOSING[char] for char in reversed(cut) if char in _CLOSING)
    closed = sum(cut.count(char) for char in ")}")
    tree = parse((cut + brackets[: len(brackets) - closed] + end).encode(), language)
    return [] if tree is None or tree.root_node.has_error else imported(tree, language)


def _python(node: "Node") -> Iterator[str]:
    module = node.child_by_field_name("module_name")
    if module is not None and any(child.type == "wildcard_import" for child in node.children):
        yield _text(module).rsplit(".", 1)[-1]
    for name in node.children_by_field_name("name"):
        yield _text(name.child_by_field_name("alias") or name).rsplit(".", 1)[-1].strip()


def _rust(node: "Node") -> Iterator[str]:
    """Every leaf of the tree of paths; `self` in a list stands for what the list belongs to."""
    if node.type == "extern_crate_declaration":
        yield _text(node.child_by_field_name("alias") or node.child_by_field_name("name"))
        return
    argument = node.child_by_field_name("argument")
    waiting = [(argument, "")] if argument else []
    while waiting:
        node, before = waiting.pop()
        if node.type == "use_as_clause":
            yield _text(node.child_by_field_name("alias"))
        elif node.type == "use_wildcard":
            yield _segment(node.children[0]) or before
        elif node.type in ("scoped_use_list", "use_list"):
            listed = node.child_by_field_name("list") or node
            path = node.child_by_field_name("path")
            last = _segment(path) if path else before
            waiting += [(child, last) for child in reversed(listed.children) if child.is_named]
        elif node.type == "self":
            yield before
        elif node.type in ("identifier", "scoped_identifier", "crate", "super"):
            yield _segment(node)


def _segment(path: "Node") -> str:
    """The last segment of a Rust path."""
    return _text(path.child_by_field_name("name") or path).rsplit("::", 1)[-1]


def _go(node: "Node") -> Iterator[str]:
    alias = node.child_by_field_name("name")
    if alias is not None and _text(alias) != ".":
        yield _text(alias)
        return
    parts = _text(node.child_by_field_name("path")).strip('"`').split("/")
    if len(parts) > 1 and _MAJOR.fullmatch(parts[-1]):
        parts.pop()
    yield re.sub(r"\.v\d+$", "", parts[-1])


def _typescript(node: "Node") -> Iterator[str]:
    """The names bound by `import … from`, `import x = require()`, `const {a} = require()`, and re-exported ones."""
    waiting = [node]
    if node.type == "variable_declarator":
        waiting = [child for child in [node.child_by_field_name("name")] if child]
    while waiting:
        node = waiting.pop()
        if node.type in ("import_specifier", "export_specifier"):
            yield _text(node.child_by_field_name("alias") or node.child_by_field_name("name")).strip("'\"")
        elif node.type in ("identifier", "shorthand_property_identifier_pattern"):
            yield _text(node)
        elif node.type not in ("string", "import_attribute", "call_expression"):
            waiting += reversed(node.children)


def _text(node: "Node | None") -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


_READ = {"python": _python, "rust": _rust, "go": _go, "typescript": _typescript, "tsx": _typescript}
