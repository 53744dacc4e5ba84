"""What the reading process is told of a source that is no single file: many files, or a database."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse import config
from lakehouse.engine import credentials
from lakehouse.engine.ingest.matches import Matches
from lakehouse.engine.ingest.options import Options
from lakehouse.engine.ingest.source import check_options
from lakehouse.errors import InvalidInput


def of_files(options: Options, path: Path, many: Matches) -> Options:
    """The options for files found below a path. Raises InvalidInput for an option that one of them has no use for."""
    kinds = sorted({match.source for match in many.files})
    for kind in kinds:
        check_options(kind, options.delimiter, options.encoding, options.sheet, options.header_row)
    request = {
        "files": [[str(match.path), match.called, match.source, match.sha256] for match in many.files],
        "evolve": options.evolve,
    }
    return replace(
        options,
        source=", ".join(kinds),
        request=request,
        provenance={"file": path.name, **options.provenance},
        warnings=(*options.warnings, *many.warnings),
    )


async def of_postgres(
    options: Options,
    settings: config.Ingest,
    secrets: Path,
    dsn: str | None,
    dsn_secret: str | None,
    table: str | None,
    query: str | None,
    anywhere: bool,
) -> Options:
    """The options for a table or a query of a database. What is kept of it names the secret, never what that holds.

    Raises InvalidInput for arguments that do not go together, NotFound for a secret that is not there.
    """
    if (dsn is None) == (dsn_secret is None):
        raise InvalidInput("dsn, dsn_secret: exactly one is needed.", fix="Give one of the two.")
    if (table is None) == (query is None):
        raise InvalidInput("table, query: exactly one is needed.", fix="Give one of the two.")
    # What the operator wrote down may lead anywhere.
    internal = None if anywhere or dsn is None else settings.internal_networks
    if dsn_secret is not None:
        dsn = await anyio.to_thread.run_sync(credentials.postgres, secrets, dsn_secret)
    request = {
        "dsn": dsn,
        "internal": internal,
        "table": table,
        "query": query,
        "timeout_secs": settings.remote_timeout_secs,
    }
    told: Mapping[str, Any] = {"dsn_secret": dsn_secret, "table": table, "query": query}
    provenance = {**{key: value for key, value in told.items() if value is not None}, **options.provenance}
    return replace(options, source="postgres", request=request, provenance=provenance)
