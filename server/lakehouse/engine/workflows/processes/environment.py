"""What a program is given: its variables, and files for those that do not fit into an environment."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from lakehouse.engine.files import make_folder
from lakehouse.errors import InvalidInput, Unprocessable

# Linux takes 128 KiB for NAME=value and its end, and as much for one argument; others have one limit for all of them.
MAX_STRING = 2**17 - 1
# What a program needs to find other programs, its user's folder and its language, and nothing that may be a secret.
PLAIN = frozenset(
    {
        *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "TERM", "USER", "LOGNAME", "SHELL"),
        *("SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)


def inherited(environ: Mapping[str, str], hidden: Collection[str], *, local: bool) -> dict[str, str]:
    """The variables of this process that a program gets.

    Of somebody at this machine's own command line, all but those with credentials of our own settings (`hidden`): it is
    their environment, and their scripts count on it, as in a shell. A run that was started from outside is given only
    what programs need to work: whoever sends the message could otherwise have the rest of it printed.
    """
    if local:
        return {name: value for name, value in environ.items() if name.upper() not in hidden}
    return {n: v for n, v in environ.items() if (n.upper() in PLAIN or n.upper().startswith("LC_")) and n not in hidden}


def fitted(values: Mapping[str, str], source: str, folder: Path) -> dict[str, str]:
    """Variables that an environment can hold; blocking.

    One that is too long is written to a file in `folder`, and `NAME_FILE` is its path. Raises Unprocessable where
    `source`, the program's text, asks for `NAME` itself; InvalidInput for what no environment can hold.
    """
    found: dict[str, str] = {}
    for name, value in values.items():
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{name}: it holds half of a surrogate pair.", fix="Give it text.") from None
        if b"\0" in data:
            raise InvalidInput(f"{name}: it holds a NUL, which no variable can.", fix="Take it out.")
        if len(name) + 1 + len(data) <= MAX_STRING:
            found[name] = value
            continue
        if re.search(rf"\b{name}\b", source):
            raise Unprocessable(
                f"{name} has {len(data):,} bytes, which is more than a variable of the environment can hold.",
                fix=f"Read the file ${name}_FILE instead: it holds the same.",
            )
        make_folder(folder)
        path = folder / name
        path.write_bytes(data)
        found[f"{name}_FILE"] = str(path)
    return found
