"""What the tools cost a model's context: tokens of `tools/list` per toolset, at four characters a token."""

import json

from lakehouse.catalogue import Catalogue
from lakehouse.declare import TOOLSETS, Capability

LIMITS = {"all": 12_000, "core": 4_000}  # tests/test_schemas.py keeps them


def tokens(tool: Capability) -> float:
    """Of what a model is shown of a tool: name, description and input schema."""
    schema = json.dumps(tool.input_schema, separators=(",", ":"))
    return len(tool.mcp_name + tool.description + schema) / 4


def main() -> None:
    """Print a line per toolset."""
    tools = Catalogue().public()
    sets = {name: [tool for tool in tools if name in tool.facts.toolsets] for name in TOOLSETS}
    for name, shown in {**sets, "all": tools}.items():
        if shown:
            limit = f", limit {LIMITS[name]:6}" if name in LIMITS else ""
            print(f"tools/list, {name:10} {len(shown):3} tools, {sum(map(tokens, shown)):6.0f} tokens{limit}")
    largest = sorted(tools, key=tokens, reverse=True)[:3]
    print("the largest: " + ", ".join(f"{tool.mcp_name} {tokens(tool):.0f}" for tool in largest))


if __name__ == "__main__":
    main()
