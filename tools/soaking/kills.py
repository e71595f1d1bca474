"""Kills engines with SIGKILL at random moments, many side by side; ten seconds later nothing may be left of any but its
reaper, which looks for a while whether something appears late; and some seconds later not that either.

An engine is a real `warmlane run`, over and over, of a plan whose containers are born, frozen and woken. What is left
is sought by others' eyes: processes by an environment variable that all that it starts inherits, run directories and
containers (by the daemon's own list) by the owner's label.
"""

import argparse
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from dockerd.api import Daemon
from images.recipes import WITH_PYTHON
from leaks import MARK
from run_tests import docker_environment
from warmlane.runtimes import rundir

WITHIN = 10.0
"""Seconds after which nothing may be left."""
REAPER_WITHIN = 30.0
"""Seconds after which the reaper, too, must have ended. Alone it needs some seven; here many share the machine."""
_MOMENTS = (0.2, 4.0)
"""Seconds after its start within which an engine is killed: from before its session to its third run."""
_PORTS = 10
_REAPER = b"warmlane.reaper"


@frozen
class Killing:
    """On `runtime`, so many engines, so many of them at once; the seed draws the moments."""

    runtime: str
    count: int
    at_once: int
    seed: int
    daemon: Daemon | None = None


def plan(runtime: str) -> dict[str, Any]:
    """Lanes of one and of two blocks, so that containers sleep and wake."""
    container = {"image": WITH_PYTHON.tag, "transport": "unix"} if runtime == "docker" else {"transport": "tcp"}
    names = ("a", "b", "c", "d")
    return {
        "name": "killed",
        "container": container,
        "blocks": {name: {"command": ["sleep", "0.4"]} for name in names},
        "lanes": [{"blocks": ["a", "b"]}, "c", "d"],
    }


async def kill_engines(killing: Killing) -> list[str]:
    """What was left, a sentence for each; empty is what everybody wants."""
    moments = random.Random(killing.seed)
    left: list[str] = []
    waiting = [moments.uniform(*_MOMENTS) for _ in range(killing.count)]

    with tempfile.TemporaryDirectory() as folder:
        document = await trio.Path(folder, "plan.json").absolute()
        await document.write_text(json.dumps(plan(killing.runtime)))

        async def work(number: int) -> None:
            while waiting:
                left.extend(await _kill_one(killing, document, number, waiting.pop()))

        async with trio.open_nursery() as nursery:
            for number in range(killing.at_once):
                nursery.start_soon(work, number)
    return left


async def _kill_one(killing: Killing, document: trio.Path, number: int, moment: float) -> list[str]:
    mark = secrets.token_hex(8)
    first = 9300 + _PORTS * number
    words = ["run", str(document), "--repeat", "1000", "--ports", f"{first}-{first + _PORTS - 1}"]
    engine = _start([*words, "--runtime", killing.runtime], mark)
    try:
        await trio.sleep(moment)
    finally:
        ended = engine.poll()
        engine.kill()
        engine.wait()
        killed = trio.current_time()
    with trio.CancelScope(shield=True):
        await trio.sleep(WITHIN)
        left = await trio.to_thread.run_sync(_left, mark, engine.pid, killing.daemon)
        left += await _reapers_left(mark, killed + REAPER_WITHIN)
    if ended is not None:
        left.append(f"it had ended by itself, with exit code {ended}")
    return [f"killed after {moment:.3f} s: {what}" for what in left]


def _start(words: list[str], mark: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "warmlane", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, MARK: mark},
        start_new_session=True,
    )


def _left(mark: str, pid: int, daemon: Daemon | None) -> list[str]:
    left = [f"process {words}" for words in _processes(mark)]
    left += [
        f"run directory {session.session_id} {[path.name for path in session.containers]}"
        for session in rundir.sessions()
        if session.owner.partition(".")[0] == str(pid)
    ]
    for container in daemon.containers("warmlane.owner") if daemon else ():
        if container["Labels"]["warmlane.owner"].partition(".")[0] == str(pid):
            left.append(f"container {container['Names']} ({container['State']})")
    return left


def _processes(mark: str) -> list[str]:
    """Those that carry the mark, but for a reaper at its work."""
    return [_words(pid, words) for pid, words in carriers(mark).items() if not _reaps(words)]


async def _reapers_left(mark: str, deadline: float) -> list[str]:
    """Those that have not ended by then."""
    while True:
        found = await trio.to_thread.run_sync(carriers, mark)
        left = [_words(pid, words) for pid, words in found.items() if _reaps(words)]
        if not left or trio.current_time() > deadline:
            return [f"reaper after {REAPER_WITHIN:g} s: {words}" for words in left]
        await trio.sleep(1)


def _reaps(words: bytes) -> bool:
    return _REAPER in words.split(b"\0")


def _words(pid: int, words: bytes) -> str:
    return f"{pid}: {words.replace(bytes(1), b' ').decode(errors='replace')}"


def carriers(mark: str) -> dict[int, bytes]:
    """The processes that carry the mark, by pid, with their command lines as the kernel has them."""
    found: dict[int, bytes] = {}
    entry = f"{MARK}={mark}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if entry in (process / "environ").read_bytes().split(b"\0"):
                    found[int(process.name)] = (process / "cmdline").read_bytes()
            except OSError:
                continue  # it ended while we looked
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line may say."""
    parser.add_argument("--runtime", choices=["docker", "process"], default="process")
    parser.add_argument("--count", type=int, default=1000, help="how many engines (1000)")
    parser.add_argument("--at-once", type=int, default=20, help="how many of them side by side (20)")
    parser.add_argument("--seed", type=int, default=None, help="draws the moments; a new one each time")


def run(asked: argparse.Namespace) -> list[str]:
    """Kill, and tell what was left."""
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    print(f"killing {asked.count} engines on {asked.runtime}, seed {seed}", flush=True)
    if asked.runtime == "process":
        return trio.run(kill_engines, Killing("process", asked.count, asked.at_once, seed))
    with docker_environment() as environment:
        os.environ["DOCKER_HOST"] = environment["DOCKER_HOST"]
        daemon = Daemon(environment["DOCKER_HOST"])
        return trio.run(kill_engines, Killing("docker", asked.count, asked.at_once, seed, daemon))
