"""What a session could not remove is removed by the next one, or by `warmlane gc`, though its process lives on;
and so is what is left of an engine that was killed together with its reaper."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import frozen

import warmlane
from leaks import MARK
from soaking.kills import carriers
from warmlane.runtimes import open_runtime, rundir
from warmlane.runtimes.docker import DockerRuntime
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.process import ProcessRuntime
from warmlane.runtimes.protocol import Found
from warmlane.session import Session
from warmlane.settings import Graces, Settings

PROGRAM = [sys.executable, "-P", "-m", "warmlane"]
_SLEEPS = re.compile(rb"sleep\0")


@frozen
class Ground:
    """One kind of runtime, on which some containers cannot be removed."""

    kind: str
    image: str | None
    monkeypatch: pytest.MonkeyPatch

    def plan(self, *command: str) -> dict[str, Any]:
        """One block."""
        container = {"transport": "unix", **({"image": self.image} if self.image else {})}
        return {"name": "one", "container": container, "blocks": {"a": {"command": command}}, "lanes": ["a"]}

    def session(self, **more: Any) -> Any:
        return warmlane.open_session(self.kind, **more)

    async def owned(self, *session_ids: str) -> dict[str, Found]:
        """What somebody sees who has no session: the containers of these sessions, or of all."""
        async with open_runtime(self.kind, session_id="observer", owner=owner_label()) as observer:
            found = await observer.owned()
        return {each.name: each for each in found if not session_ids or each.session_id in session_ids}

    async def leave_behind(self) -> str:
        """A session ends, and its one container is there still; its name."""
        settings = Settings(pause_grace=0.02, graces=Graces(remove=0.5))

        async def never(_runtime: object, _name: str) -> None:
            await trio.sleep_forever()

        async def use(patched: pytest.MonkeyPatch) -> None:
            async with self.session(settings=settings) as session:
                await session.run(self.plan("true"))
                await self.until(session, "dormant")
                patched.setattr({"docker": DockerRuntime, "process": ProcessRuntime}[self.kind], "remove", never)

        with self.monkeypatch.context() as patched, pytest.raises(warmlane.LeftBehindError) as caught:
            await use(patched)
        (name,) = caught.value.names
        assert (await self.owned())[name].abandoned
        return name

    async def until(self, session: Session, phase: str) -> str:
        """Waits until its one container is in this phase; the name."""
        with trio.fail_after(20), session.events() as feed:
            while [each.phase for each in session.pool_status().containers] != [phase]:
                await feed.receive()
        return session.pool_status().containers[0].name

    async def gone(self, name: str) -> None:
        """Waits for it."""
        with trio.fail_after(20):
            while name in await self.owned():  # noqa: ASYNC110 - it is the host that is being asked
                await trio.sleep(0.02)

    async def gc(self) -> str:
        """What `warmlane gc` says, in a process of its own."""
        with trio.fail_after(60):
            done = await trio.run_process([*PROGRAM, "gc", "--runtime", self.kind], capture_stdout=True)
        return str(done.stdout.decode())

    async def die(self, folder: Path) -> tuple[str, str]:
        """An engine, its reaper and what else it has on this machine are killed, but for a block that runs, if it is a
        process here; another container is dormant. The session, and the mark of its processes."""
        lanes = [{"blocks": ["a", "b"]}, "c"]
        blocks = {"a": {"command": ["true"]}, "b": {"command": ["true"]}, "c": {"command": ["sleep", "300"]}}
        (folder / "victim.json").write_text(json.dumps(self.plan() | {"blocks": blocks, "lanes": lanes}))
        words = [*PROGRAM, "run", str(folder / "victim.json"), "--runtime", self.kind, "--json"]
        mark = secrets.token_hex(8)
        with subprocess.Popen(  # noqa: ASYNC220 - it is there at once
            words, stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: mark}
        ) as popen:
            try:
                assert popen.stdout is not None
                heard = map(_works_and_sleeps, iter(popen.stdout.readline, ""))
                execution_id = await trio.to_thread.run_sync(lambda: next(filter(None, heard)))
                while self.kind == "process" and not any(map(_SLEEPS.match, carriers(mark).values())):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                popen.send_signal(signal.SIGSTOP)  # so that it starts no other reaper
                for pid, command in carriers(mark).items():
                    if pid != popen.pid and not _SLEEPS.match(command):
                        os.kill(pid, signal.SIGKILL)
            finally:
                popen.kill()
        return execution_id.rpartition("-")[0], mark

    @asynccontextmanager
    async def neighbour(self, folder: Path) -> AsyncGenerator[str]:
        """The id of a session in another process, in which a block runs; it is asked to end, and has not been hurt."""
        (folder / "plan.json").write_text(json.dumps(self.plan("sleep", "300")))
        words = [*PROGRAM, "run", str(folder / "plan.json"), "--runtime", self.kind, "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as popen:  # noqa: ASYNC220 - it is there at once
            try:
                assert popen.stdout is not None
                heard = iter(popen.stdout.readline, "")
                line = await trio.to_thread.run_sync(lambda: next(x for x in heard if "execution:block-start" in x))
                yield json.loads(line)["executionId"].rpartition("-")[0]
                popen.send_signal(signal.SIGINT)
                rest, _ = await trio.to_thread.run_sync(popen.communicate)
                assert popen.returncode == 3
                assert '"reason":"aborted"' in rest
            finally:
                popen.kill()


def _works_and_sleeps(line: str) -> str | None:
    """The id of the execution, if this event shows that one container runs its last block, and the other is frozen."""
    containers = json.loads(line)["payload"].get("containers", ())
    if sorted((each["phase"], each["blockId"]) for each in containers) != [("dormant", None), ("running", "c")]:
        return None
    return str(next(each["executionId"] for each in containers if each["blockId"]))


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def ground(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ground:
    kind: str = request.param
    if kind == "process":
        return Ground(kind, None, monkeypatch)
    monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_url"))
    request.getfixturevalue("no_container_left")
    return Ground(kind, request.getfixturevalue("python_image"), monkeypatch)


async def test_the_next_session_of_the_same_process_removes_it(ground: Ground) -> None:
    name = await ground.leave_behind()
    async with ground.session():
        await ground.gone(name)


async def test_warmlane_gc_removes_it(ground: Ground) -> None:
    """In another process, while this one, the owner, lives."""
    name = await ground.leave_behind()
    assert f"{ground.kind}: removed {name}" in (await ground.gc()).splitlines()
    assert name not in await ground.owned()


async def test_the_next_session_removes_all_of_an_engine_that_was_killed_together_with_its_reaper(
    ground: Ground, tmp_path: Path
) -> None:
    """A container in which a block runs still, and a frozen one; nothing of another process's session, which lives."""
    async with ground.neighbour(tmp_path) as neighbour:
        alive = await ground.owned(neighbour)
        assert [found.state for found in alive.values()] == ["running"]
        dead, mark = await ground.die(tmp_path)
        assert len(await ground.owned(dead)) == {"docker": 2, "process": 1}[ground.kind]
        assert len(carriers(mark)) == {"docker": 0, "process": 1}[ground.kind]
        try:
            async with ground.session():
                with trio.fail_after(20):
                    while await ground.owned(dead) or carriers(mark):  # noqa: ASYNC110 - the host is being asked
                        await trio.sleep(0.02)
        finally:
            for pid in carriers(mark):
                os.kill(pid, signal.SIGKILL)
        assert dead not in [session.session_id for session in rundir.sessions()]
        assert await ground.owned(neighbour) == alive


async def test_what_lives_beside_it_is_not_touched(ground: Ground, tmp_path: Path) -> None:
    """Two sessions of the same process, and one of another."""
    async with ground.session() as one, ground.session() as two, ground.neighbour(tmp_path) as third:
        executions = [session.start(ground.plan("sleep", "300")) for session in (one, two)]
        for session in (one, two):
            await ground.until(session, "running")
        alive = await ground.owned(one.id, two.id, third)
        assert [(found.state, found.abandoned) for found in alive.values()] == [("running", False)] * 3

        left = await ground.leave_behind()
        async with ground.session():
            await ground.gone(left)
        left = await ground.leave_behind()
        assert f"{ground.kind}: removed {left}" in await ground.gc()

        assert await ground.owned(one.id, two.id, third) == alive
        for session, execution in zip((one, two), executions, strict=True):
            assert await ground.until(session, "running") in alive
            execution.abort()
            assert [result.reason for result in (await execution.wait()).results] == ["aborted"]
