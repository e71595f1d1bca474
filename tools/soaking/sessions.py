"""Opens and leaves sessions in one process, one after the other; nothing may be left, and memory may not grow.

Each session runs a small plan twice, so that containers are born, frozen, woken and removed. The memory of the process
after the last session is compared with that after the tenth.
"""

import argparse
import gc
import os
from pathlib import Path
from typing import Any

import trio

import warmlane
from dockerd.api import Daemon
from images.recipes import WITH_PYTHON
from leaks import Holdings, leaks_since, mark_processes
from run_tests import docker_environment
from warmlane.plan.model import WorkflowPlan

GROWTH = 0.05
"""At most this share may the memory grow after the tenth session."""
_SETTLED = 10


def small_plan(runtime: str) -> WorkflowPlan:
    """Three blocks in two lanes."""
    container: dict[str, Any] = {"transport": "unix"}
    if runtime == "docker":
        container["image"] = WITH_PYTHON.tag
    return warmlane.read_plan(
        {
            "name": "small",
            "container": container,
            "blocks": {name: {"command": ["echo", name]} for name in ("a", "b", "c")},
            "lanes": [{"blocks": ["a", "b"]}, "c"],
        }
    )


async def live_sessions(runtime: str, count: int) -> list[str]:
    """So many sessions; what broke, a sentence for each."""
    plan = small_plan(runtime)
    broken: list[str] = []
    settled = 0
    for number in range(1, count + 1):
        async with warmlane.open_session(runtime) as session:
            for _ in range(2):
                report = await session.run(plan)
                if report.status != "completed":
                    broken.append(f"session {number}: {[result.error for result in report.results]}")
        if number == _SETTLED:
            settled = memory()
    grown = memory() / settled - 1 if settled else 0.0
    print(f"{count} sessions on {runtime}: {memory() / 2**20:.1f} MiB, {grown:+.1%} since the tenth", flush=True)
    if grown > GROWTH:
        broken.append(f"the memory has grown by {grown:.1%} after the tenth session")
    return broken


def memory() -> int:
    """The memory that this process alone has, in bytes."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith("Private_")]
    return 1024 * sum(int(field[1]) for field in fields)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line may say."""
    parser.add_argument("--runtime", choices=["docker", "process"], default="process")
    parser.add_argument("--count", type=int, default=100, help="how many sessions (100)")


def run(asked: argparse.Namespace) -> list[str]:
    """Live, and tell what broke or was left."""
    mark_processes()
    if asked.runtime == "process":
        before = Holdings.now()
        return trio.run(live_sessions, "process", asked.count) + leaks_since(before)
    with docker_environment() as environment:
        os.environ["DOCKER_HOST"] = environment["DOCKER_HOST"]
        daemon = Daemon(environment["DOCKER_HOST"])
        before = Holdings.now(daemon)
        return trio.run(live_sessions, "docker", asked.count) + leaks_since(before, daemon)
