"""Faces: one catalogue shown as MCP and as a command line. None of them knows a capability by name."""
