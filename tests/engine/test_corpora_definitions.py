"""Definitions of corpora in YAML: read strictly, built by name, compared with what was built."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse
from lakehouse.engine.corpora.definitions import find, parsed
from lakehouse.engine.corpora.globs import matcher
from lakehouse.engine.corpora.recipe import changes

JOBS = """\
description: Job advertisements
source:
  dataset: jobs
  text: [title, body]
  id: code
  metadata: pay
chunker: {kind: plain, max_chars: 300, overlap: 0}
id_prefix: j-
batch_size: 16
workers: 2
"""


def test_a_definition_is_read_whole() -> None:
    recipe = parsed(JOBS.encode(), "jobs")
    assert (recipe.name, recipe.source.kind, recipe.source.text) == ("jobs", "dataset", ["title", "body"])
    assert recipe.source.metadata == ["pay"]
    assert (recipe.chunker.kind, recipe.chunker.max_chars, recipe.workers) == ("plain", 300, 2)
    assert parsed(b"source: {dataset: d, as_of: 2026-05-01, text: t, id: i}", "d").source.as_of == "2026-05-01"
    assert parsed(b"source: {folder: docs}\nchunker: markdown", "d").chunker.kind == "markdown"


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("source:\n  dateset: jobs\n", "line 2: source.dateset: there is no such key.", "Did you mean dataset?"),
        ("sorce: {dataset: d}\n", "line 1: sorce: there is no such key.", "Did you mean source?"),
        ("source: {dataset: d}\nchunkr: plain\n", "line 2: chunkr: there is no such key.", "Did you mean chunker?"),
        ("source: {dataset: d}\nchunker:\n  kind: code\n  max: 3\n", "line 4: chunker.max", "max_chars"),
        ("source: {dataset: d}\nbatch_size: 0\n", "line 2: batch_size: ", "Mend"),
        ("source: {dataset: d}\nworkers: many\n", "line 2: workers: ", "Mend"),
        ("source:\n  dataset: d\n  text: [a, 3]\n", "line 3: source.text", "Mend"),
        ("\nsource:\n  dataset: d\n  sql: SELECT 1\n", "line 2: source: dataset, sql, folder: exactly one", "Mend"),
        ("source:\n  folder: x\n  id: a\n", "line 1: source: text, id, metadata, as_of: a folder has no", "Mend"),
        ("source: {dataset: d, include: ['*.md']}\n", "line 1: source: include, exclude: only a folder", "Mend"),
        ("source: {sql: SELECT 1}\nfollow: true\n", "follow: only a corpus of a whole dataset", "Mend"),
        ("source: {dataset: d}\nlimit: 3\nlimit: 4\n", "line 3: limit: it is there twice.", "line 2"),
        ("name: other\nsource: {dataset: d}\n", "line 1: name: it is 'other', in a file called jobs.", "Rename"),
        ("description: nothing\n", "source: it is missing.", "source:"),
        ("source: [\n", "line 2: it is not YAML", "Mend"),
        ("- a\n", "line 1: it is no mapping.", "source:"),
        ("", "line 1: it is no mapping.", "source:"),
        ("source: !!python/object:os.system {}\n", "it is not YAML", "Mend"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, said: str, fix: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(text.encode(), "jobs")
    assert said in caught.value.detail
    assert fix in (caught.value.fix or "")


def test_files_of_several_projects(tmp_path: Path) -> None:
    for project, name, text in (
        ("a", "jobs", "source: {folder: docs}"),
        ("b", "jobs", "source: {dataset: d}"),
        ("b", "more", "source: {dataset: d}"),
        ("b", "bad", "sorce: {dataset: d}"),
        ("b", "_draft", "nonsense"),
    ):
        path = tmp_path / project / "corpora" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "b" / "corpora" / "folder.yaml").mkdir()
    found, unusable = find([tmp_path / "a", tmp_path / "b", tmp_path / "none", tmp_path / "a"])
    assert [each.recipe.name for each in found] == ["jobs", "more"]
    assert found[0].recipe.source.folder == str(tmp_path / "a" / "docs")
    said = {each.path.name: each.error.detail for each in unusable}
    assert set(said) == {"bad.yaml", "jobs.yaml", "folder.yaml"}
    assert "corpora/jobs.yaml already" in said["jobs.yaml"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.md", "a/b/c.md", True),
        ("*.md", "a.mdx", False),
        ("guide/**", "guide/a/b.txt", True),
        ("guide/", "guide/a/b.txt", True),
        ("guide/*", "guide/a/b.txt", False),
        ("./guide/*.md", "guide/a.md", True),
        ("**/tests/*.py", "tests/a.py", True),
        ("**/tests/*.py", "x/tests/a.py", True),
        ("a?c[1].md", "abc[1].md", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert matcher(["no such", pattern])([path, "else"]) == [matches, False]


def test_patterns_of_callers_at_a_distance_take_no_longer_than_others() -> None:
    """Backtracking over these would take years."""
    assert matcher(["*a" * 30 + "b", "**/" * 50 + "b"])(["a" * 200, "a/" * 200 + "c"]) == [False, False]
    assert matcher(["b*"])(["b\udcff"]) == [True]
    for bad in (["x" * 65_000] * 500, ["\ud800"]):
        with pytest.raises(InvalidInput, match="patterns"):
            matcher(bad)


def test_a_few_bytes_do_not_stand_for_more_than_fits_into_memory() -> None:
    nested = [f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}" for n in range(1, 40)]
    merged = [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    for lines in (nested, merged):
        with pytest.raises(InvalidInput, match=r"line 2: .*aliases"):
            parsed("\n".join(["a0: &a0 {x: 1}", *lines]).encode(), "x")
    with pytest.raises(InvalidInput, match="nested too deep"):
        parsed(b"[" * 100_000, "x")


def test_changes_name_the_fields() -> None:
    then = {"source": {"dataset": "d", "text": ["a"]}, "model": "x"}
    now = {"source": {"dataset": "d", "text": ["a", "b"]}, "id_prefix": "y"}
    assert changes(then, now) == ["source.text", "model", "id_prefix"]
    assert changes(then, then) == []


async def define(home: Path, name: str, text: str) -> None:
    folder = anyio.Path(home / "corpora")
    await folder.mkdir(parents=True, exist_ok=True)
    await (folder / f"{name}.yaml").write_text(text)


async def jobs(lake: Lakehouse, **more: Any) -> None:
    rows = {"code": ["a", "b"], "title": ["Welder", "Nurse"], "body": ["joins metal", "cares"], "pay": [1, 2]}
    await commit(lake, "jobs", rows | more)


async def listed(lake: Lakehouse) -> dict[str, Any]:
    found = await lake.call("matrix_corpora")
    return {each["name"]: each["standing"] for each in found["corpora"]} | {"defined": found["defined"]}


@pytest.mark.anyio
async def test_a_defined_corpus_is_built_by_name_and_compared(home: Path, lake: Lakehouse) -> None:
    await define(home, "jobs", JOBS)
    await jobs(lake)
    (defined,) = [each for each in (await listed(lake))["defined"] if each["name"] == "jobs"]
    assert defined == {"name": "jobs", "description": "Job advertisements", "source": "dataset"}
    built = await lake.call("build_corpus", {"name": "jobs"})
    assert (built["added"], await lake.vectors.ids("jobs")) == (2, {"j-a", "j-b"})
    assert (await lake.vectors.get_item("jobs", "j-a")).metadata["pay"] == 1
    about = await listed(lake)
    assert (about["jobs"]["state"], about["jobs"]["drift"], about["jobs"]["defined"]) == ("current", [], True)
    assert "jobs" not in {each["name"] for each in about["defined"]}

    await jobs(lake, body=["joins metal", "cares for people"])
    about = await listed(lake)
    assert (about["jobs"]["state"], about["jobs"]["version"], about["jobs"]["newest"]) == ("behind", 1, 2)
    await define(home, "jobs", JOBS.replace("[title, body]", "body").replace("300", "400"))
    assert (await listed(lake))["jobs"]["drift"] == ["source.text", "chunker.max_chars"]
    again = await lake.call("build_corpus", {"name": "jobs"})
    assert (again["updated"], again["count"]) == (2, 2)
    assert (await listed(lake))["jobs"]["state"] == "current"
    # Another source under the same name of the same definition is no mistake; by hand it would be.
    await define(home, "jobs", "source: {sql: 'SELECT code AS id, body AS text FROM jobs'}")
    assert (await lake.call("build_corpus", {"name": "jobs"}))["removed"] == 2
    with pytest.raises(Conflict, match="was built from the sql"):
        await lake.corpora.build("jobs", dataset="jobs", text=["body"], id="code")


@pytest.mark.anyio
async def test_a_definition_under_another_name_and_with_options(home: Path, lake: Lakehouse) -> None:
    """A-S12-4: one definition serves two corpora, by index_name and id_prefix; their ids are disjoint."""
    await define(home, "workers", "source: {dataset: jobs, text: title, id: code}\nid_prefix: w-\n")
    await jobs(lake)
    await lake.call("build_corpus", {"name": "workers"})
    options = {"name": "workers", "index_name": "ethereal_workers", "id_prefix": "e-", "workers": 1}
    assert (await lake.call("build_corpus", options))["name"] == "ethereal_workers"
    assert await lake.vectors.ids("workers") == {"w-a", "w-b"}
    assert await lake.vectors.ids("ethereal_workers") == {"e-a", "e-b"}
    # As it was made last, by no name but its own.
    await jobs(lake, code=["a", "c"])
    assert (await lake.call("build_corpus", {"name": "ethereal_workers"}))["removed"] == 1
    assert await lake.vectors.ids("ethereal_workers") == {"e-a", "e-c"}


@pytest.mark.anyio
async def test_checking_finds_what_a_build_would(home: Path, lake: Lakehouse) -> None:
    await jobs(lake)
    for name, text in {
        "good": "source: {dataset: jobs, text: body, id: code}",
        "column": "source: {dataset: jobs, text: bdy, id: code}",
        "gone": "source: {dataset: none, text: body, id: code}",
        "kind": "source: {dataset: jobs, text: body, id: code}\nchunker: prose",
        "model": "source: {dataset: jobs, text: body, id: code}\nmodel: gpt-4",
        "select": "source: {sql: 'SELECT cod FROM jobs'}",
        "place": "source: {folder: nowhere}",
        "key": "source: {dataset: jobs}\nchunks: 3",
    }.items():
        await define(home, name, text)
    found = await lake.call("check_corpora")
    said = {each["name"]: each.get("problem") for each in found["definitions"]}
    assert said["good"] is None
    for name, word in {
        **{"column": "bdy", "gone": "none", "kind": "chunker: there is no 'prose'", "model": "model"},
        **{"select": "cod", "place": "nowhere", "key": "line 2: chunks"},
    }.items():
        assert word in said[name], name
    assert found["problems"] >= 7
    assert (await lake.call("check_corpora", {"name": "good"}))["count"] == 1
    with pytest.raises(InvalidInput, match="line 2: chunks"):
        await lake.call("build_corpus", {"name": "key"})
    with pytest.raises(InvalidInput) as caught:
        await lake.call("build_corpus", {"name": "goood"})
    assert caught.value.fix == "Did you mean good?"
    listed = await lake.call("matrix_corpora")
    assert any("key.yaml: line 2" in problem for problem in listed["problems"])


@pytest.mark.anyio
async def test_another_model_in_the_definition_embeds_beside(home: Path) -> None:
    from tests.doubles.fake_ollama import FakeOllama
    from tests.engine.test_corpora import lake_on

    with FakeOllama() as fake:
        async with lake_on(home, fake) as lake:
            text = "source: {dataset: jobs, text: body, id: code}\n"
            await define(home, "jobs", text)
            await jobs(lake)
            await lake.call("build_corpus", {"name": "jobs"})
            await define(home, "jobs", text + "model: all-minilm\n")
            assert (await listed(lake))["jobs"]["drift"] == ["model"]
            built = await lake.call("build_corpus", {"name": "jobs"})
            assert (built["model"], built["added"], built["count"]) == ("ollama/all-minilm", 2, 2)
            assert (await lake.vectors.get("jobs")).model == "ollama/all-minilm"


@pytest.mark.anyio
async def test_over_mcp_a_definition_reads_allowed_folders_only(home: Path, tmp_path: Path) -> None:
    await define(home, "notes", f"source: {{folder: '{tmp_path / 'notes'}'}}")
    await anyio.Path(tmp_path / "notes").mkdir()
    await anyio.Path(tmp_path / "notes" / "a.txt").write_text("words")
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        with pytest.raises(lakehouse.Forbidden, match=r"corpora\.folders"):
            await lake.call("build_corpus", {"name": "notes"}, via="mcp")
        assert (await lake.call("build_corpus", {"name": "notes"}, via="cli"))["count"] == 1
        # Nor may what somebody else has built be built again.
        await anyio.Path(home / "corpora" / "notes.yaml").unlink()
        with pytest.raises(lakehouse.Forbidden, match=r"corpora\.folders"):
            await lake.call("build_corpus", {"name": "notes"}, via="http")
