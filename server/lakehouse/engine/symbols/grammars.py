"""What the grammars call the things that are read: declarations, names, imports, comments."""

import re

# What each grammar calls a declaration, and what a reader calls it.
KINDS = {
    "python": {
        "function_definition": "function",
        "class_definition": "class",
        "type_alias_statement": "type",
        "assignment": "constant",
    },
    "rust": {
        "function_item": "function",
        "function_signature_item": "function",
        "struct_item": "struct",
        "enum_item": "enum",
        "union_item": "union",
        "trait_item": "trait",
        "impl_item": "impl",
        "type_item": "type",
        "associated_type": "type",
        "const_item": "constant",
        "static_item": "constant",
        "mod_item": "module",
        "macro_definition": "macro",
    },
    "go": {
        "function_declaration": "function",
        "method_declaration": "method",
        "type_spec": "type",
        "type_alias": "type",
        "const_spec": "constant",
        "var_spec": "variable",
    },
    "typescript": {
        "function_declaration": "function",
        "generator_function_declaration": "function",
        "function_signature": "function",
        "class_declaration": "class",
        "abstract_class_declaration": "class",
        "interface_declaration": "interface",
        "type_alias_declaration": "type",
        "enum_declaration": "enum",
        "internal_module": "module",
        "module": "module",
        "method_definition": "method",
        "method_signature": "method",
        "abstract_method_signature": "method",
        "public_field_definition": "field",
        "variable_declarator": "variable",
    },
}
KINDS["tsx"] = KINDS["typescript"]

# Declarations that hold others, which are called by both names.
CONTAINERS = {"class", "interface", "trait", "impl", "module"}
# Nodes that hold statements, and nodes that are one declaration's statement or what is put before it.
BLOCKS = set(
    "ERROR block declaration_list if_statement elif_clause else_clause try_statement except_clause finally_clause "
    "with_statement class_body interface_body object_type statement_block foreign_mod_item var_spec_list".split()
)
STATEMENTS = set(
    "export_statement ambient_declaration decorated_definition expression_statement lexical_declaration "
    "variable_declaration type_declaration const_declaration var_declaration".split()
)
# What belongs to the declaration below it.
LEADING = {"comment", "line_comment", "block_comment", "attribute_item", "decorator"}
NAMES = set(
    "identifier type_identifier field_identifier property_identifier private_property_identifier "
    "shorthand_property_identifier_pattern".split()
)
FUNCTIONS = {"arrow_function", "function_expression", "generator_function"}

# A declaration that an incomplete text begins and does not end has no node; its first line still tells.
_TORN = {
    "python": r"(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)",
    "rust": r"(?:pub(?:\([^)\n]*\))?[ \t]+)?(?:(?:default|const|async|unsafe|extern(?:[ \t]+\"[^\"\n]*\")?)[ \t]+)*"
    r"(?:fn|struct|enum|union|trait|type|mod|macro_rules!)[ \t]+(\w+)",
    "go": r"(?:func[ \t]+(?:\([^)\n]*\)[ \t]*)?|type[ \t]+)(\w+)",
    "typescript": r"(?:export[ \t]+)?(?:default[ \t]+)?(?:(?:declare|abstract|async)[ \t]+)*"
    r"(?:function\*?|class|interface|enum|namespace)[ \t]+([\w$]+)"
    r"|^[ \t]*(?:(?:public|private|protected|static|async|override|get|set)[ \t]+)*(?!(?:if|for|while|switch|catch|"
    r"with|function|return)\b)([\w$#]+)[ \t]*\([^;{}\n]*\)[ \t]*(?::[^;{}\n]*)?\{[ \t]*$",
}
_TORN["tsx"] = _TORN["typescript"]
TORN = {language: re.compile(rf"^[ \t]*{pattern}", re.MULTILINE) for language, pattern in _TORN.items()}

# The statements that import; of the last two of TypeScript's only those with a source, or a call of `require`.
IMPORTS = {
    "python": {"import_statement", "import_from_statement"},
    "rust": {"use_declaration", "extern_crate_declaration"},
    "go": {"import_spec"},
    "typescript": {"import_statement", "export_statement", "variable_declarator"},
}
IMPORTS["tsx"] = IMPORTS["typescript"]
# Where one begins that may have been cut off, and what completes it when its brackets are closed.
_CUT = {
    "python": (r"^[ \t]*(?:from|import)[ \t]", "\n"),
    "rust": (r"^[ \t]*(?:pub(?:\([^)\n]*\))?[ \t]+)?use[ \t]", ";"),
    "go": (r"^import[ \t(]", "\n"),
    "typescript": (r"^[ \t]*import\b", ' from "";'),
}
_CUT["tsx"] = _CUT["typescript"]
CUT = {language: (re.compile(pattern, re.MULTILINE), end) for language, (pattern, end) in _CUT.items()}
