"""A monitor of a real session, on simulated containers."""

from __future__ import annotations

from typing import Any

import trio

from warmlane.monitor.client import watch
from warmlane.monitor.server import serve_monitor
from warmlane.monitor.view import View
from warmlane.testing import fails, open_fake_session, prints

PLAN: dict[str, Any] = {
    "name": "release",
    "failureMode": "lenient",
    "container": {"image": "python:3"},
    "blocks": {
        "lint": {"command": ["lint"]},
        "tests": {"command": ["tests"]},
        "report": {"command": ["report"]},
    },
    "lanes": [{"blocks": ["lint", "tests"]}, "report"],
}


async def test_a_monitor_that_outlives_its_session_sees_everything_go() -> None:
    """Opened before the session and left after it, it shows a run from its start to the last container's end."""
    view = View()
    channels: list[str] = []
    states: list[str] = []

    async def look(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with watch(url) as messages:
            view.apply(await messages.receive())
            task_status.started()
            async for message in messages:
                view.apply(message)
                channels.append(message["channel"])
                if message["channel"] == "container:state-change":
                    states.append(message["payload"]["toState"])

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, serve_monitor(None) as monitor:
            blocks = {"lint": prints(["well"]), "tests": fails("exit code 3")}
            async with open_fake_session(blocks) as (session, host):
                monitor.show(session)
                url = monitor.url
                await nursery.start(look, url)
                report = await session.run(PLAN)
            assert not host.leftovers()
    assert report.status == "completed"
    execution = view.executions[report.execution_id]
    assert (view.session_id, execution.status, view.lost) == (session.id, "completed", 0)
    assert {block.id: block.status for block in execution.blocks.values()} == {
        "lint": "succeeded",
        "tests": "failed",
        "report": "succeeded",
    }
    assert [line.text for line in view.log] == ["well"]
    assert channels.count("execution:complete") == 1
    assert states.count("starting") == states.count("terminated") > 0
    assert not view.containers or {record["state"] for record in view.containers.values()} == {"terminated"}
