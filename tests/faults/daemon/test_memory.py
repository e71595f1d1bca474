"""The kernel kills a whole container for memory, and not just the block that took it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

pytestmark = pytest.mark.docker

LIMIT = 100 * 1024 * 1024

GREEDY = """
import os, time
while not os.path.exists("/tmp/go"):
    time.sleep(0.01)
pid = os.getpid()
while pid != 1:
    agent, pid = pid, int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
open(f"/proc/{agent}/oom_score_adj", "w").write("1000")
taken = [bytearray(1_000_000) for _ in range(500)]
"""
"""Has the kernel prefer the agent, which is the container's first process but for its init."""


async def test_a_container_that_is_killed_for_memory_is_replaced_and_its_sibling_is_not_hurt(yard: Any) -> None:
    async with yard.session() as session:
        first = {"a": ["python3", "-c", GREEDY], "b": ["sleep", "2"]}
        second = {"c": ["sleep", "2"], "d": ["sleep", "2"]}  # no time to share one
        execution = session.start(yard.plan(first, second))
        await yard.until(session, lambda containers: [each.phase for each in containers] == ["running", "running"])
        victim, sibling = sorted(session.pool_status().containers, key=lambda each: each.block_id)
        await trio.to_thread.run_sync(let_go, yard.client, victim.name)
        with trio.fail_after(20):
            report = await execution.wait()
        a, b, c, d = report.results
        assert (a.status, a.reason) == ("failed", "lost")
        assert a.error == "its container was lost: it was killed for exceeding its memory limit of 100 MiB"
        assert [each.error for each in (b, c, d)] == [None] * 3
        assert b.container_id == sibling.id
        assert victim.id not in {c.container_id, d.container_id}
        assert c.container_id != d.container_id
        assert victim.name not in [each.name for each in session.pool_status().containers]
        assert f"['/{victim.name}']" not in yard.containers(session.id)


def let_go(client: Any, name: str) -> None:
    """Sets the limit, and tells the block to exceed it."""
    client.update_container(name, mem_limit=LIMIT, memswap_limit=LIMIT)
    client.exec_start(client.exec_create(name, ["touch", "/tmp/go"])["Id"])
