"""Prompts that are asked again until they are done."""

import pytest
from tests.flows import by_id, ran, scripted

from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio

COUNT = """
  - id: count
    loop: {prompt: "After <$LOOP_PREV_OUTPUT>:", until: DONE, max_iterations: 3}
"""


async def test_a_loop_ends_at_its_signal(lake: Lakehouse) -> None:
    model = scripted(lake, "one", "two <promise>DONE</promise>")
    node = by_id(await ran(lake, COUNT))["count"]
    assert (node.status, node.text) == ("completed", "two")
    assert [asked.messages[-1].content for asked in model.asked] == ["After <>:", "After <one>:"]
