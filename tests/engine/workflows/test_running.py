"""Runs as a whole: references, order, and what is kept of them."""

import pytest
from tests.flows import by_id, ran, scripted

from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio

CHAIN = """
  - id: echo
    mode: fixture.echo
    with: {value: $INPUTS.word}
  - id: upper
    mode: fixture.upper
    depends_on: [echo]
    with: {text: $echo.output.value}
"""


async def test_a_chain_of_modes(lake: Lakehouse) -> None:
    """The fixture chain of A-S20-5: the second node reads a field of the first's output."""
    state = await ran(lake, CHAIN, root="inputs: {word: {required: true}}", word="hello")
    assert state.record.status == "completed"
    assert by_id(state)["upper"].text == '{"text":"HELLO"}'


async def test_a_prompt_is_answered(lake: Lakehouse) -> None:
    model = scripted(lake, "a pond")
    state = await ran(lake, "  - {id: shape, prompt: 'Describe $ARGUMENTS.'}", message="a lake")
    assert by_id(state)["shape"].text == "a pond"
    assert model.asked[0].messages[-1].content == "Describe a lake."
