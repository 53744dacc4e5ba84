"""Bundles: a workflow and all it was read from, kept as data and understood again without its files."""

import json
from dataclasses import replace

from tests.workflow_files import Given

from lakehouse.engine.workflows.language import Loaded, Source, load
from lakehouse.engine.workflows.language.bundle import child, pack, unpack

HEAD = "name: {}\ndescription: d\nnodes:\n"
FILES = {
    "block": HEAD.format("block") + "  - {id: a, command: review}\n  - {id: b, script: clean, runtime: uv}\n",
    "low": HEAD.format("low")
    + "  - {id: a, command: review}\n  - {id: b, include: block}\n  - {id: c, workflow: low}\n",
}
COMMANDS = {"review": "Review it.", "own": "Mine."}
ROOT = HEAD.format("root") + "  - {id: a, command: own}\n  - {id: i, include: block}\n  - {id: w, workflow: low}\n"


class PerFile(Given):
    """As packages are: what is around each file is its own."""

    def __init__(self, owner: str = "root") -> None:
        super().__init__(FILES, {name: f"{owner}: {text}" for name, text in COMMANDS.items()}, {"clean": owner})

    def at(self, source: Source) -> "PerFile":
        return PerFile(source.name)


def _packed() -> tuple[Loaded, dict[str, object]]:
    source = Source("root", ROOT, "/w/root.yaml")
    loaded = load(source, PerFile())
    assert loaded.errors == ()
    return loaded, json.loads(json.dumps(pack(source, loaded)))


def test_a_bundle_is_understood_as_its_files_were() -> None:
    """Commands and scripts of blocks and children are those of the file that names them."""
    loaded, bundle = _packed()
    again = load(*unpack(bundle))
    assert replace(again, lines={}) == replace(loaded, lines={})
    assert again.used[("command", "block/review")].text == "block: Review it."
    assert pack(again.source, again) == bundle


def test_a_child_has_a_bundle_of_its_own() -> None:
    _, bundle = _packed()
    found = child(bundle, "low")
    assert found is not None
    loaded = load(*unpack(found))
    assert loaded.workflow is not None
    assert [getattr(node.body, "text", "") for node in loaded.workflow.nodes][:2] == [
        "low: Review it.",
        "block: Review it.",
    ]
    deeper = child(found, "low")
    assert deeper is not None
    assert load(*unpack(deeper)).workflow == loaded.workflow
    assert child(bundle, "nobody") is None


def test_what_is_not_in_a_bundle_is_missing() -> None:
    _, bundle = _packed()
    bundle["used"] = []
    loaded = load(*unpack(bundle))
    assert loaded.workflow is None
    assert loaded.report()["missing"] == {"commands": ["own"], "scripts": [], "workflows": ["block", "low"]}


def test_long_chains_of_children() -> None:
    """All below is in the bundle, however deep: what cannot run from the top may from further down."""
    head = "name: n\ndescription: d\nnodes: "
    files = {f"n{at}": f"{head}[{{id: a, workflow: n{(at + 1) % 400}}}]" for at in range(400)}
    source = Source("root", f"{head}[{{id: a, workflow: n0}}]")
    loaded = load(source, Given(files))
    assert loaded.errors == ()
    bundle = pack(source, loaded)
    for at in range(5):
        found = child(bundle, f"n{at}")
        assert found is not None
        assert load(*unpack(found)).errors == ()
        bundle = found
