"""The key that a node's call has: the run's and the node's, and so the same whenever the node is tried again."""

from pathlib import Path

import pytest
from tests.flows import by_id, ran

import lakehouse
from lakehouse.engine.workflows.references import Output

pytestmark = pytest.mark.anyio
MODES = '''
"""Keys."""

from pydantic import BaseModel

from lakehouse import Lakehouse, mode


class Key(BaseModel):
    """Keys."""

    given: str
    key: str


@mode("writes")
async def keep(lake: Lakehouse, idempotency_key: str) -> Key:
    """Tell with which keys it was called."""
    return Key(given=idempotency_key, key=lake.key)
'''


async def test_a_mode_that_takes_a_key_is_given_the_nodes(home: Path, tmp_path: Path) -> None:
    (tmp_path / "project" / "modes").mkdir(parents=True)
    (tmp_path / "project" / "modes" / "keys.py").write_text(MODES)
    async with lakehouse.open(home, overrides={"plugins.folders": [tmp_path / "project"]}) as lake:
        state = await ran(
            lake,
            "  - {id: a, mode: keys.keep}\n"
            "  - {id: b, depends_on: [a], mode: keys.keep, with: {idempotency_key: mine}}",
        )
        assert state.record.status == "completed", state.record.error
        first, second = (Output(record.text, record.typed).value for record in by_id(state).values())
        mine = f"{state.record.id}:a"
        assert first == {"given": mine, "key": mine}
        assert second == {"given": "mine", "key": f"{state.record.id}:b"}
