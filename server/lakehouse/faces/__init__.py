"""Faces: one catalogue shown as MCP, over HTTP and as a command line. None of them knows a capability by name."""
