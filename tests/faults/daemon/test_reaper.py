"""The reaper on Docker, alone: no session starts that could sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from leaks import MARK

pytestmark = pytest.mark.docker


@define
class Victim:
    """A `warmlane run` that goes on for long. Its containers, as the daemon lists them."""

    popen: subprocess.Popen[bytes]
    yard: Any

    async def containers(self) -> list[str]:
        found = await trio.to_thread.run_sync(self.yard.daemon.containers, "warmlane.owner")
        return [
            container["State"]
            for container in found
            if container["Labels"]["warmlane.owner"].partition(".")[0] == str(self.popen.pid)
        ]

    async def until(self, *states: str) -> None:
        """Waits for that many containers, in these states."""
        while sorted(await self.containers()) != sorted(states):  # noqa: ASYNC110 - the daemon is being asked
            await trio.sleep(0.05)


@pytest.fixture
def victim(yard: Any, tmp_path: Path, docker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    document = {
        "name": "victim",
        "container": {"image": yard.image, "transport": "unix"},
        "blocks": {"a": {"command": ["true"]}, "b": {"command": ["true"]}, "c": {"command": ["sleep", "100"]}},
        "lanes": [{"blocks": ["a", "b"]}, "c"],
    }
    (tmp_path / "plan.json").write_text(json.dumps(document))
    words = [sys.executable, "-P", "-m", "warmlane", "run", str(tmp_path / "plan.json"), "--runtime", "docker"]
    # Its reaper looks again for some seconds, and is nothing that this test has left.
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, MARK: "victim"}) as popen:
        yield Victim(popen, yard)
        popen.kill()


async def test_a_killed_engine_s_containers_go_frozen_ones_too_and_nobody_else_s(yard: Any, victim: Victim) -> None:
    async with yard.session() as session:
        execution = session.start(yard.plan({"a": ["sleep", "4"]}))
        with trio.fail_after(30):
            await victim.until("running", "paused")
        victim.popen.kill()
        with trio.fail_after(10):
            await victim.until()
        assert (await execution.wait()).status == "completed"
        assert [result.error for result in (await execution.wait()).results] == [None]
