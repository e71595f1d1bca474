"""Calls that are cut: what a cancelled call leaves, and what it does not hurt."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from warmlane.errors import RuntimeRefusedError, RuntimeSilentError
from warmlane.runtimes import docker_calls
from warmlane.runtimes.docker_address import DockerAddress
from warmlane.runtimes.docker_calls import Calls


@pytest.fixture
def calls(daemon: Any) -> Iterator[Calls]:
    calls = Calls(daemon.address, "1.41")
    yield calls
    calls.close()


def busy_threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if not thread.name.startswith(("MainThread", "Trio thread"))
    ]


async def test_an_answer_is_what_the_daemon_said(daemon: Any, calls: Calls) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(200, {"Id": "abc"})

    daemon.script = script
    assert await calls.inspect("wl-1") == {"Id": "abc"}
    assert daemon.requests == ["GET /v1.41/containers/wl-1/json"]


async def test_a_refusal_has_the_words_of_the_daemon_in_one_line_and_its_status(daemon: Any, calls: Calls) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(409, {"message": "the name\nis in use"})

    daemon.script = script
    with pytest.raises(RuntimeRefusedError, match="could not pause a container: the name is in use") as caught:
        await calls.pause("wl-1")
    assert caught.value.status == 409


async def test_a_connection_that_breaks_leaves_the_effect_unknown(daemon: Any, calls: Calls) -> None:
    async def script(_exchange: Any) -> None:
        pass

    daemon.script = script
    with pytest.raises(RuntimeSilentError, match="no answer to 'start a container'"):
        await calls.start("wl-1")


async def test_an_answer_that_no_daemon_would_give_is_no_crash(daemon: Any, calls: Calls) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(500, {"error": "bad gateway"})

    daemon.script = script
    with pytest.raises(RuntimeSilentError, match="makes no sense"):
        await calls.pause("wl-1")


async def test_a_daemon_that_is_not_there_is_silent(daemon: Any) -> None:
    calls = Calls(DockerAddress("unix:///nonexistent", path="/nonexistent"), "1.41")
    with pytest.raises(RuntimeSilentError):
        await calls.inspect("wl-1")
    calls.close()


@pytest.mark.parametrize("call", ["pause", "unpause", "inspect", "remove", "exists", "image", "containers"])
async def test_a_cancelled_call_ends_at_once_with_its_thread(daemon: Any, calls: Calls, call: str) -> None:
    """Though the daemon never answers; and it is told by the end of the connection."""
    asked, hung_up = trio.Event(), trio.Event()

    async def script(exchange: Any) -> None:
        asked.set()
        await exchange.hung_up()
        hung_up.set()

    daemon.script = script
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(calls, call), "wl-1")
            await asked.wait()
            nursery.cancel_scope.cancel()
        assert busy_threads() == []
        await hung_up.wait()


@pytest.mark.parametrize("call", ["create", "start"])
async def test_a_birth_is_not_cut(daemon: Any, calls: Calls, call: str) -> None:
    """The daemon would carry it out all the same, after the removal."""
    asked, answer = trio.Event(), trio.Event()

    async def script(exchange: Any) -> None:
        asked.set()
        await answer.wait()
        await exchange.answer(201, {"Id": "abc"})

    async def birth() -> None:
        try:
            await (calls.create("wl-1", {"Image": "x"}) if call == "create" else calls.start("wl-1"))
        finally:
            ended.set()

    daemon.script, ended = script, trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(birth)
        await asked.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not ended.is_set()
            answer.set()
    assert ended.is_set()
    assert calls.unanswered == {}


@pytest.mark.parametrize("call", ["create", "start"])
async def test_a_cancelled_birth_that_is_never_answered_is_given_up(
    daemon: Any, calls: Calls, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a create is remembered, for it may still be carried out."""
    monkeypatch.setattr(docker_calls, "_LAST_CHANCE", 0.05)
    asked = trio.Event()

    async def script(_exchange: Any) -> None:
        asked.set()
        await trio.sleep_forever()

    daemon.script = script
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(*((calls.create, "wl-1", {"Image": "x"}) if call == "create" else (calls.start, "wl-1")))
            await asked.wait()
            nursery.cancel_scope.cancel()
    assert busy_threads() == []
    assert list(calls.unanswered) == (["wl-1"] if call == "create" else [])


async def test_a_birth_that_never_reached_the_daemon_is_no_ghost(daemon: Any, calls: Calls) -> None:
    await trio.Path(daemon.address.path).unlink()
    with pytest.raises(RuntimeSilentError, match="No such file"):
        await calls.create("wl-1", {"Image": "x"})
    assert calls.unanswered == {}


async def test_idle_connections_are_given_up_and_made_again(daemon: Any, calls: Calls) -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def script(exchange: Any) -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)
        await exchange.answer(200, {"Id": "abc"})

    daemon.script = script
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(calls.inspect, "wl-1")
    assert len(os.listdir("/proc/self/fd")) > before + 2
    calls.trim()
    with trio.fail_after(5):
        while len(os.listdir("/proc/self/fd")) > before:  # noqa: ASYNC110 - the other end hears of it in a moment
            await trio.sleep(0.01)
    assert await calls.inspect("wl-1") == {"Id": "abc"}


async def test_a_birth_that_waits_in_line_is_cancelled_before_it_begins(daemon: Any, calls: Calls) -> None:
    """Four are under way; the fifth has not reached the daemon."""
    answer, asked = trio.Event(), trio.Semaphore(0)

    async def script(exchange: Any) -> None:
        asked.release()
        await answer.wait()
        await exchange.answer(200, {})

    daemon.script = script
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(calls.start, f"wl-{number}")
            await asked.acquire()
        with trio.move_on_after(0.05) as scope:
            await calls.start("wl-5")
        assert scope.cancelled_caught
        answer.set()
    assert len(daemon.requests) == 4
    assert not any("wl-5" in request for request in daemon.requests)


async def test_a_jam_of_births_does_not_hold_up_control_or_cleanup(daemon: Any, calls: Calls) -> None:
    answer = trio.Event()

    async def script(exchange: Any) -> None:
        if exchange.target.endswith("/start"):
            await answer.wait()
        await exchange.answer(200, {})

    daemon.script = script
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(calls.start, f"wl-{number}")
        with trio.fail_after(5):
            await calls.pause("wl-x")
            await calls.remove("wl-x")
        answer.set()


async def test_connections_are_kept_and_shared_by_all_calls(daemon: Any, calls: Calls) -> None:
    connections: set[int] = set()

    async def script(exchange: Any) -> None:
        connections.add(exchange.connection)
        await exchange.answer(200, {})

    daemon.script = script
    for number in range(20):
        await calls.inspect(f"wl-{number}")
    assert len(connections) == 1


async def test_cutting_one_call_hurts_no_other(daemon: Any, calls: Calls) -> None:
    """Half of the calls are cut at every moment of their lives, while the other half must all succeed."""
    cut = succeeded = 0

    async def script(exchange: Any) -> None:
        if "slow" in exchange.target:
            await trio.sleep(0.003)
        await exchange.answer(200, {"target": exchange.target})

    async def innocent(number: int) -> None:
        nonlocal succeeded
        for turn in range(10):
            name = f"good-{number}-{turn}"
            answer = await calls.inspect(name)
            assert name in answer["target"]
            succeeded += 1

    async def victim(number: int) -> None:
        nonlocal cut
        for turn in range(10):
            with trio.move_on_after(0.0005 * (number + turn)) as scope:
                await calls.inspect(f"slow-{number}-{turn}")
            cut += scope.cancelled_caught

    daemon.script = script
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(innocent, number)
                nursery.start_soon(victim, number)
    assert succeeded == 80
    assert cut > 0
    assert busy_threads() == []


async def test_a_cancelled_pull_ends_at_once(daemon: Any, calls: Calls) -> None:
    heard: list[dict[str, Any]] = []
    pulling, hung_up = trio.Event(), trio.Event()

    async def script(exchange: Any) -> None:
        await exchange.begin()
        await exchange.line(status="Downloading", id="a")
        await exchange.hung_up()
        hung_up.set()

    def on_message(message: dict[str, Any]) -> None:
        heard.append(message)
        trio.from_thread.run_sync(pulling.set)

    daemon.script = script
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls.pull, "x", on_message)
            await pulling.wait()
            nursery.cancel_scope.cancel()
        await hung_up.wait()
    assert heard == [{"status": "Downloading", "id": "a"}]
    assert busy_threads() == []
