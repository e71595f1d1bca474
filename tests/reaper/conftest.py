"""Engines that are killed: real programs in processes of their own, and what is left of them."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define

from leaks import MARK
from warmlane.runtimes import rundir

SLEEPER = """
import os, time, trio, warmlane
PLAN = {"name": "sleepers", "lanes": [{"blocks": ["a", "b"]}], "container": {"transport": "unix"},
        "blocks": {"a": {"command": ["sleep", "100"]}, "b": {"command": ["sleep", "100"]}}}
async def main():
    async with warmlane.open_session("process") as session:
        execution = session.start(PLAN)
        with session.events() as feed:
            started = 0
            async for envelope in feed:
                started += envelope.event.channel == "execution:block-start"
                if started == 2:
                    break
        %s
        print(session.id, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@define
class Engine:
    """A program with a session in it, in which two blocks run. All its processes carry its mark."""

    popen: subprocess.Popen[str]
    mark: str
    session_id: str

    def processes(self) -> dict[int, str]:
        """What it has started, and itself, and what they have started: pid and command line."""
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue  # it ended while we looked
        return found

    @property
    def reaper(self) -> int:
        """The process that waits for its end."""
        (pid,) = [pid for pid, words in self.processes().items() if "wait.py" in words]
        return pid

    def left(self) -> list[str]:
        """What there is of it, in words. Its reaper is not counted, which looks again for some seconds."""
        sessions = [session for session in rundir.sessions() if session.session_id == self.session_id]
        processes = [f"{pid}: {words}" for pid, words in self.processes().items() if "warmlane.reaper" not in words]
        return processes + [str(session) for session in sessions]

    def kill(self) -> None:
        """SIGKILL, and waits for it."""
        self.popen.kill()
        self.popen.wait()

    def end(self) -> None:
        """Ctrl-C, as it were, if it still runs; the session is left in the regular way."""
        self.popen.send_signal(signal.SIGINT)
        self.popen.communicate(timeout=20)

    def wait_for_blocks(self) -> None:
        """Returns when both blocks run."""
        deadline = time.monotonic() + 20
        while [*self.processes().values()].count("sleep 100 ") != 2:
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.01)

    def gone(self, *, seconds: float) -> bool:
        """Whether nothing of it is left within this time."""
        deadline = time.monotonic() + seconds
        while self.left():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@pytest.fixture
def start_engine() -> Iterator[Callable[..., Engine]]:
    """Starts engines; an extra statement may be given, which runs in it when both blocks do."""
    engines: list[Engine] = []

    def start(extra: str = "") -> Engine:
        mark = secrets.token_hex(8)
        popen = subprocess.Popen(
            [sys.executable, "-P", "-c", SLEEPER % extra],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # what Python says of the interrupt
            text=True,
            env={**os.environ, MARK: mark},
        )
        assert popen.stdout is not None
        engine = Engine(popen, mark, popen.stdout.readline().strip())
        engines.append(engine)
        engine.wait_for_blocks()
        return engine

    yield start
    for engine in engines:
        engine.end()
