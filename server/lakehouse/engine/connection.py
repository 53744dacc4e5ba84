"""An in-memory DuckDB of our own: it takes so much, and loads, fetches and looks up nothing by itself."""

import duckdb


def connect(threads: int, memory_limit: str, spill: str = "", **settings: str) -> duckdb.DuckDBPyConnection:
    """A connection with so many threads and so much memory (`512MB`), that spills into the folder `spill` if given.

    `settings` are further options to start with. What it may open is for whoever asked for it to say, with SET.
    """
    closed = {
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",  # no name in a statement is a variable of ours
    }
    bounds = {"threads": str(threads), "memory_limit": memory_limit}
    if spill:
        bounds["temp_directory"] = spill
    return duckdb.connect(":memory:", config={**closed, **bounds, **settings})
