"""The open lakehouse, how one is opened, and how one is looked at without opening it."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse import attach, config
from lakehouse.catalogue import Catalogue
from lakehouse.errors import InvalidInput, LakehouseError
from lakehouse.lake.door import MAX_OWNERS, Lakehouse
from lakehouse.sources import workflow_folders

if TYPE_CHECKING:
    from lakehouse.engine.redact import Redactor


def redactor(settings: config.Config) -> "Redactor":
    """What cuts the credentials these settings hold or name out of texts before they leave."""
    from lakehouse.engine.redact import redactor_for

    return redactor_for(settings)


@asynccontextmanager
async def open(
    home: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    profile: str | None = None,
) -> AsyncIterator[Lakehouse]:
    """Open a data directory; the parts live exactly as long as the block.

    `home` defaults to `LAKEHOUSE_HOME`, then to the user's data folder. A `.toml` file in its place is the config file,
    as with `--config`. `overrides` are settings by dotted name. With a `profile` every call is bound to its datasets.

    Where another process owns the directory, the lake attaches to it: `call` does the same there.

    Raises InvalidInput for a bad setting and Busy, naming the owner, when that one does not answer.
    """
    if home is not None and config_file is None and Path(home).suffix == ".toml":
        home, config_file = None, home
    if profile is not None:
        overrides = {**(overrides or {}), "server.profile": profile}
    settings = await anyio.to_thread.run_sync(config.read, home, config_file, overrides)
    async with Lakehouse(settings) as lake:
        await lake.start()
        if not lake.attached_to:
            await lake.load()
        yield lake


async def examine(
    home: str | Path | None = None,
    config_file: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the capability `doctor.run` says, of a data directory that is not opened.

    It works while another process owns the directory and when the settings cannot be read.
    """
    from lakehouse.engine import doctor

    def prepare() -> tuple[config.Settings, LakehouseError | None, Catalogue]:
        broken: LakehouseError | None = None
        try:
            settings = config.read(home, config_file, overrides)
        except InvalidInput as error:
            settings, broken = config.defaults(home), error
        return settings, broken, Catalogue(settings.config.plugins.folders, settings.home)

    settings, broken, catalogue = await anyio.to_thread.run_sync(prepare)
    skipped = [(plugin.origin, plugin.reason) for plugin in catalogue.skipped]
    folders = functools.partial(workflow_folders, settings.config.plugins.folders, settings.home)
    report = await doctor.examine(settings, skipped, broken, attach.answers, folders)
    return report.model_dump(mode="json")


async def restore(
    file: str | Path, home: str | Path, *, progress: Callable[[float, float | None, str], Awaitable[None]] | None = None
) -> dict[str, Any]:
    """Make a new data directory of a backup: `home` must not be there, or be empty. It appears whole, or not at all.

    Raises NotFound, Conflict, InvalidInput naming the entry for what is damaged or no backup, and Upstream.
    """
    from lakehouse.engine.backup import restore as run
    from lakehouse.engine.progress import unheard

    return (await run(Path(file), Path(home), progress or unheard)).model_dump(mode="json")


__all__ = ["MAX_OWNERS", "Lakehouse", "examine", "open", "redactor", "restore"]
