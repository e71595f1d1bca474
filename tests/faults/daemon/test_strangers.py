"""What others do to our containers behind our back: it is noticed, mended or replaced, and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from warmlane.records import ContainerRecord

pytestmark = pytest.mark.docker


def phases(*wanted: str) -> Callable[[tuple[ContainerRecord, ...]], bool]:
    return lambda containers: sorted(each.phase for each in containers) == sorted(wanted)


@pytest.mark.parametrize("deed", ["kill", "remove", "stop"])
async def test_a_block_whose_container_is_ended_is_lost_and_its_sibling_is_not(yard: Any, deed: str) -> None:
    deeds = {
        "kill": yard.client.kill,
        "remove": lambda name: yard.client.remove_container(name, force=True),
        "stop": lambda name: yard.client.stop(name, timeout=0),
    }
    async with yard.session() as session:
        execution = session.start(yard.plan({"a": ["sleep", "2"], "b": ["sleep", "2"]}, {"c": ["true"]}))
        await yard.until(session, phases("running", "running"))
        (victim,) = [each.name for each in session.pool_status().containers if each.block_id == "a"]
        await trio.to_thread.run_sync(deeds[deed], victim)
        report = await execution.wait()
        a, b, c = report.results
        assert (a.status, a.reason) == ("failed", "lost")
        assert a.error.startswith("its container was lost: ")
        assert (b.status, c.status) == ("succeeded", "succeeded")
        assert victim not in [each.name for each in session.pool_status().containers if each.phase != "stopping"]
        assert (await session.run(yard.small)).status == "completed"


async def test_dormant_containers_that_are_removed_are_missed_at_once(yard: Any) -> None:
    async with yard.session() as session:
        await session.run(yard.small)
        await yard.until(session, phases("dormant", "dormant"))
        for container in session.pool_status().containers:
            await trio.to_thread.run_sync(lambda name: yard.client.remove_container(name, force=True), container.name)
        await yard.until(session, phases())
        assert (await session.run(yard.small)).status == "completed"


async def test_a_running_block_that_is_paused_is_thawed(yard: Any, tmp_path: Path) -> None:
    """It runs until it is told to end, and that after it has been paused and thawed."""
    await trio.Path(tmp_path).chmod(0o755)  # blocks there are no root's
    until_told = ["sh", "-c", "until [ -e $WARMLANE_WORKSPACE/end ]; do sleep 0.05; done"]
    container = {"image": yard.image, "transport": "unix", "workspace": str(tmp_path)}
    async with yard.session() as session:
        execution = session.start(yard.plan({"a": until_told}, container=container))
        await yard.until(session, phases("running"))
        name = session.pool_status().containers[0].name
        await trio.to_thread.run_sync(yard.client.pause, name)
        with trio.fail_after(20):
            while (await trio.to_thread.run_sync(yard.client.inspect_container, name))["State"]["Paused"]:  # noqa: ASYNC110
                await trio.sleep(0.02)
            (tmp_path / "end").touch()
            report = await execution.wait()
        assert report.results[0].status == "succeeded"


async def test_a_dormant_container_that_is_thawed_is_frozen_again(yard: Any) -> None:
    async with yard.session() as session:
        await session.run(yard.plan({"a": ["true"]}))
        await yard.until(session, phases("dormant"))
        name = session.pool_status().containers[0].name
        await trio.to_thread.run_sync(yard.client.unpause, name)
        with trio.fail_after(10):
            while not (await trio.to_thread.run_sync(yard.client.inspect_container, name))["State"]["Paused"]:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert (await session.run(yard.plan({"a": ["true"]}))).status == "completed"
        assert [each.name for each in session.pool_status().containers] == [name]


async def test_an_image_that_is_removed_hurts_only_what_is_to_be_born(yard: Any) -> None:
    """What lives goes on; who needs a new container is told; and with the image, all is well again."""
    image = "warmlane.invalid/gone:1"
    yard.daemon.tag_image(yard.image, image)
    container = {"image": image, "transport": "unix"}
    one = yard.plan({"a": ["true"]}, container=container)
    two = yard.plan({"a": ["sleep", "3"], "b": ["sleep", "3"]}, container=container)  # no time to share one
    async with yard.session() as session:
        assert (await session.run(one)).status == "completed"
        await trio.to_thread.run_sync(yard.client.remove_image, image)
        assert (await session.run(one)).results[0].status == "succeeded"
        results = (await session.run(two)).results
        assert {result.reason for result in results if result.status == "failed"} == {"container"}
        assert all("warmlane.invalid/gone:1" in result.error for result in results if result.status == "failed")
        yard.daemon.tag_image(yard.image, image)
        assert {result.status for result in (await session.run(two)).results} == {"succeeded"}
    yard.client.remove_image(image)
