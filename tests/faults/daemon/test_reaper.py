"""The reaper on Docker, alone: no session starts that could sweep. It ends when it has done its work."""

from __future__ import annotations

import json
import math
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from dockerd.proxy import Fault, Proxy
from leaks import MARK
from soaking.kills import carriers
from warmlane.runtimes import rundir

pytestmark = pytest.mark.docker

GONE = 20.0
"""Seconds for a reaper to end, once there is nothing left to remove: it looks for some six."""


@define
class Victim:
    """A `warmlane run` that goes on for long. Its containers, as the daemon lists them."""

    popen: subprocess.Popen[bytes]
    mark: str
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

    async def until_alone(self) -> None:
        """Waits until none of its processes is left: the reaper's is the last."""
        while carriers(self.mark):  # noqa: ASYNC110 - the process table is being asked
            await trio.sleep(0.05)

    def notes(self) -> str:
        """What its reaper has written."""
        for session in rundir.sessions():
            if session.owner.partition(".")[0] == str(self.popen.pid) and session.containers:
                with suppress(FileNotFoundError):
                    return (session.containers[0].parent / rundir.NOTES).read_text()
        return ""


@pytest.fixture
def start(yard: Any, tmp_path: Path) -> Iterator[Callable[[str], Victim]]:
    """Starts one on the daemon at that address."""
    document = {
        "name": "victim",
        "container": {"image": yard.image, "transport": "unix"},
        "blocks": {"a": {"command": ["true"]}, "b": {"command": ["true"]}, "c": {"command": ["sleep", "100"]}},
        "lanes": [{"blocks": ["a", "b"]}, "c"],
    }
    (tmp_path / "plan.json").write_text(json.dumps(document))
    words = [sys.executable, "-P", "-m", "warmlane", "run", str(tmp_path / "plan.json"), "--runtime", "docker"]
    with ExitStack() as stack:

        def start(url: str) -> Victim:
            mark = secrets.token_hex(8)  # its own: that its reaper ends is for the tests to see
            environment = {**os.environ, MARK: mark, "DOCKER_HOST": url}
            popen = stack.enter_context(subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment))
            stack.callback(popen.kill)
            return Victim(popen, mark, yard)

        yield start


async def test_a_killed_engine_s_containers_go_frozen_ones_too_and_nobody_else_s(
    yard: Any, start: Callable[[str], Victim], docker_url: str
) -> None:
    victim = start(docker_url)
    async with yard.session() as session:
        execution = session.start(yard.plan({"a": ["sleep", "4"]}))
        with trio.fail_after(30):
            await victim.until("running", "paused")
        victim.popen.kill()
        with trio.fail_after(10):
            await victim.until()
        assert (await execution.wait()).status == "completed"
        assert [result.error for result in (await execution.wait()).results] == [None]
        with trio.fail_after(GONE):
            await victim.until_alone()


async def test_it_goes_on_while_the_daemon_is_ill_says_so_and_ends_when_all_is_gone(
    start: Callable[[str], Victim], proxy: Proxy
) -> None:
    victim = start(proxy.url)
    with trio.fail_after(30):
        await victim.until("running", "paused")
    proxy.order("remove", Fault(500), times=math.inf)
    victim.popen.kill()
    with trio.fail_after(40):
        while "could not remove" not in victim.notes():  # noqa: ASYNC110 - the file system is being asked
            await trio.sleep(0.05)
        assert len(await victim.containers()) == 2
        assert carriers(victim.mark)
        proxy.clear()
        await victim.until()
        assert victim.notes() == ""
    with trio.fail_after(GONE):
        await victim.until_alone()
