"""What a Postgres connection string may say, and to which addresses it leads. Runs in the reading process."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from lakehouse.engine.addresses import checked
from lakehouse.errors import Forbidden, InvalidInput

# What a caller from outside may say. The rest names files of this machine, or other ways to find a server.
_OPEN = {"host", "port", "user", "password", "dbname", "sslmode", "application_name", "connect_timeout"}
_DEFAULT_PORT = 5432
# Not in one piece, which would look like somebody's password and be cut out.
_FIX = "Write postgresql://USER@HOST:5432/DATABASE, with :PASSWORD after USER."


def parameters(dsn: str, internal: Sequence[str] | None, timeout_secs: float) -> dict[str, Any]:
    """The connection's parameters. `internal` are networks that may be reached beside public hosts; None: all may.

    Unless all may, the connection goes to the very addresses that were checked, and to no file of this machine's user.

    Raises InvalidInput for what is no connection string, Forbidden for what may not be said or reached, Upstream for a
    host that is not there. None of them quotes it.
    """
    try:
        given: Mapping[str, Any] = conninfo_to_dict(dsn)
    except ProgrammingError:
        raise InvalidInput("dsn: it is not a connection string.", fix=_FIX) from None
    found = dict(given)
    if internal is not None:
        found |= _guarded(found, internal)
    found.setdefault("application_name", "lakehouse")
    found["connect_timeout"] = max(2, int(min(timeout_secs, float(found.get("connect_timeout") or timeout_secs))))
    found["tcp_user_timeout"] = int(timeout_secs * 1000)
    return found


def _guarded(given: Mapping[str, Any], internal: Sequence[str]) -> dict[str, Any]:
    closed = sorted(set(given) - _OPEN)
    if closed:
        raise Forbidden(
            f"dsn: {closed[0]} may not be given from here.",
            fix="Leave it out, or have the operator keep the string as [postgres.NAME] and name it with dsn_secret.",
        )
    host, port = str(given.get("host") or ""), str(given.get("port") or _DEFAULT_PORT)
    if not host or host.startswith(("/", "@")) or "," in host or "," in port:
        raise Forbidden("dsn: it must name one host.", fix=_FIX)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput("dsn: the port is not a number of one.", fix="Leave it out for 5432.")
    address = checked(host, int(port), internal, "dsn")[0]
    # A password or a key of the user the server runs as must not open a database to somebody else.
    return {
        "host": host,
        "hostaddr": address,
        "passfile": os.devnull,
        "sslcertmode": "disable",
        "gssencmode": "disable",
    }


def hidden(text: str, dsn: str) -> str:
    """A message of the library or the server without anything the connection string says."""
    text = text.replace(dsn, "…")
    try:
        said = [str(value) for value in conninfo_to_dict(dsn).values() if value]
    except ProgrammingError:
        return "the connection string is not one"
    for value in sorted(said, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text) if len(value) < 4 else text.replace(value, "…")
    return text
