"""Where settings and plugins are found: folders, files, the environment. Light enough for `--help`."""

import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lakehouse.errors import InvalidInput, TooLarge

MAX_PLUGIN_BYTES = 4 * 2**20  # of one plugin file
_TOOL = re.compile(rb"""\btool["']?[ \t]*:""")


def default_home(environ: Mapping[str, str] | None = None) -> Path:
    """`LAKEHOUSE_HOME`, else the user's data folder."""
    given = (os.environ if environ is None else environ).get("LAKEHOUSE_HOME", "").strip()
    if given:
        return Path(given).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("lakehouse", appauthor=False)).resolve()


def cache_folder() -> Path:
    """`LAKEHOUSE_CACHE`, else the user's cache folder: for what can be rebuilt at any time."""
    given = os.environ.get("LAKEHOUSE_CACHE", "").strip()
    if given:
        return Path(given).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lakehouse", appauthor=False)).resolve()


def config_file(home: Path, file: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """The config file that holds: the one named, else `LAKEHOUSE_CONFIG`, else `lakehouse.toml` in the data directory.

    The working directory is never looked at: MCP hosts start servers inside repositories of strangers.
    """
    given = file or environ.get("LAKEHOUSE_CONFIG", "").strip()
    if given:
        return Path(given).expanduser().resolve()
    usual = home / "lakehouse.toml"
    return usual if usual.is_file() else None


def file_values(path: Path) -> dict[str, Any]:
    """The sections of a config file, unchecked. Raises InvalidInput when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InvalidInput(f"There is no config file {path}.", fix="Write one with `lakehouse init`.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}.", fix="Mend the file, or name another with --config."
        ) from None


def parts(text: str) -> list[Any]:
    """A list as a variable holds it: `a,b`, or `["a","b"]` as in the file. Raises ValueError for half of the latter."""
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [part for part in (p.strip() for p in text.split(",")) if part]


def plugin_folders(home: Path, file: str | Path | None, environ: Mapping[str, str]) -> list[Path]:
    """The project folders whose tools and modes are loaded, as the settings name them, unchecked."""
    named = environ.get("LAKEHOUSE_PLUGINS__FOLDERS")
    if named is not None:
        try:
            return [below(Path.cwd(), part) for part in parts(named) if isinstance(part, str)]
        except ValueError:
            return []
    path = config_file(home, file, environ)
    section = file_values(path).get("plugins", {}) if path else {}
    folders = section.get("folders", []) if isinstance(section, dict) else []
    listed = folders if isinstance(folders, list) else []
    return [below(path.parent, f) for f in listed if path and isinstance(f, str)]


def shipped(folder: str) -> Path:
    """`tools`, `modes`, `workflows` or `corpora`: in the wheel beside this file, in a checkout at the root."""
    package = Path(__file__).resolve().parent
    return package / folder if (package / folder).is_dir() else package.parents[1] / folder


def plugin_files(folders: Sequence[Path]) -> list[Path]:
    """The files the shipped and configured folders hold, in loading order, each once."""
    places = [shipped("tools"), shipped("modes")]
    for project in folders:
        places += [project / "tools", project / "modes"]
    return list(dict.fromkeys(path for place in places for path in sorted(place.glob("[!_]*.py"))))


def query_files(folders: Sequence[Path], home: Path | None) -> list[Path]:
    """The verified queries of the configured folders and of a data directory, in loading order, each once."""
    places = [*folders, *([home] if home is not None else [])]
    return list(dict.fromkeys(path for place in places for path in sorted((place / "queries").glob("[!_.]*.yaml"))))


def workflow_folders(folders: Sequence[Path], home: Path | None) -> list[Path]:
    """The folders that hold `workflows/`, the least important first: ours, the configured ones, the data directory."""
    return [shipped("workflows").parent, *folders, *([home] if home is not None else [])]


def workflow_tools(folders: Sequence[Path], home: Path | None) -> list[Path]:
    """The workflow files that may be tools, by a look at their text, in loading order, each once."""
    found: list[Path] = []
    for place in workflow_folders(folders, home):
        for base in (place / "workflows", place / ".archon" / "workflows"):
            for depth in ("", "[!_.]*/", "[!_.]*/[!_.]*/"):
                found += [path for path in sorted(base.glob(f"{depth}[!_.]*.y*ml")) if _may_be_tool(path)]
    return list(dict.fromkeys(found))


def _may_be_tool(path: Path) -> bool:
    try:
        return _TOOL.search(source_of(path)) is not None
    except (OSError, TooLarge):
        return False


def source_of(path: Path) -> bytes:
    """A plugin file's bytes. Raises OSError for what cannot be read or is no plain file, TooLarge for what is huge."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not a plain file")  # reading a pipe or a device could wait for ever
    if found.st_size > MAX_PLUGIN_BYTES:
        raise TooLarge(f"it has {found.st_size:,} bytes; a plugin file may have {MAX_PLUGIN_BYTES:,}.")
    return path.read_bytes()


def below(base: Path, folder: str | Path) -> Path:
    """A folder as settings name it: absolute, or meant from `base`. One that cannot be there stays as it is written."""
    given = os.path.expanduser(folder)  # unlike Path's, it lets an unknown ~user be
    try:
        return Path(os.path.realpath(os.path.join(base, given)))  # unlike Path's, it lets a loop of links be
    except ValueError:  # a NUL in it
        return base / given
