"""A playbook that eight writers fill, and whose process is killed: what was acknowledged is there."""

import subprocess
import sys
from pathlib import Path

import pytest

import lakehouse

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SCRIPT = """
import sys, anyio, lakehouse

async def main(home):
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake, anyio.create_task_group() as tasks:
        async def write(who):
            for number in range(10**6):
                given = {"query_text": f"question {number} of {who}", "answer_id": f"{who}-{number}"}
                given["answer_corpus"] = "w"
                made = await lake.call("playbook_record", given | {"score": 0.5})
                print(made["playbook_id"], flush=True)
                await lake.call("playbook_record", given | {"score": 1})
                print(made["playbook_id"], "again", flush=True)
        for who in range(8):
            tasks.start_soon(write, who)

anyio.run(main, sys.argv[1])
"""


async def test_killed_while_eight_writers_record(home: Path) -> None:
    """Every acknowledged entry is there after kill -9, with the last acknowledged score; the journal has each, too."""
    with subprocess.Popen([sys.executable, "-c", SCRIPT, home], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(400)]
        process.kill()
        said += [line for line in process.stdout.read().split("\n")[:-1] if line]
    first = {line for line in said if "again" not in line}
    again = {line.split()[0] for line in said if "again" in line}
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        found = await lake.call("playbook_lookup", {"limit": 1000})
        scores = {one["playbook_id"]: one["score"] for one in found["entries"]}
        assert first <= set(scores) and {scores[id] for id in again} == {1.0}
        assert set(scores.values()) <= {0.5, 1.0}
        assert len(first) > 150 and found["total"] < 1000
        assert await lake.vectors.verify("playbook_memory") == []
        events = await lake.journal.query(entity_type="playbook", limit=5000)
        assert first <= {one.entity_id for one in events.events}
        made = await lake.call(
            "playbook_record", {"query_text": "q", "answer_id": "a", "answer_corpus": "w", "score": 1}
        )
        assert (await lake.call("playbook_lookup", {"query_text": "q"}))["entries"][0]["playbook_id"] == made[
            "playbook_id"
        ]
