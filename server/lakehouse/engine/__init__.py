"""What Lakehouse can do. Nothing here knows MCP, HTTP, the command line or the catalogue."""
