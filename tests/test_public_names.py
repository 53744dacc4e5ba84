"""The names `import lakehouse` promises."""

import importlib.metadata
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import lakehouse

ROOT = Path(__file__).parents[1]


def test_the_list_is_sorted_and_complete() -> None:
    promised = sorted(name for names in lakehouse._HOMES.values() for name in names)
    assert lakehouse.__all__ == promised
    assert len(set(promised)) == len(promised)


@pytest.mark.parametrize("name", lakehouse.__all__)
def test_each_name_is_there(name: str) -> None:
    home = next(module for module, names in lakehouse._HOMES.items() if name in names)
    assert getattr(lakehouse, name) is getattr(import_module(home), name)


def test_every_error_of_the_table_is_public() -> None:
    from lakehouse import errors

    own = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.LakehouseError)}
    assert own <= set(lakehouse.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = lakehouse.opne  # type: ignore[attr-defined]


def test_one_version() -> None:
    """The package, its metadata and pyproject.toml agree; so does whoever asks an installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == lakehouse.__version__ == importlib.metadata.version("lakehouse-mcp")
