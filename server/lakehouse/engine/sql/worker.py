"""The query process: no environment, bounded memory, one query at a time. Its parent may kill it at any moment."""

import contextlib
import os
import sys

from lakehouse.engine import child
from lakehouse.errors import LakehouseError, TooLarge


def main() -> None:
    """Serve queries until the parent goes away."""
    setup, requests, reply = child.serve()
    bound(setup["address_space"], setup["limits"]["spill_bytes"])
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
            answer, rows = session.run(header, reply)
            reply(answer, rows)
        except LakehouseError as error:
            reply(child.error_frame(error))
            if ends_process(error):
                os._exit(1)


def ends_process(error: LakehouseError) -> bool:
    """Whether a process is not used again: memory may not all have come back, or the engine is at fault."""
    return isinstance(error, TooLarge) or type(error) is LakehouseError


def bound(address_space: int, file_size: int) -> None:
    """Limit what this process may take. Where the system has no such limit, what it has holds."""
    if sys.platform == "win32":
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_AS, address_space),
    ):
        # macOS refuses RLIMIT_AS; a stricter limit from outside stays.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
