"""The cached rendering of the catalogue is the live one, and never a stale one."""

import json
from pathlib import Path

import pytest

from lakehouse.catalogue import Catalogue
from lakehouse.rendered import render, rendered

TOOL = '''"""One tool."""
from pydantic import BaseModel
from lakehouse import Lakehouse, tool


class Out(BaseModel):
    """Out."""
    x: int


@tool()
async def one(lake: Lakehouse) -> Out:
    """{words}"""
    return Out(x=1)
'''


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, where other tests share one."""
    monkeypatch.setenv("LAKEHOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "tools").mkdir(parents=True)
    (tmp_path / "project" / "tools" / "extra.py").write_text(TOOL.format(words="First words."), encoding="utf-8")
    return tmp_path / "project"


def words(rendering: dict[str, object]) -> list[str]:
    tools = rendering["tools"]
    assert isinstance(tools, list)
    return [tool["description"] for tool in tools if tool["name"].startswith("extra.")]


@pytest.mark.slow
def test_cached_and_live_are_equal(project: Path) -> None:
    live = json.loads(json.dumps(render(Catalogue([project]))))
    assert rendered([project]) == live
    assert rendered([project]) == live  # now from the cache


def test_the_second_reading_loads_no_plugin(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rendered([project])
    monkeypatch.setattr("lakehouse.catalogue.Catalogue", lambda *given: pytest.fail("the cache was not used"))
    assert rendered([project]) == first


@pytest.mark.slow
def test_a_changed_file_is_rendered_anew(project: Path) -> None:
    assert words(rendered([project])) == ["First words."]
    (project / "tools" / "extra.py").write_text(TOOL.format(words="Other words"), encoding="utf-8")  # the same length
    assert words(rendered([project])) == ["Other words"]
    (project / "tools" / "more.py").write_text(TOOL.format(words="More."), encoding="utf-8")
    assert len(rendered([project])["tools"]) == len(rendered()["tools"]) + 2
    assert words(rendered()) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"tools": []}', b"null", b"\xff"])
def test_a_damaged_cache_is_rendered_anew(project: Path, damage: bytes, cache: Path) -> None:
    first = rendered([project])
    (kept,) = cache.glob("catalogue-*.json")
    kept.write_bytes(damage)
    assert rendered([project]) == first


def test_a_cache_that_cannot_be_written_costs_time_only(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAKEHOUSE_CACHE", str(tmp_path / "file"))
    assert words(rendered([project])) == ["First words."]
    assert any("catalogue.cache" in record.getMessage() for record in caplog.records)
