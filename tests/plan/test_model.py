"""Plans that are made of objects, with nothing but what the package shows at its top."""

from __future__ import annotations

import attrs

import warmlane
from warmlane.plan import model
from warmlane.plan.check import check_plan


def test_every_class_of_a_plan_is_public() -> None:
    classes = {name for name, found in vars(model).items() if isinstance(found, type) and attrs.has(found)}
    assert classes
    assert classes <= set(warmlane.__all__)


def test_a_plan_with_one_of_each_is_the_plan_of_its_document() -> None:
    plan = warmlane.WorkflowPlan(
        name="each",
        inputs={"depth": warmlane.Input(type="integer", default=1), "ref": warmlane.Input()},
        container=warmlane.Container(image="python:3.12-slim", workspace=warmlane.Workspace(path="/src", mode="rw")),
        blocks={
            "fetch": warmlane.Block(command=["git", "fetch"], timeout=1.5, from_={"ref": "inputs.ref"}),
            "test": warmlane.Block(python="checks:run"),
            "ask": warmlane.Block(
                request=warmlane.Request(method="POST", path="/ask", body={"deep": True}),
                container=warmlane.Container(image="service:1", port=8000),
            ),
        },
        lanes=["fetch", warmlane.ParallelLane(blocks=["test", "ask"], failure_mode="lenient")],
        timeout=60,
    )
    document = {
        "name": "each",
        "inputs": {"depth": {"type": "integer", "default": 1}, "ref": {}},
        "container": {"image": "python:3.12-slim", "workspace": {"path": "/src", "mode": "rw"}},
        "blocks": {
            "fetch": {"command": ["git", "fetch"], "timeoutMs": 1500, "from": {"ref": "inputs.ref"}},
            "test": {"python": "checks:run"},
            "ask": {
                "request": {"method": "POST", "path": "/ask", "body": {"deep": True}},
                "container": {"image": "service:1", "port": 8000},
            },
        },
        "lanes": ["fetch", {"blocks": ["test", "ask"], "failureMode": "lenient"}],
        "timeoutMs": 60_000,
    }
    assert check_plan(plan) == ()
    assert plan == warmlane.read_plan(document)
