"""The reaper on local processes: when it acts, when it does not, and what it outlives."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import warmlane
from warmlane.events import SessionNotice
from warmlane.reaper.service import open_reaper

WITHIN = 10.0


def test_nothing_is_left_of_a_killed_engine(start_engine: Callable[..., Any]) -> None:
    """Blocks, agents and run directories; and the reaper, which has done its work, goes too."""
    engine = start_engine()
    engine.kill()
    assert engine.gone(seconds=WITHIN), engine.left()
    deadline = time.monotonic() + WITHIN
    while engine.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert engine.processes() == {}


def test_nor_of_a_frozen_one(start_engine: Callable[..., Any]) -> None:
    """Agents that are stopped, as dormant ones are, cannot see their engine die."""
    engine = start_engine()
    engine.popen.send_signal(signal.SIGSTOP)
    for pid, words in engine.processes().items():
        if "warmlane_agent" in words:
            os.kill(pid, signal.SIGSTOP)
    engine.kill()
    assert engine.gone(seconds=WITHIN), engine.left()


def test_the_other_session_lives_on(start_engine: Callable[..., Any]) -> None:
    """All that the other one had is still there when nothing of the killed one is: the same processes."""
    killed, other = start_engine(), start_engine()
    before = other.processes()
    killed.kill()
    assert killed.gone(seconds=WITHIN), killed.left()
    assert other.processes() == before
    assert other.popen.poll() is None


def test_signals_that_ask_do_not_end_it(start_engine: Callable[..., Any]) -> None:
    """Whoever sends them to all leaves the engine time to clean up; until then there is a reaper."""
    engine = start_engine()
    reaper = engine.reaper
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(reaper, number)
    engine.kill()
    assert engine.gone(seconds=WITHIN), engine.left()


def test_it_is_not_in_the_engine_s_session(start_engine: Callable[..., Any]) -> None:
    engine = start_engine()
    assert os.getsid(engine.reaper) == engine.reaper


def test_a_fork_that_inherited_the_pipe_does_not_hold_it_up(start_engine: Callable[..., Any]) -> None:
    """A child that was forked without exec has all descriptors of the engine, and outlives it."""
    engine = start_engine("os.fork() or time.sleep(100)")
    engine.kill()
    deadline = time.monotonic() + WITHIN
    while len(engine.left()) != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    (forked,) = engine.left()
    assert "sleepers" in forked
    os.kill(int(forked.partition(":")[0]), signal.SIGKILL)


async def test_nobody_else_holds_its_pipe() -> None:
    """The end of the engine is the end of the pipe only if no agent or block has a copy of its other end."""
    plan = {
        "name": "look",
        "container": {"transport": "unix"},
        "blocks": {"a": {"command": ["sleep", "100"]}},
        "lanes": ["a"],
    }
    async with warmlane.open_session("process") as session, trio.open_nursery() as nursery:
        with session.events() as feed:
            nursery.start_soon(session.run, plan)
            async for envelope in feed:
                if envelope.event.channel == "execution:block-start":
                    break
        pipes = {os.readlink(f"/proc/{_waiting(session.id)}/fd/0")}
        holders = {pid for pid in _pids() if pipes & set(_descriptors(pid))}
        assert holders == {os.getpid(), _waiting(session.id)}
        nursery.cancel_scope.cancel()


async def test_when_it_dies_another_one_takes_its_place(caplog: pytest.LogCaptureFixture) -> None:
    async with warmlane.open_session("process") as session:
        first = _waiting(session.id)
        with session.events() as feed, trio.fail_after(20):
            os.kill(first, signal.SIGKILL)
            async for envelope in feed:
                if isinstance(envelope.event, SessionNotice):
                    break
            while not (now := [pid for pid in _reapers(session.id) if pid != first]):  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
        assert len(now) == 1
    assert "the reaper of this session has died; another one takes its place" in caplog.text


async def test_a_session_goes_on_without_one_until_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/nowhere/python")
            reaper = await stack.enter_async_context(open_reaper("process", session_id="s1", say=said.append))
        assert reaper.pid is None
        assert said[0].startswith("no reaper could be started ([Errno 2] No such file or directory")
        with trio.fail_after(10):
            while reaper.pid is None:  # noqa: ASYNC110 - it is the process table that is being watched
                await trio.sleep(0.01)


async def test_it_is_gone_as_soon_as_the_session_is() -> None:
    """Also when it had no time to start properly; the common fixture sees that it was waited for."""
    for _ in range(5):
        async with open_reaper("process", session_id="s1", say=print) as reaper:
            pid = reaper.pid
        assert pid not in _pids()


async def test_cancelling_is_a_regular_end() -> None:
    with trio.move_on_after(0.2) as scope:
        async with open_reaper("process", session_id="s1", say=print):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_one_that_does_not_end_is_killed() -> None:
    async with open_reaper("process", session_id="s1", say=print) as reaper:
        pid = reaper.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    assert pid not in _pids()


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _descriptors(pid: int) -> list[str]:
    found: list[str] = []
    with suppress(OSError):  # it has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # that descriptor is closed again
                found.append(os.readlink(entry))
    return found


def _reapers(session_id: str) -> list[int]:
    found: list[int] = []
    for pid in _pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if session_id.encode() in words and any(word.endswith(b"wait.py") for word in words):
            found.append(pid)
    return found


def _waiting(session_id: str) -> int:
    """The one that waits. A process that has just been started has no words yet."""
    deadline = time.monotonic() + WITHIN
    while len(found := _reapers(session_id)) != 1:
        assert time.monotonic() < deadline, found
        time.sleep(0.001)
    return found[0]
