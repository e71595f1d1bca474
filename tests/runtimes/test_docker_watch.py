"""What the daemon says happens, and how the watch outlives the connection."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from trio.testing import MockClock

from warmlane.runtimes import docker_watch
from warmlane.runtimes.docker_watch import sightings
from warmlane.runtimes.protocol import Sighting


def event(action: str, name: str = "wl-1", time: int = 0) -> dict[str, Any]:
    return {"Type": "container", "Action": action, "Actor": {"Attributes": {"name": name}}, "timeNano": time * 10**9}


async def test_events_become_sightings_in_their_order(daemon: Any) -> None:
    async def script(exchange: Any) -> None:
        await exchange.begin()
        for action in ("create", "pause", "unpause", "oom", "die", "destroy"):
            await exchange.line(**event(action))
        await trio.sleep_forever()

    daemon.script = script
    seen: list[Sighting] = []
    async with sightings(daemon.address, "1.41", "warmlane.session=s1") as feed:
        async for sighting in feed:
            seen.append(sighting)
            if sighting.kind == "removed":
                break
    assert [sighting.kind for sighting in seen] == ["paused", "unpaused", "oom", "died", "removed"]
    assert {sighting.name for sighting in seen} == {"wl-1"}
    query = parse_qs(urlsplit(daemon.requests[0].split()[1]).query)
    assert json.loads(query["filters"][0])["label"] == ["warmlane.session=s1"]


async def test_after_an_interruption_it_says_resync_and_asks_from_where_it_was(
    daemon: Any, autojump_clock: MockClock
) -> None:
    connections = 0

    async def script(exchange: Any) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await exchange.begin()
            await exchange.line(**event("pause", time=4_000_000_000))
        elif connections == 2:
            await exchange.answer(500, {"message": "starting"})
        elif connections == 3:
            await exchange.begin()
            await exchange.line(**event("die"))
            await trio.sleep_forever()

    daemon.script = script
    async with sightings(daemon.address, "1.41", "a=b") as feed:
        seen = [(await feed.receive()).kind for _ in range(3)]
    assert seen == ["paused", "resync", "died"]
    since = [parse_qs(urlsplit(request.split()[1]).query)["since"] for request in daemon.requests]
    assert since[1] == since[2] == ["4000000000.000000000"]


async def test_a_daemon_that_is_away_for_long_is_asked_ever_less_often(daemon: Any, autojump_clock: MockClock) -> None:
    async def script(exchange: Any) -> None:
        await exchange.answer(500, {"message": "no"})

    daemon.script = script
    async with sightings(daemon.address, "1.41", "a=b") as feed:
        with trio.move_on_after(100):
            await feed.receive()
    assert 20 <= len(daemon.requests) <= 25


async def test_an_answer_that_does_not_begin_is_given_up(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those connections are closed, and the daemon is asked for what happened since it was first asked."""
    monkeypatch.setattr(docker_watch, "HEAD", 0.05)
    hung_up: list[int] = []

    async def script(exchange: Any) -> None:
        if len(daemon.requests) <= 2:
            await exchange.hung_up()
            hung_up.append(len(daemon.requests))
        else:
            await exchange.begin()
            await exchange.line(**event("die"))
            await trio.sleep_forever()

    daemon.script = script
    with trio.fail_after(10):
        async with sightings(daemon.address, "1.41", "a=b") as feed:
            seen = [(await feed.receive()).kind for _ in range(2)]
    assert seen == ["resync", "died"]
    assert hung_up == [1, 2]
    assert len(set(daemon.requests)) == 1


async def test_a_connection_that_says_nothing_for_long_is_replaced(
    daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, each time: a quiet daemon is not an ill one."""
    monkeypatch.setattr(docker_watch, "SILENCE", 0.05)

    async def script(exchange: Any) -> None:
        await exchange.begin()
        if len(daemon.requests) == 1:
            await exchange.line(**event("pause", time=4_000_000_000))
        await exchange.hung_up()

    daemon.script = script
    with trio.fail_after(5):  # the fifth pause of a backoff alone would take as long
        async with sightings(daemon.address, "1.41", "a=b") as feed:
            seen = [(await feed.receive()).kind for _ in range(8)]
    assert seen == ["paused"] + ["resync"] * 7
    assert all("since=4000000000.000000000&" in request for request in daemon.requests[1:])


async def test_a_daemon_that_begins_and_breaks_off_is_asked_ever_less_often(
    daemon: Any, autojump_clock: MockClock
) -> None:
    async def script(exchange: Any) -> None:
        await exchange.begin()
        await exchange.end()

    daemon.script = script
    async with sightings(daemon.address, "1.41", "a=b") as feed:
        with trio.move_on_after(100):
            async for _ in feed:
                pass
    assert 20 <= len(daemon.requests) <= 25


async def test_an_exception_of_the_body_leaves_as_it_came(daemon: Any) -> None:
    async def script(exchange: Any) -> None:
        await exchange.begin()
        await trio.sleep_forever()

    daemon.script = script

    async def body() -> None:
        async with sightings(daemon.address, "1.41", "a=b"):
            await trio.testing.wait_all_tasks_blocked(0.01)
            raise KeyError

    with pytest.raises(KeyError):
        await body()
