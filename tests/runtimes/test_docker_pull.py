"""Pulling what is missing: once, with progress, and with the daemon's words when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

from warmlane.errors import ContainerFaultError
from warmlane.events import PullProgress
from warmlane.runtimes.docker_calls import Calls
from warmlane.runtimes.docker_pull import Images, PullMeter


@pytest.fixture
def images(daemon: Any) -> Iterator[Images]:
    calls = Calls(daemon.address, "1.41")
    yield Images(calls)
    calls.close()


class Registry:
    """Script of a daemon that does not have image `x`, and can pull it, step by step."""

    def __init__(self) -> None:
        self.here = False
        self.pulls = 0
        self.hangs_up = 0
        self.may_finish = trio.Event()
        self.pulling = trio.Event()
        self.last_words: dict[str, Any] = {"status": "Status: Downloaded newer image for x:latest"}

    async def __call__(self, exchange: Any) -> None:
        if exchange.method == "GET":
            if self.here:
                await exchange.answer(200, {"Config": {"User": "app"}})
            else:
                await exchange.answer(404, {"message": "No such image: x:latest"})
            return
        self.pulls += 1
        await exchange.begin()
        await exchange.line(status="Pulling from library/x", id="latest")
        await exchange.line(status="Downloading", progressDetail={"current": 10, "total": 100}, id="a")
        self.pulling.set()
        with trio.move_on_after(0.05 if self.may_finish.is_set() else 60) as scope:
            async with trio.open_nursery() as nursery:

                async def notice() -> None:
                    await exchange.hung_up()
                    self.hangs_up += 1
                    scope.cancel()

                nursery.start_soon(notice)
                await self.may_finish.wait()
                nursery.cancel_scope.cancel()
        if not self.may_finish.is_set():
            return
        self.here = "error" not in self.last_words
        await exchange.line(**self.last_words)
        await exchange.end()


def ignore(_progress: PullProgress) -> None:
    pass


async def test_an_image_that_is_there_is_not_pulled_and_asked_for_once(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    registry.here = True
    heard: list[PullProgress] = []
    await images.prepare("x", heard.append)
    await images.prepare("x", heard.append)
    assert daemon.requests == ["GET /v1.41/images/x/json"]
    assert heard == []
    assert images.user_of("x") == "app"


async def test_a_missing_image_is_pulled_with_progress_from_beginning_to_end(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    registry.may_finish.set()
    heard: list[PullProgress] = []
    await images.prepare("x", heard.append)
    assert heard == [
        PullProgress(image="x", status="pulling"),
        PullProgress(image="x", status="downloading", current=10, total=100),
        PullProgress(image="x", status="complete", current=10, total=100),
    ]
    assert "POST /v1.41/images/create?tag=latest&fromImage=x" in daemon.requests


async def test_however_many_ask_it_is_pulled_once_and_all_hear_the_progress(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    heard: list[list[PullProgress]] = [[], [], []]
    async with trio.open_nursery() as nursery:
        for each in heard:
            nursery.start_soon(images.prepare, "x", each.append)
        await registry.pulling.wait()
        registry.may_finish.set()
    assert registry.pulls == 1
    assert [each[-1].status for each in heard] == ["complete"] * 3


async def test_a_failing_pull_fails_all_who_asked_with_the_words_of_the_daemon(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    registry.last_words = {"error": "pull access denied for x,\nrepository does not exist"}
    said: list[str] = []

    async def ask() -> None:
        with pytest.raises(ContainerFaultError) as caught:
            await images.prepare("x", ignore)
        said.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await registry.pulling.wait()
        registry.may_finish.set()
    words = "its image could not be pulled: pull access denied for x, repository does not exist"
    assert said == [f"container of image 'x' failed: {words}; check its name, or pull it"] * 2
    assert registry.pulls == 1


async def test_a_pull_that_is_refused_at_once_fails_with_the_words_of_the_daemon(daemon: Any, images: Images) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(404 if exchange.method == "GET" else 500, {"message": "no such host"})

    daemon.script = script
    with pytest.raises(ContainerFaultError, match="could not be pulled: no such host"):
        await images.prepare("x", ignore)


async def test_an_image_that_is_missing_after_its_pull_fails(daemon: Any, images: Images) -> None:
    async def script(exchange: Any) -> None:
        missing = exchange.method == "GET"
        await exchange.answer(404 if missing else 200, {"message": "No such image"} if missing else {"status": "Done"})

    daemon.script = script
    with pytest.raises(ContainerFaultError, match="still missing after the pull"):
        await images.prepare("x", ignore)


async def test_cancelling_the_one_who_pulls_hands_the_pull_to_one_who_waits(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def ask_first() -> None:
            with first:
                await images.prepare("x", ignore)

        nursery.start_soon(ask_first)
        await registry.pulling.wait()
        registry.pulling = trio.Event()
        nursery.start_soon(images.prepare, "x", ignore)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await registry.pulling.wait()
        registry.may_finish.set()
    assert first.cancelled_caught
    assert registry.pulls == 2


async def test_cancelling_all_who_asked_ends_the_pull(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(images.prepare, "x", ignore)
        nursery.start_soon(images.prepare, "x", ignore)
        await registry.pulling.wait()
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        while registry.hangs_up < registry.pulls:
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert not registry.here


async def test_a_forgotten_image_is_looked_for_again(daemon: Any, images: Images) -> None:
    daemon.script = registry = Registry()
    registry.may_finish.set()
    await images.prepare("x", ignore)
    registry.here = False
    images.forget("x")
    await images.prepare("x", ignore)
    assert registry.pulls == 2


def downloading(layer: str, current: int, total: int) -> dict[str, Any]:
    return {"status": "Downloading", "id": layer, "progressDetail": {"current": current, "total": total}}


def test_progress_adds_up_all_layers() -> None:
    meter = PullMeter("x")
    assert meter.feed(downloading("a", 1, 10), 0.0) == PullProgress(
        image="x", status="downloading", current=1, total=10
    )
    assert meter.feed(downloading("b", 5, 90), 1.0) == PullProgress(
        image="x", status="downloading", current=6, total=100
    )
    assert meter.feed({"status": "Download complete", "id": "b", "progressDetail": {}}, 2.0) is None
    assert meter.feed({"status": "Extracting", "id": "b", "progressDetail": {"current": 3, "total": 90}}, 3.0) == (
        PullProgress(image="x", status="extracting", current=91, total=100)
    )


def test_progress_is_told_five_times_a_second_at_most() -> None:
    meter = PullMeter("x")
    told = [meter.feed(downloading("a", step, 1000), step / 1000) for step in range(1000)]
    assert sum(progress is not None for progress in told) == 5


@pytest.mark.parametrize(
    "message",
    [{}, {"status": "Pulling from library/x", "id": "latest"}, {"status": "Already exists", "id": "a"}, {"id": "a"}],
)
def test_what_says_nothing_of_progress_is_not_told(message: dict[str, Any]) -> None:
    assert PullMeter("x").feed(message, 0.0) is None


def test_a_layer_of_unknown_size_counts_for_nothing() -> None:
    meter = PullMeter("x")
    detail = {"current": 5}
    assert meter.feed({"status": "Downloading", "id": "a", "progressDetail": detail}, 0.0) == (
        PullProgress(image="x", status="downloading")
    )
