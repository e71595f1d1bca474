"""The engine's end of the reaper: it is started before the session makes anything, and replaced if it dies.

Leaving the context, however, tells it that all is well; it is gone then, and was waited for. That wait is shielded,
and bounded: a reaper that does not end at once is killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from attrs import define

from warmlane.nursery import open_service_nursery

_FIRST_RETRY = 0.1
_LONGEST_RETRY = 30.0
"""Seconds before a reaper that has just died is replaced again; from the first to the longest, twice as long each."""
_PARTING = 1.0  # seconds for it to end by itself; it needs milliseconds


@define
class _Process:
    """A reaper that runs, our child. `handle` is its pidfd."""

    popen: subprocess.Popen[bytes]
    handle: int

    async def ended(self) -> None:
        await trio.lowlevel.wait_readable(self.handle)

    def farewell(self) -> None:
        """Says that all is well."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):  # it has died in this very moment
            self.popen.stdin.write(b".")

    def forget(self) -> None:
        """It has ended, or been killed: nothing of it is left with us."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen.wait()
        os.close(self.handle)


class Reaper:
    """The reaper of one session, whichever process it is at the moment. Made by `open_reaper`."""

    def __init__(self, kind: str, session_id: str, say: Callable[[str], None]) -> None:
        self._orders = [kind, session_id]
        self._say = say
        self._environment = _environment()
        self._process: _Process | None = None

    @property
    def pid(self) -> int | None:
        """The process that waits for our end; None if there is none at the moment."""
        return None if self._process is None else self._process.popen.pid

    def start(self) -> bool:
        """Starts one, in a millisecond or two. It gets the pipe for its standard input, and nothing else of ours."""
        waiting = [sys.executable, "-I", "-S", str(Path(__file__).with_name("wait.py")), str(os.getpid())]
        reaping = [sys.executable, "-m", "warmlane.reaper", *self._orders]
        try:
            popen = subprocess.Popen(
                waiting + reaping,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=self._environment,
                start_new_session=True,  # Ctrl-C, and the end of the terminal, are not for it
            )
            try:
                self._process = _Process(popen, os.pidfd_open(popen.pid))
            except OSError:
                popen.kill()
                popen.communicate()
                raise
        except OSError as error:
            self._say(f"no reaper could be started ({error}): if this process is killed, run 'warmlane gc' after it")
            return False
        return True

    async def keep(self) -> None:
        """Replaces a reaper that has died, until cancelled."""
        retry = _FIRST_RETRY
        while True:
            if self._process is not None:
                began = trio.current_time()
                await self._process.ended()
                self._process.forget()
                self._process = None
                self._say("the reaper of this session has died; another one takes its place")
                if trio.current_time() - began > _LONGEST_RETRY:
                    retry = _FIRST_RETRY
            await trio.sleep(retry)
            retry = min(2 * retry, _LONGEST_RETRY)
            self.start()

    async def dismiss(self) -> None:
        """Ends it, as all is well; returns when it is gone. Shielded, and bounded."""
        process, self._process = self._process, None
        if process is None:
            return
        process.farewell()
        with trio.move_on_after(_PARTING, shield=True) as bound:
            await process.ended()
        if bound.cancelled_caught:
            process.popen.kill()
        process.forget()


@asynccontextmanager
async def open_reaper(kind: str, *, session_id: str, say: Callable[[str], None]) -> AsyncGenerator[Reaper]:
    """A reaper for a session on this kind of runtime (`docker`, `process`), from before the body to after it.

    say is told, in a sentence, when one has died or cannot be had; the session goes on.
    """
    reaper = Reaper(kind, session_id, say)
    reaper.start()
    try:
        async with open_service_nursery() as nursery:
            nursery.start_soon(reaper.keep, name="keeping the reaper")
            yield reaper
    finally:
        await reaper.dismiss()  # noqa: ASYNC102 - shielded and bounded itself


def _environment() -> Mapping[str, str]:
    """Ours as it is now, DOCKER_HOST and all; what we can import, the reaper can."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
