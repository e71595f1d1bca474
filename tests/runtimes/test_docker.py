"""What the Docker runtime makes of a daemon that contradicts itself, as a scripted one can be told to."""

from __future__ import annotations

import errno
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from attrs import evolve

from warmlane.errors import (
    ContainerFaultError,
    ContainerLostError,
    RuntimeRefusedError,
    RuntimeSilentError,
)
from warmlane.plan.model import Container
from warmlane.runtimes import docker as docker_module
from warmlane.runtimes import rundir
from warmlane.runtimes.docker import DockerRuntime, open_docker
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.protocol import Birth

NAME = "wl-1"


class World:
    """A daemon with at most one container. `orders` are answers that the next requests of that kind get instead."""

    def __init__(self) -> None:
        self.state = "none"
        self.orders: dict[str, list[tuple[int, str]]] = {}
        self.asked: list[str] = []

    async def __call__(self, exchange: Any) -> None:
        kind = self.kind_of(exchange.method, exchange.target.partition("?")[0])
        self.asked.append(kind)
        if self.orders.get(kind):
            status, said = self.orders[kind].pop(0)
            if status:
                await exchange.answer(status, {"message": said})
        elif kind == "version":
            await exchange.answer(200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"})
        elif kind == "image":
            await exchange.answer(200, {"Config": {"User": ""}})
        elif kind == "create":
            self.state = "created"
            await exchange.answer(201, {"Id": "abc"})
        elif self.state == "none":
            await exchange.answer(404, {"message": f"No such container: {NAME}"})
        elif kind == "inspect":
            await exchange.answer(200, self.inspected())
        else:
            after = {"start": "running", "pause": "paused", "unpause": "running", "stop": "exited", "remove": "none"}
            self.state = after[kind]
            await exchange.answer(200, {})

    @staticmethod
    def kind_of(method: str, path: str) -> str:
        if method == "DELETE":
            return "remove"
        last = path.rpartition("/")[2]
        return {"json": "image" if "/images/" in path else "inspect"}.get(last, last)

    def inspected(self) -> dict[str, Any]:
        return {
            "State": {
                "Status": self.state,
                "Running": self.state in ("running", "paused"),
                "Paused": self.state == "paused",
                "ExitCode": 0,
            },
            "HostConfig": {"Memory": 0},
        }


@pytest.fixture
def world(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DOCKER_HOST", daemon.address.text)
    for name in ("_SETTLING", "_REMOVING"):
        monkeypatch.setattr(docker_module, name, (0.001, 0.001))
    monkeypatch.setattr(docker_module, "_GHOST", 0.001)
    monkeypatch.setattr(docker_module, "_POLL", 0.001)
    daemon.script = world = World()
    return world


@pytest.fixture
async def runtime(world: World) -> AsyncIterator[DockerRuntime]:
    async with open_docker(session_id="contradictions", owner=owner_label()) as runtime:
        yield runtime
        await runtime.remove(NAME)


def birth() -> Birth:
    container = Container(image="x", transport="unix")
    return Birth(name=NAME, container=container, session_id="contradictions", owner="me", token="t")


@pytest.mark.parametrize("call", ["pause", "unpause"])
async def test_a_state_that_is_there_already_is_success_whatever_the_words(
    world: World, runtime: DockerRuntime, call: str
) -> None:
    world.state = "paused" if call == "pause" else "running"
    world.orders[call] = [(500, "Container abc is in a way that I have words for")]
    await getattr(runtime, call)(NAME)
    assert world.asked.count(call) == 1


@pytest.mark.parametrize("call", ["pause", "unpause"])
async def test_a_refusal_without_the_state_is_tried_again(world: World, runtime: DockerRuntime, call: str) -> None:
    """A daemon says 500 to what comes within milliseconds of its opposite."""
    world.state = "running" if call == "pause" else "paused"
    world.orders[call] = [(500, "cannot"), (500, "cannot")]
    await getattr(runtime, call)(NAME)
    assert world.state == ("paused" if call == "pause" else "running")
    assert world.asked.count(call) == 3


async def test_a_refusal_that_stays_is_told_in_the_words_of_the_daemon(world: World, runtime: DockerRuntime) -> None:
    world.state = "running"
    world.orders["pause"] = [(500, "no freezer cgroup")] * 9
    with pytest.raises(RuntimeRefusedError, match="could not pause a container: no freezer cgroup"):
        await runtime.pause(NAME)


async def test_a_container_that_died_meanwhile_is_lost(world: World, runtime: DockerRuntime) -> None:
    world.state = "exited"
    world.orders["pause"] = [(409, "Container abc is not running")]
    with pytest.raises(ContainerLostError, match="its agent exited with code 0"):
        await runtime.pause(NAME)


async def test_a_removal_that_others_have_begun_is_waited_for(world: World, runtime: DockerRuntime) -> None:
    world.state = "running"
    world.orders["remove"] = [(409, "removal of container wl-1 is already in progress")] * 20
    await runtime.remove(NAME)
    assert world.asked.count("remove") == 21
    assert world.state == "none"


async def test_a_removal_that_fails_is_tried_again_and_then_told(world: World, runtime: DockerRuntime) -> None:
    world.state = "running"
    world.orders["remove"] = [(500, "device or resource busy")] * 2
    await runtime.remove(NAME)
    world.state = "running"
    world.orders["remove"] = [(500, "device or resource busy")] * 3
    with pytest.raises(RuntimeRefusedError, match="device or resource busy"):
        await runtime.remove(NAME)


async def test_a_removal_is_over_when_the_container_is_gone_not_when_it_was_accepted(
    world: World, runtime: DockerRuntime
) -> None:
    world.state = "running"
    world.orders["remove"] = [(200, "")]
    await runtime.remove(NAME)
    assert world.asked[-4:] == ["remove", "inspect", "remove", "inspect"]


async def test_a_creation_that_was_not_answered_is_not_gone_at_the_first_404(
    world: World, runtime: DockerRuntime
) -> None:
    """It may appear after its removal has said that there is nothing."""
    world.orders["create"] = [(0, "")]
    with pytest.raises(RuntimeSilentError):
        await runtime.create(birth())
    world.orders["remove"] = [(404, "No such container")]
    world.orders["inspect"] = [(404, "No such container")]
    world.state = "created"
    await runtime.remove(NAME)
    assert world.state == "none"


async def test_an_image_that_vanished_is_looked_for_again(world: World, runtime: DockerRuntime) -> None:
    container = birth().container
    await runtime.prepare(container, lambda _progress: None)
    world.orders["create"] = [(404, "No such image: x:latest")]
    with pytest.raises(ContainerFaultError, match="No such image"):
        await runtime.create(birth())
    await runtime.remove(NAME)
    await runtime.prepare(container, lambda _progress: None)
    assert world.asked.count("image") == 2


@pytest.mark.parametrize("container", [{"transport": "unix"}, {"transport": "tcp", "port": 80}], ids=["agent", "none"])
async def test_the_run_directory_is_there_from_creation_to_removal(
    world: World, runtime: DockerRuntime, container: dict[str, Any]
) -> None:
    """Without an agent in the container, too, for it tells what a session has left."""
    await runtime.create(evolve(birth(), container=Container(image="x", **container)))
    (ours,) = [session for session in rundir.sessions() if session.session_id == "contradictions"]
    assert [path.name for path in ours.containers] == [NAME]
    await runtime.remove(NAME)
    (ours,) = [session for session in rundir.sessions() if session.session_id == "contradictions"]
    assert ours.containers == ()


async def test_a_run_directory_that_lost_owner_and_container_is_swept(
    daemon: Any, world: World, runtime: DockerRuntime
) -> None:
    """One whose container is still there stays, and so does one whose owner may live."""
    print_label = "from warmlane.runtimes.owner import owner_label; print(owner_label())"
    dead = (await trio.run_process([sys.executable, "-c", print_label], capture_stdout=True)).stdout.decode().strip()
    with_container, without = rundir.RunDirs("dead-1", dead), rundir.RunDirs("dead-2", dead)
    alive = rundir.RunDirs("living", "who.knows")
    paths = [with_container.make(NAME, {}), without.make("wl-2", {}), alive.make("wl-3", {})]
    about = {"Names": [f"/{NAME}"], "State": "running", "Labels": {"warmlane.session": "dead-1"}}

    async def script(exchange: Any) -> None:
        if exchange.target.startswith("/v1.41/containers/json"):
            await exchange.answer(200, [about])
        else:
            await world(exchange)

    daemon.script = script
    try:
        async with open_docker(session_id="sweeper", owner=owner_label()):
            assert [path.exists() for path in paths] == [True, False, True]
    finally:
        daemon.script = world
        for path in paths:
            with_container.drop(path.name)
        for session in (with_container, without, alive):
            session.close()


@pytest.mark.parametrize(
    ("owner", "hidden", "abandoned"), [("me", False, True), ("you", False, False), ("me", True, False)]
)
async def test_what_a_session_left_is_known_for_sure_or_not_at_all(
    daemon: Any, runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch, owner: str, hidden: bool, abandoned: bool
) -> None:
    """Under the same name somebody else may have one; and run directories may be closed to us."""
    dirs = rundir.RunDirs("ended", "me")
    dirs.make(NAME, {})
    dirs.close()
    labels = {"warmlane.session": "ended", "warmlane.owner": owner}

    async def script(exchange: Any) -> None:
        await exchange.answer(200, [{"Names": [f"/{NAME}"], "State": "running", "Labels": labels}])

    def refuse() -> None:
        raise PermissionError(errno.EACCES, "no")

    with monkeypatch.context() as patched:
        patched.setattr(daemon, "script", script)
        if hidden:
            patched.setattr(rundir, "sessions", refuse)
        assert [found.abandoned for found in await runtime.owned()] == [abandoned]
    dirs.drop(NAME)
    dirs.close()


async def test_a_full_disk_is_a_refusal(world: World, runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_self: object, _name: str, _config: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir.RunDirs, "make", make)
    with pytest.raises(RuntimeRefusedError, match="No space left"):
        await runtime.create(birth())


async def test_what_docker_cannot_run_is_said(runtime: DockerRuntime) -> None:
    assert "names no image" in str(runtime.vet(Container()))
    assert "not 'unix'" in str(runtime.vet(Container(image="x", port=80, transport="unix")))
    assert runtime.vet(Container(image="x", port=80, transport="tcp")) is None


async def test_an_exception_of_the_body_leaves_as_it_came(world: World) -> None:
    async def body() -> None:
        async with open_docker(session_id="crash", owner="me"):
            await trio.lowlevel.checkpoint()
            raise KeyError

    with pytest.raises(KeyError):
        await body()
    assert "crash" not in [session.session_id for session in rundir.sessions()]
