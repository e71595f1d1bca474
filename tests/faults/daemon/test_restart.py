"""The daemon is restarted under a session, with and without live-restore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from dockerd.private import PrivateDaemon, PrivateDaemonError, private_daemon
from images.supply import supply

pytestmark = pytest.mark.docker


@pytest.fixture(params=[False, True], ids=["plain", "live-restore"])
def own(request: pytest.FixtureRequest, yard: Any) -> Iterator[PrivateDaemon]:
    """A daemon that only this test knows; the yard is on it."""
    try:
        with private_daemon(live_restore=request.param) as daemon:
            supply(daemon, for_examples=False, say=print)
            yard.daemon = daemon
            yield daemon
    except PrivateDaemonError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


async def test_a_restart_under_running_and_dormant_containers(
    own: PrivateDaemon, yard: Any, request: pytest.FixtureRequest
) -> None:
    """Whose container ended is lost, and told so; with live-restore none is. The session goes on."""
    lives_on = "live-restore" in request.node.name
    async with yard.session() as session:
        await session.run(yard.plan({"a": ["true"], "b": ["true"], "c": ["true"]}))
        await yard.until(session, lambda containers: [each.phase for each in containers] == ["dormant"] * 3)
        execution = session.start(yard.plan({"a": ["sleep", "6"], "b": ["sleep", "6"]}))
        await yard.until(session, lambda containers: [each.phase for each in containers].count("running") == 2)
        with trio.fail_after(60):
            await trio.to_thread.run_sync(own.stop)
            await trio.to_thread.run_sync(own.start)
            report = await execution.wait()
        if lives_on:
            assert [result.status for result in report.results] == ["succeeded", "succeeded"]
        else:
            assert [result.reason for result in report.results] == ["lost", "lost"]
            assert all(result.error.startswith("its container was lost: ") for result in report.results)
        with trio.fail_after(40):
            report = await session.run(yard.plan({"a": ["true"], "b": ["true"], "c": ["true"]}))
        assert [result.error for result in report.results] == [None] * 3


async def test_an_execution_that_begins_while_the_daemon_is_away(own: PrivateDaemon, yard: Any) -> None:
    """Each of its blocks says that nothing answers; the run after the daemon's return succeeds."""
    async with yard.session() as session:
        await trio.to_thread.run_sync(own.stop)
        with trio.fail_after(60):
            report = await session.run(yard.small)
        assert [(result.status, result.reason) for result in report.results] == [("failed", "container")] * 3
        assert all("no answer to" in result.error for result in report.results)
        with trio.fail_after(60):
            await trio.to_thread.run_sync(own.start)
            assert [result.error for result in (await session.run(yard.small)).results] == [None] * 3
