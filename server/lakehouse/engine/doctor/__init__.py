"""Probes of everything Lakehouse stands on, each with what to do when it fails. Nothing is locked or kept open."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse.config import Settings
from lakehouse.engine.doctor.check import Check, Report, bad, good
from lakehouse.engine.doctor.embedding import check_embedding, check_ollama
from lakehouse.engine.doctor.packages import check_extras, check_packages, check_python, version
from lakehouse.engine.doctor.places import check_datasets, check_disk, check_home, check_owner, check_storage
from lakehouse.engine.doctor.triggers import check_triggers
from lakehouse.engine.doctor.workflows import check_chat, check_workflows
from lakehouse.errors import LakehouseError


async def examine(
    settings: Settings,
    skipped: Sequence[tuple[str, str]] = (),
    broken: LakehouseError | None = None,
    answers: Callable[[str], Awaitable[bool]] | None = None,
    folders: Callable[[], Sequence[Path]] = tuple,
) -> Report:
    """Look at the installation and at a data directory, which may be in use, or not there yet.

    `skipped` are the plugins left out, as (origin, reason). `broken` is why the real settings could not be read;
    `settings` are then the defaults. `answers` says whether the owner at an address answers this process. `folders`
    gives those that hold `workflows/`. A probe object is written to the bucket and removed again, unless the server is
    read-only. Takes as long as importing every package in use does: some 2 s, and 4 to 8 s where litellm is one.
    """
    idle = () if settings.config.embed.provider == "litellm" else ("litellm",)
    probes: list[Callable[[], Awaitable[list[Check]]]] = [
        _in_thread(check_python),
        partial(check_packages, idle),
        _in_thread(check_extras),
        _in_thread(_settings, settings, broken),
        _in_thread(check_home, settings.home),
        partial(check_owner, settings.home, answers),
        partial(check_storage, settings),
        partial(check_datasets, settings),
        _in_thread(check_disk, settings.home),
        partial(check_embedding, settings),
        _in_thread(check_ollama, settings),
        _in_thread(check_chat, settings),
        _in_thread(check_workflows, folders),
        _in_thread(_plugins, skipped),
        _in_thread(check_triggers, settings),
    ]
    found: list[list[Check]] = [[] for _ in probes]

    async def look(place: int) -> None:
        try:
            found[place] = await probes[place]()
        except Exception as error:  # one probe's trouble is a finding too, and must not hide the others'
            found[place] = bad("doctor", f"a probe failed: {type(error).__name__}: {error}.", "Please report this.")

    async with anyio.create_task_group() as group:
        for place in range(len(probes)):
            group.start_soon(look, place)
    checks = [check for part in found for check in part]
    release = await anyio.to_thread.run_sync(version)
    return Report(ok=all(c.ok for c in checks if c.required), version=release, checks=checks)


def _in_thread(probe: Callable[..., list[Check]], *args: object) -> Callable[[], Awaitable[list[Check]]]:
    return partial(anyio.to_thread.run_sync, partial(probe, *args), abandon_on_cancel=True)


def _settings(settings: Settings, broken: LakehouseError | None) -> list[Check]:
    if broken is not None:
        checks = bad("settings", broken.detail, broken.fix)
    else:
        source = str(settings.file) if settings.file else "no file; the defaults"
        changed = ", ".join(sorted(settings.origins))
        checks = good(
            "settings", f"{source}" + (f"; set there or by variables and flags: {changed}" if changed else "")
        )
    stray = Path.cwd() / "lakehouse.toml"
    if stray.is_file() and (settings.file is None or not stray.samefile(settings.file)):
        checks += bad(
            "stray settings",
            "there is a lakehouse.toml in the working directory, and it is not used.",
            "Name it with --config or LAKEHOUSE_CONFIG if it is yours and meant.",
            required=False,
        )
    return checks


def _plugins(skipped: Sequence[tuple[str, str]]) -> list[Check]:
    if not skipped:
        return good("plugins", "none was left out", required=False)
    return [
        check
        for origin, reason in skipped
        for check in bad(f"plugin {origin}", reason, "Mend it, or remove it.", required=False)
    ]


__all__ = ["Check", "Report", "examine"]
