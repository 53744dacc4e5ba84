"""The secrets file: credentials of remote buckets, a table for each, kept out of the settings."""

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lakehouse.config import SECRETS
from lakehouse.errors import InvalidInput, NotFound, Unavailable, did_you_mean

# What a table of each kind may hold, by the name the store's library has for it.
KEYS: Mapping[str, Mapping[str, str]] = {
    "s3": {n: n for n in ("access_key_id", "secret_access_key", "session_token")},
    "gs": {
        "service_account_path": "service_account",
        "service_account_key": "service_account_key",
        "bearer_token": "bearer_token",
    },
    "postgres": {"dsn": "dsn"},
    "az": {"account_name": "account_name", "account_key": "account_key", "sas_token": "sas_key"},
}
PAIRS = {"s3": ("access_key_id", "secret_access_key")}  # one is nothing without the other
_PUBLIC = ("service_account_path", "account_name")


@dataclass(frozen=True)
class Secrets:
    """What a secrets file says: `[kind.bucket]` tables. `readable` says that others than its owner can read it."""

    path: Path
    tables: Mapping[str, Mapping[str, Mapping[str, str]]]
    readable: bool = False

    def of(self, kind: str, bucket: str) -> dict[str, str]:
        """The credentials of a bucket, as the store's library names them; none when the file has none of this kind.

        Raises InvalidInput naming the bucket when the file has tables of this kind, for other buckets only.
        """
        known = self.tables.get(kind)
        if not known:
            return {}
        if bucket not in known:
            raise InvalidInput(
                f"storage.secrets: {self.path} has no table [{kind}.{bucket}] for bucket {bucket!r}.",
                fix=did_you_mean(bucket, known),
            )
        return {KEYS[kind][name]: value for name, value in known[bucket].items()}

    def values(self) -> list[str]:
        """Every credential in the file."""
        buckets = (table for kind in self.tables.values() for table in kind.values())
        return [value for table in buckets for name, value in table.items() if name not in _PUBLIC]


def read(path: Path) -> Secrets:
    """Read a secrets file; blocking. That the usual one is not there is fine.

    Raises Unavailable when it cannot be read, InvalidInput when it is not one; neither quotes it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            document = tomllib.load(file)
    except FileNotFoundError:
        if path == Path(SECRETS):
            return Secrets(path, MappingProxyType({}))
        raise Unavailable(
            f"storage.secrets: there is no file {path}.", fix="Write it, or correct the setting."
        ) from None
    except OSError as error:
        raise Unavailable(
            f"storage.secrets: {path} cannot be read: {error.strerror}.", fix="Let this user read it, and nobody else."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InvalidInput(  # the library's message may quote the line
            f"storage.secrets: {path} is not TOML.",
            fix='Write [s3.primary], and below it access_key_id = "…" and secret_access_key = "…".',
        ) from None
    return Secrets(path, _checked(path, document), bool(mode & 0o077))


def postgres(path: Path, name: str) -> str:
    """The connection string kept as `[postgres.NAME]`; blocking. Raises NotFound, and what `read` raises."""
    tables = read(path).tables.get("postgres", {})
    if "dsn" not in tables.get(name, {}):
        raise NotFound(
            f"dsn_secret: there is no [postgres.{name[:60]}] with a dsn in the secrets file.",
            fix=did_you_mean(name, tables, 'Write it there: [postgres.NAME] and dsn = "postgresql://…".'),
        )
    return tables[name]["dsn"]


def _checked(path: Path, document: dict[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    for kind, buckets in document.items():
        if kind not in KEYS:
            raise InvalidInput(f"storage.secrets: {path}: there is no kind [{kind}].", fix=did_you_mean(kind, KEYS))
        if not isinstance(buckets, dict) or not all(isinstance(table, dict) for table in buckets.values()):
            raise InvalidInput(
                f"storage.secrets: {path}: [{kind}] is not made of tables.", fix=f"Write [{kind}.primary]."
            )
        for bucket, table in buckets.items():
            where = f"storage.secrets: {path}: [{kind}.{bucket}]"
            for name, value in table.items():
                if name not in KEYS[kind]:
                    raise InvalidInput(f"{where} has no {name}.", fix=did_you_mean(name, KEYS[kind]))
                if not isinstance(value, str) or not value:
                    raise InvalidInput(f"{where}: {name} must be a text that is not empty.", fix="Put it in quotes.")
            absent = [name for name in PAIRS.get(kind, ()) if name not in table]
            if absent:
                raise InvalidInput(f"{where}: {absent[0]} is missing.", fix="Give both.")
    return document
