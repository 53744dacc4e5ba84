"""What runs again after a rework."""

import pytest

from lakehouse.engine.workflows.model import Approval, Bash, Body, Mode, Node, Prompt
from lakehouse.engine.workflows.running.rework import between

KINDS: dict[str, Body] = {"p": Prompt(""), "b": Bash(""), "m": Mode(""), "g": Approval("")}

# A graph as `kind:name<dependency,dependency`, what the rework takes the place of, and what runs again before `gate`.
CASES = [
    ("a prompt alone is not made again", "p:draft g:gate<draft", "", ""),
    ("a check of a prompt", "p:draft b:test<draft g:gate<test", "", "test"),
    ("what a check's result goes into", "p:draft b:test<draft p:review<test g:gate<review", "", "test review"),
    ("prompts without a check between", "p:draft p:polish<draft g:gate<polish", "", ""),
    ("what was there before any prompt", "b:fetch p:draft<fetch b:test<draft g:gate<test", "", "test"),
    ("no prompt at all", "b:build b:test<build g:gate<test", "", ""),
    ("modes check, too", "p:draft m:score<draft g:gate<draft,score", "", "score"),
    ("not what the gate does not wait for", "p:draft b:test<draft b:other<draft g:gate<test", "", "test"),
    ("not what comes after", "p:draft b:test<draft g:gate<test b:ship<gate,test", "", "test"),
    ("no other gate", "p:draft b:test<draft g:first<test b:more<first g:gate<more", "", "test more"),
    ("what depends on a named prompt", "p:draft p:polish<draft g:gate<polish", "draft", "polish"),
    ("the last prompt, named", "p:draft b:test<draft p:polish<test g:gate<polish", "polish", ""),
    ("a named prompt's checks", "p:a p:b b:ta<a b:tb<b g:gate<ta,tb", "b", "tb"),
]


@pytest.mark.parametrize(("graph", "reworked", "again"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_runs_again(graph: str, reworked: str, again: str) -> None:
    nodes = []
    for written in graph.split():
        kind, _, rest = written.partition(":")
        id, _, needed = rest.partition("<")
        nodes.append(Node(id, KINDS[kind], depends_on=tuple(filter(None, needed.split(",")))))
    assert [node.id for node in between(nodes, "gate", reworked)] == again.split()
