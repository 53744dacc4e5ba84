"""The query process: no environment, bounded memory, one query at a time. Its parent may kill it at any moment."""

import os

from lakehouse.engine import child
from lakehouse.engine.sql.remote import RANGES
from lakehouse.errors import LakehouseError, TooLarge

LOADS = ("lakehouse.engine.sql.session",)


def main() -> None:
    """Serve queries until the parent goes away."""
    setup, requests, reply = child.serve(RANGES.answered)
    child.bound(setup["limits"]["spill_bytes"], setup["address_space"])
    os.chdir(setup["folder"])
    os.umask(0o077)
    # Only now, so that the limits hold for what the libraries take, too.
    from lakehouse.engine.sql.session import Session

    session = Session(setup)
    reply({"ready": True})
    for header, _ in requests:
        if "views" in header:
            session.load(header["views"])
            continue
        try:
            if header.get("tables"):
                reply({"tables": session.tables(header["sql"])})
                continue
            answer, rows = session.run(header, reply)
            reply(answer, rows)
        except LakehouseError as error:
            reply(child.error_frame(error))
            if ends_process(error):
                os._exit(1)


def ends_process(error: LakehouseError) -> bool:
    """Whether a process is not used again: memory may not all have come back, or the engine is at fault."""
    return isinstance(error, TooLarge) or type(error) is LakehouseError


if __name__ == "__main__":
    main()
