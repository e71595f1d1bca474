"""Cancels containers at random moments of their birth, many at once, again and again; none may be left.

Each container is wanted by a task of its own, whose scope is cancelled after a random time: before its create is sent,
while the daemon works on it, while it starts, or when it is just healthy. Afterwards the session is left, and the
daemon's own list must hold none of its containers.
"""

import argparse
import os
import random
import secrets

import trio

from dockerd.api import Daemon
from images.recipes import WITH_PYTHON
from leaks import Holdings, leaks_since, mark_processes
from run_tests import docker_environment
from warmlane.plan.model import Container
from warmlane.runtimes.docker import open_docker
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Birth, Runtime

_LATEST = 1.5
"""Seconds after which the last of them is cancelled; 60 births side by side take some three."""
_REMOVAL = 30.0


async def cancel_births(daemon: Daemon, count: int, seed: int) -> list[str]:
    """One round on the daemon that DOCKER_HOST names. What was left, a sentence for each."""
    moments = random.Random(seed)
    session_id = secrets.token_hex(4)
    unconfirmed: list[str] = []

    async def live(runtime: Runtime, name: str, moment: float) -> None:
        birth = Birth(
            name=name,
            container=Container(image=WITH_PYTHON.tag, transport="unix"),
            session_id=session_id,
            owner=owner_label(),
            token=secrets.token_hex(8),
        )
        try:
            with trio.move_on_after(moment):
                await runtime.create(birth)
                await runtime.start(name)
                await trio.sleep_forever()
        finally:
            with trio.move_on_after(_REMOVAL, shield=True) as bound:
                await runtime.remove(name)
            if bound.cancelled_caught:
                unconfirmed.append(f"the removal of {name} was not confirmed in {_REMOVAL:g} s")

    async with open_docker(session_id=session_id, owner=owner_label()) as runtime, trio.open_nursery() as nursery:
        for number in range(count):
            name = f"warmlane-{session_id}-{number}"
            nursery.start_soon(live, runtime, name, moments.uniform(0, _LATEST))
    there = await trio.to_thread.run_sync(daemon.containers, f"warmlane.session={session_id}")
    return unconfirmed + [f"{container['Names']} is still there ({container['State']})" for container in there]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line may say."""
    parser.add_argument("--rounds", type=int, default=100, help="how many rounds (100)")
    parser.add_argument("--count", type=int, default=60, help="how many containers in each (60)")
    parser.add_argument("--seed", type=int, default=None, help="draws the moments of the first round, and so on up")


def run(asked: argparse.Namespace) -> list[str]:
    """Cancel, and tell what was left, threads and files too."""
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    left: list[str] = []
    with docker_environment() as environment:
        os.environ["DOCKER_HOST"] = environment["DOCKER_HOST"]
        daemon = Daemon(environment["DOCKER_HOST"])
        mark_processes()
        before = Holdings.now(daemon)
        for number in range(asked.rounds):
            found = trio.run(cancel_births, daemon, asked.count, seed + number)
            left += [f"round {number} (seed {seed + number}): {what}" for what in found]
            print(f"{number + 1} rounds of {asked.count}, {len(left)} left", flush=True)
        return left + leaks_since(before, daemon)
