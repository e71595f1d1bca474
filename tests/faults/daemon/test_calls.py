"""A daemon that refuses, hangs, breaks connections and lies: every kind of call, one at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from attrs import evolve

from dockerd.proxy import KINDS, Fault, Proxy
from warmlane.errors import LeftBehindError
from warmlane.pool import lookout
from warmlane.records import ContainerRecord
from warmlane.runtimes import docker_watch
from warmlane.session import Session

pytestmark = pytest.mark.docker

FAULTS = {
    "500": Fault(500),
    "500 after": Fault(500, carried_out=True),
    "hangs": Fault("hang"),
    "hangs after": Fault("hang", carried_out=True),
    "reset": Fault("cut"),
    "reset after": Fault("cut", carried_out=True),
    "slow": Fault(wait=1.0),
}
BOUND = 60.0
"""Seconds for three runs with a fault in one of them, and a look: what the graces add up to, and some."""


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_each_kind_of_call_may_fail_twice(
    yard: Any, proxies: Any, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run succeeds, or its blocks say why not; the next one succeeds; what others do then is noticed; nothing is
    left. All kinds side by side."""
    monkeypatch.setattr(docker_watch, "HEAD", 2.0)

    async def suffer(kind: str) -> None:
        async with proxies() as proxy, yard.session(proxy.url) as session:
            while not proxy.calls["events"]:  # noqa: ASYNC110 - it is the proxy that counts
                await trio.sleep(0.01)
            proxy.order(kind, fault, times=2)
            proxy.cut_streams()  # if all is well, events are asked for but once
            for _ in range(2):
                report = await session.run(yard.small)
                assert len(report.results) == 3
                assert all(result.error for result in report.results if result.status != "succeeded"), report
                with trio.move_on_after(2.0):
                    await yard.until(session, all_dormant)
            proxy.clear()
            report = await session.run(yard.small)
            assert [result.error for result in report.results] == [None] * 3, (kind, report)
            await yard.until(session, all_dormant)
            await notices(yard, session)
        assert proxy.calls[kind] > (kind == "events")

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            for kind in KINDS:
                nursery.start_soon(suffer, kind)


@pytest.mark.parametrize("lie", [204, 404])
async def test_a_removal_that_is_a_lie_is_looked_through(yard: Any, proxy: Proxy, lie: int) -> None:
    """For its second word, too; the session is left only when each container is gone."""
    async with yard.session(proxy.url) as session:
        await session.run(yard.small)
        there, asked = len(yard.containers(session.id)), proxy.calls["remove"]
        proxy.order("remove", Fault(lie), times=4)
    assert there == 2
    assert proxy.calls["remove"] - asked >= 4 + there, "it was lied to four times, and each is gone in truth"


async def test_a_forgotten_container_is_replaced_and_removed(yard: Any, proxy: Proxy) -> None:
    """The daemon denies that containers exist which it has."""
    async with yard.session(proxy.url) as session:
        await session.run(yard.small)
        proxy.order("inspect", Fault(404), times=2)
        proxy.order("unpause", Fault(404), times=2)
        assert (await session.run(yard.small)).status == "completed"
        proxy.clear()


async def test_a_create_that_is_carried_out_when_nobody_waits_any_more(yard: Any, proxy: Proxy) -> None:
    """It is given up after 2.3 seconds, and removed in vain; then it appears, and is removed all the same."""
    proxy.order("create", Fault("hang", carried_out=True, wait=4.0), times=2)
    async with yard.session(proxy.url, graces=evolve(yard.graces, birth=0.3)) as session:
        await session.run(yard.small)
        await yard.until(session, lambda containers: "stopping" not in [container.phase for container in containers])
        assert set(yard.containers(session.id)) == {f"['/{each.name}']" for each in session.pool_status().containers}


async def test_a_name_that_is_in_use_already(yard: Any, proxy: Proxy) -> None:
    """The daemon has made the container, and broken the connection before it said so; the next try finds its name."""
    proxy.order("create", Fault("cut", carried_out=True), times=1)
    async with yard.session(proxy.url) as session:
        assert (await session.run(yard.small)).status == "completed"


async def test_what_cannot_be_removed_is_named_and_found_again(yard: Any, proxy: Proxy) -> None:
    """And it is quarantined until then; the janitor of a live session removes it as soon as the daemon lets him, and
    the next session of the same process what an ended one has left."""
    graces = evolve(yard.graces, remove=1.0)
    proxy.order("pause", Fault(500), times=math.inf)  # so that they are to be removed
    proxy.order("remove", Fault(500), times=math.inf)
    async with yard.session(proxy.url, graces=graces) as session:
        await session.run(yard.plan({"a": ["true"]}))
        await yard.until(session, lambda containers: [each.state for each in containers] == ["quarantined"])
        proxy.clear()
        await yard.until(session, lambda containers: containers == ())

    proxy.order("remove", Fault(500), times=math.inf)
    with pytest.raises(LeftBehindError) as caught:
        async with yard.session(proxy.url, graces=graces) as session:
            await session.run(yard.plan({"a": ["true"]}))
    (name,) = caught.value.names
    async with yard.session(proxy.url) as meanwhile:
        assert (await meanwhile.run(yard.small)).status == "completed"
        assert yard.containers(session.id) == [f"['/{name}']"]
        proxy.clear()
    async with yard.session():
        with trio.fail_after(20):
            while yard.containers(session.id):  # noqa: ASYNC110 - the daemon is being asked
                await trio.sleep(0.05)


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("mute")], ids=["do not begin", "fall silent"])
async def test_events_that_are_lost_blind_nobody(
    yard: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Without an end: the daemon's list is looked at from time to time."""
    monkeypatch.setattr(lookout, "PERIOD", 1.0)
    proxy.order("events", fault, times=math.inf)
    async with yard.session(proxy.url) as session:
        await session.run(yard.small)
        await yard.until(session, all_dormant)
        await notices(yard, session)
    assert proxy.calls["events"] == 1


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("mute")], ids=["do not begin", "fall silent"])
async def test_events_that_are_lost_are_asked_for_again(
    yard: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """And told then, without any look at the list."""
    monkeypatch.setattr(lookout, "PERIOD", math.inf)
    monkeypatch.setattr(docker_watch, "HEAD", 1.0)
    monkeypatch.setattr(docker_watch, "SILENCE", 1.0)
    proxy.order("events", fault, times=3)
    async with yard.session(proxy.url) as session:
        await session.run(yard.small)
        await yard.until(session, all_dormant)
        await notices(yard, session)
        with trio.fail_after(20):
            while proxy.calls["events"] < 4:  # noqa: ASYNC110 - it is the proxy that counts
                await trio.sleep(0.05)
        await notices(yard, session)


async def test_what_happens_while_the_events_are_cut_is_noticed(yard: Any, proxy: Proxy) -> None:
    async with yard.session(proxy.url) as session:
        await session.run(yard.small)
        await yard.until(session, all_dormant)
        proxy.order("events", Fault(500), times=3)
        proxy.cut_streams()
        for container in session.pool_status().containers:
            yard.client.remove_container(container.name, force=True)
        await yard.until(session, lambda containers: containers == ())
        assert (await session.run(yard.small)).status == "completed"


async def test_broken_connections_do_not_hurt_running_blocks(yard: Any, proxy: Proxy) -> None:
    async with yard.session(proxy.url) as session:
        execution = session.start(yard.plan({"a": ["sleep", "1"], "b": ["sleep", "1"]}))
        await yard.until(session, lambda containers: [each.phase for each in containers] == ["running"] * 2)
        proxy.cut_streams()
        assert (await execution.wait()).status == "completed"
        await yard.until(session, all_dormant)


async def notices(yard: Any, session: Session) -> None:
    """Somebody removes one container: the pool gives it up."""
    name = session.pool_status().containers[0].name
    yard.client.remove_container(name, force=True)
    await yard.until(session, lambda containers: name not in [container.name for container in containers])


def all_dormant(containers: tuple[ContainerRecord, ...]) -> bool:
    return bool(containers) and {container.phase for container in containers} == {"dormant"}
