"""Plans that are made of objects, with nothing but what the package shows at its top."""

from __future__ import annotations

from itertools import combinations

import attrs
import pytest
from attrs import evolve

import warmlane
from warmlane import Container, Workspace
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


# Values of each field, no two of which can stand in for each other; a field that does not matter has none.
FOLDER = Workspace(path="/src")
CONTAINER = Container(image="x", env={"Z": "1"}, workspace=FOLDER)
DIFFERENT: dict[str, list[Container]] = {
    "image": [evolve(CONTAINER, image=image) for image in (None, "a", "a:1", "b")],
    "env": [evolve(CONTAINER, env=env) for env in ({}, {"A": ""}, {"A": "1"}, {"B": "1"}, {"A": "1", "B": "1"})],
    "user": [evolve(CONTAINER, user=user) for user in (None, "0", "0:0", "1000", "app")],
    "workspace": [evolve(CONTAINER, workspace=workspace) for workspace in (None, FOLDER)],
    "workspace.path": [evolve(CONTAINER, workspace=Workspace(path=path)) for path in ("/src", "/src/a", "/a")],
    "workspace.mode": [evolve(CONTAINER, workspace=evolve(FOLDER, mode=mode)) for mode in ("ro", "rw")],
    "transport": [evolve(CONTAINER, transport=transport) for transport in (None, "tcp", "unix")],
    "port": [evolve(CONTAINER, port=port) for port in (None, 80, 8080)],
}


def test_of_every_field_it_is_known_whether_it_separates_containers() -> None:
    fields = [field.name for field in attrs.fields(Container)]
    fields += [f"workspace.{field.name}" for field in attrs.fields(Workspace)]
    assert sorted(DIFFERENT) == sorted(fields), "say of a new field which values separate containers"


@pytest.mark.parametrize("field", DIFFERENT)
def test_containers_that_differ_in_a_field_that_matters_do_not_stand_in_for_each_other(field: str) -> None:
    for one, other in combinations(DIFFERENT[field], 2):
        assert one.key != other.key, (one, other)
    for one in DIFFERENT[field]:
        assert one.key == evolve(one).key
        assert Container().over(one) == one.over(Container()) == one, "no field is lost between a block and its plan"
