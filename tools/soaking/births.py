"""Cancels containers at random moments of their birth, many at once, again and again; none may be left.

A round is a session on Docker. Its containers come in waves, as many as the cap allows; each is wanted by an execution
of its own and serves no other, so a wave takes the places of the one before. Executions are aborted, or their scopes
cancelled, at random: while they stand in line, while the daemon creates or starts their containers, or when their
blocks run. When that has settled, the pool's own list must be the daemon's. While the last wave is born the session is
left, or cancelled; the daemon's list must hold none of its containers afterwards.
"""

import argparse
import os
import random
import secrets
from collections.abc import Callable

import trio
from attrs import define, field

from dockerd.api import Daemon
from images.recipes import WITH_PYTHON
from leaks import Holdings, leaks_since, mark_processes
from run_tests import docker_environment
from warmlane import Block, LeftBehindError, ParallelLane, Report, Session, Settings, WorkflowPlan, open_session
from warmlane.events import BlockStarted, ContainerStateChanged
from warmlane.plan.model import Container
from warmlane.runtimes.owner import owner_label

CAP = 20
_AFTERWARDS = 0.3
"""Seconds that pass, at most, between the birth of another container, or the start of a block, and a cancellation."""
_PATIENCE = 300.0


@define
class Round:
    """What a round has found: what broke, how many containers began to live, how many births its end has cut."""

    seed: int
    broken: list[str] = field(factory=list[str])
    born: int = 0
    cut: int = 0


async def cancel_births(daemon: Daemon, count: int, seed: int) -> Round:
    """One round of so many containers, a multiple of CAP, on the daemon that DOCKER_HOST names."""
    print(f"cancelling {count} births, seed {seed}", flush=True)
    found = Round(seed)
    draw = random.Random(seed)
    with trio.fail_after(_PATIENCE), trio.CancelScope() as whole:
        try:
            async with open_session("docker", settings=Settings(max_containers=CAP)) as session:
                label = f"warmlane.session={session.id}"
                async with trio.open_nursery() as nursery:
                    progress = Progress()
                    nursery.start_soon(progress.follow, session)
                    for wave in range(count // CAP - 1):
                        await _end_each(session, progress, draw, wave, found)
                        await progress.until(lambda: _quiet(session))
                        found.broken += await _compare(session, daemon, label)
                    found.cut = await _begin(session, progress, draw, count // CAP - 1)
                    found.born = progress.begun
                    if draw.random() < 0.5:
                        whole.cancel()
                    nursery.cancel_scope.cancel()
        except* LeftBehindError as error:
            found.broken.append(f"{error} was raised")
    there = await trio.to_thread.run_sync(_names, daemon, f"warmlane.owner={owner_label()}")
    found.broken += [f"{name} is still there" for name in there]
    return found


@define
class Progress:
    """How many containers have begun to live, how many births are over, which blocks have started."""

    begun: int = 0
    healthy: int = 0
    started: set[str] = field(factory=set[str])
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def follow(self, session: Session) -> None:
        """Listens to the session."""
        with session.events(whole=True) as feed:
            async for envelope in feed:
                event = envelope.event
                if isinstance(event, ContainerStateChanged):
                    self.begun += event.from_state is None
                    self.healthy += event.from_state == "starting" and event.to_state == "idle"
                elif isinstance(event, BlockStarted):
                    self.started.add(event.block_id)
                self._changed.unpark_all()

    async def until(self, so: Callable[[], bool]) -> None:
        """Returns when it is so."""
        while not so():
            await self._changed.park()


async def _end_each(session: Session, progress: Progress, draw: random.Random, wave: int, found: Round) -> None:
    """A wave of executions, each of which is ended when a random number of births are over, or its own is."""

    async def moment(block_id: str, births: int, later: float) -> None:
        await progress.until(lambda: progress.healthy >= births or block_id in progress.started)
        await trio.sleep(later)

    async def abort(block_id: str, births: int, later: float) -> None:
        execution = session.start(_plan(block_id))
        await moment(block_id, births, later)
        execution.abort()
        check(await execution.wait())

    async def cancel(block_id: str, births: int, later: float) -> None:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                check(await session.run(_plan(block_id)))

            nursery.start_soon(run)
            await moment(block_id, births, later)
            nursery.cancel_scope.cancel()

    def check(report: Report) -> None:
        if report.status != "aborted":
            found.broken.append(f"a run that was to be ended was {report.status}: {report.results[0].error}")

    before = progress.healthy
    async with trio.open_nursery() as nursery:
        for number in range(CAP):
            births, later = before + draw.randrange(CAP), draw.uniform(0, _AFTERWARDS)
            nursery.start_soon(draw.choice((abort, cancel)), f"b{wave}-{number}", births, later)


async def _begin(session: Session, progress: Progress, draw: random.Random, wave: int) -> int:
    """A wave that is left to itself when a random number of its births are over. How many are under way then."""
    begun, births = progress.begun, progress.healthy + draw.randrange(CAP)
    for number in range(CAP):
        session.start(_plan(f"b{wave}-{number}"))
    await progress.until(lambda: progress.begun > begun and progress.healthy >= births)
    await trio.sleep(draw.uniform(0, _AFTERWARDS))
    return sum(record.phase == "starting" for record in session.pool_status().containers)


def _quiet(session: Session) -> bool:
    """Whether all containers sleep, and nobody wants one."""
    status = session.pool_status()
    return status.waiting == 0 and all(record.phase == "dormant" for record in status.containers)


async def _compare(session: Session, daemon: Daemon, label: str) -> list[str]:
    known = sorted(record.name for record in session.pool_status().containers)
    there = sorted(await trio.to_thread.run_sync(_names, daemon, label))
    return [] if known == there else [f"the session knows {known}, asleep all of them; the daemon {there}"]


def _plan(block_id: str) -> WorkflowPlan:
    """One long block, in a container that is like no other."""
    return WorkflowPlan(
        name="cancelled",
        lanes=(ParallelLane(blocks=[block_id]),),
        blocks={block_id: Block(command=("sleep", "600"))},
        container=Container(image=WITH_PYTHON.tag, transport="unix", env={"ONLY_FOR": block_id}),
    )


def _names(daemon: Daemon, label: str) -> list[str]:
    """What the daemon lists, with its state if that is none in which a container may stay."""
    return [
        container["Names"][0].removeprefix("/") + ("" if container["State"] == "paused" else f" ({container['State']})")
        for container in daemon.containers(label)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line may say."""
    parser.add_argument("--rounds", type=int, default=100, help="how many rounds (100)")
    parser.add_argument("--count", type=int, default=60, help=f"how many containers in each, some times {CAP} (60)")
    parser.add_argument("--seed", type=int, default=None, help="draws the moments of the first round, and so on up")


def run(asked: argparse.Namespace) -> list[str]:
    """Cancel, and tell what was left, processes, threads and files too."""
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    left: list[str] = []
    born = cut = 0
    with docker_environment() as environment:
        os.environ["DOCKER_HOST"] = environment["DOCKER_HOST"]
        daemon = Daemon(environment["DOCKER_HOST"])
        mark_processes()
        before = Holdings.now()
        for number in range(asked.rounds):
            found = trio.run(cancel_births, daemon, asked.count, seed + number)
            new = [f"seed {found.seed}: {what}" for what in found.broken + leaks_since(before)]
            print(*new, sep="\n", end="\n" if new else "")
            left += new
            born, cut = born + found.born, cut + found.cut
            print(
                f"{number + 1} rounds of {asked.count}: {born} containers, {cut} births cut by the end of a session, "
                f"{len(left)} left",
                flush=True,
            )
    return left
