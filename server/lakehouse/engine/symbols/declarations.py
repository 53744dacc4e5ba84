"""What a source text declares: functions, types, methods, constants, in order, and where they stand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.engine.symbols.grammars import (
    BLOCKS,
    CONTAINERS,
    FUNCTIONS,
    KINDS,
    LEADING,
    NAMES,
    STATEMENTS,
    TORN,
)
from lakehouse.engine.symbols.languages import errors

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

# Of nested containers, and of the name of one: what is generated has thousands.
_DEEPEST = 32
_LONGEST = 512
# Where so much fits nowhere, what was read may be wrong too: a method without its class looks like a call.
_TORN_SHARE = 0.1


@dataclass(frozen=True)
class Declaration:
    """One declaration. `names` has several where one statement declares them (`a, b = 1, 2`).

    `parent` is what it is called through, "" at the top: `Store` for the method `Store.open`. `start` and `end` are
    bytes of the whole statement with what belongs to it: comments right above it, decorators, attributes, `export`.
    An `impl` is called after its type and declares nothing. At `head` it begins itself; `inside` spans what a
    container holds. Kinds: function
    method class struct enum union trait impl interface type constant variable module macro, and `torn` for one that
    the grammar could not read to its end.
    """

    names: tuple[str, ...]
    kind: str
    parent: str
    start: int
    end: int
    head: int = 0
    inside: tuple[int, int] | None = None

    @property
    def qualified(self) -> str:
        """The first name behind its parent's."""
        return f"{self.parent}.{self.names[0]}" if self.parent else self.names[0]


def declarations(tree: "Tree", language: str) -> Iterator[Declaration]:
    """The declarations outside function bodies, containers before what they hold."""
    kinds = KINDS[language]
    root = tree.root_node
    # Each node with its parent's name, and where the statement it is all of begins and ends.
    waiting: list[tuple[Node, str, tuple[int, int]]] = []
    in_pieces = root.has_error and errors(tree) > (root.end_byte - root.start_byte) * _TORN_SHARE
    if in_pieces:
        yield from _torn(root, "", language)
    waiting += _inside(root.children, "")
    while waiting:
        node, parent, span = waiting.pop()
        if node.is_named and node.type in kinds:
            found = _declared(node, kinds[node.type], parent, span, language)
            if found is None:
                continue
            yield found
            body = node.child_by_field_name("body")
            if found.inside is not None and body is not None and found.parent.count(".") < _DEEPEST:
                waiting += _inside(body.children, found.qualified[-_LONGEST:])
        elif node.type in STATEMENTS:
            several = sum(child.type in kinds for child in node.children) > 1
            for child in reversed(node.children):
                waiting.append((child, parent, (child.start_byte, child.end_byte) if several else span))
        elif node.type in BLOCKS:
            if node.is_error and not in_pieces:
                yield from _torn(node, parent, language)
            waiting += _inside(node.children, parent)


def _inside(children: "Sequence[Node]", parent: str) -> "list[tuple[Node, str, tuple[int, int]]]":
    """The statements of a block, last first, each from the comments and attributes right above it."""
    found: list[tuple[Node, str, tuple[int, int]]] = []
    lead, row = -1, -1
    for node in children:
        near = node.start_point.row - row <= 1
        if node.type in LEADING:
            # What follows something on its line is a remark on that.
            if lead < 0 or not near:
                lead = node.start_byte if node.start_point.row > row else -1
        else:
            found.append((node, parent, (lead if lead >= 0 and near else node.start_byte, node.end_byte)))
            lead = -1
        row = node.end_point.row - (node.end_point.column == 0 and node.end_point.row > node.start_point.row)
    return found[::-1]


def _declared(node: "Node", kind: str, parent: str, span: tuple[int, int], language: str) -> Declaration | None:
    names = _names(node, kind)
    value = node.child_by_field_name("value")
    if value is not None and value.type in FUNCTIONS:
        kind = "method" if kind == "field" else "function"
    if not names or kind == "field" or (language == "python" and kind == "constant" and parent):
        return None  # fields are not symbols: their names are words like `name`
    if requires(node):
        return None
    inner = node.child_by_field_name("type")
    if language == "go" and kind == "type" and inner is not None:
        kind = {"struct_type": "struct", "interface_type": "interface"}.get(inner.type, kind)
    if kind == "method" and language == "go":
        parent = _receiver(node)
    if kind == "function" and parent and (language == "python" or _member(node)):
        kind = "method"
    body = node.child_by_field_name("body") if kind in CONTAINERS else None
    inside = (body.start_byte, body.end_byte) if body is not None else None
    return Declaration(names, kind, parent, *span, node.start_byte, inside)


def _member(node: "Node") -> bool:
    """Whether a Rust function belongs to a type."""
    block = node.parent
    return block is not None and block.parent is not None and block.parent.type in ("impl_item", "trait_item")


def requires(node: "Node") -> bool:
    """Whether a variable is what `require` brings in."""
    value = node.child_by_field_name("value") if node.type == "variable_declarator" else None
    called = value.child_by_field_name("function") if value is not None and value.type == "call_expression" else None
    return called is not None and called.text == b"require"


def _names(node: "Node", kind: str) -> tuple[str, ...]:
    """What a declaration calls what it declares."""
    if kind == "impl":
        return _last(node.child_by_field_name("type"))
    if node.type in ("const_spec", "var_spec"):
        return tuple(_text(child) for child in node.children_by_field_name("name") if child.type in NAMES)
    name = node.child_by_field_name("name") or node.child_by_field_name("left")
    if name is None:
        return ()
    if name.type in NAMES:
        return (_text(name),)
    if name.type in ("string", "computed_property_name", "attribute", "subscript", "number", "member_expression"):
        return ()
    return tuple(_bound(name))


def _bound(pattern: "Node") -> Iterator[str]:
    """The names a pattern such as `{a, b: [c]}` or `a, (b, c)` binds."""
    waiting = [pattern]
    while waiting:
        node = waiting.pop()
        if node.type in NAMES and node.type != "property_identifier":
            yield _text(node)
        elif node.type not in ("attribute", "subscript"):
            waiting += reversed(node.children)


def _last(node: "Node | None") -> tuple[str, ...]:
    """The name of a type: `Store` of `a::Store<T>`, `&Store`, `*Store[T]`."""
    while node is not None:
        if node.type in NAMES or node.type == "primitive_type":
            return (_text(node),)
        inner = node.child_by_field_name("name") or node.child_by_field_name("type")
        node = inner or next((child for child in node.children if child.is_named), None)
    return ()


def _receiver(node: "Node") -> str:
    """The type a Go method belongs to."""
    receiver = node.child_by_field_name("receiver")
    parameter = next((child for child in receiver.children if child.is_named), None) if receiver else None
    return "".join(_last(parameter.child_by_field_name("type"))) if parameter else ""


def _torn(node: "Node", parent: str, language: str) -> Iterator[Declaration]:
    """Declarations begun in what the grammar could not read. Those it could read all the same come again."""
    text, start, read = _text(node), node.start_byte, 0
    for match in TORN[language].finditer(text):
        start, read = start + len(text[read : match.start()].encode()), match.start()
        yield Declaration((match[match.lastindex or 0],), "torn", parent, start, start + len(match[0].encode()))


def _text(node: "Node") -> str:
    return (node.text or b"").decode("utf-8", "replace")
