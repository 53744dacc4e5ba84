"""What keeps a lake in order: removing what nobody needs any more, and reading everything against its hashes."""
