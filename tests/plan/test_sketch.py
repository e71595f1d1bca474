"""Documents with problems of both sorts: all of them are told at once, and none that follows from another."""
# ruff: noqa: E501  # sentences stay whole, to be found by searching

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Problems = Callable[[Any], list[str]]
RUN: dict[str, Any] = {"command": ["true"]}
ASK: dict[str, Any] = {"request": {}}


def plan_of(blocks: Any, lanes: Any, **rest: Any) -> dict[str, Any]:
    """A document with these blocks and lanes, whatever they are."""
    return {"name": "n", "blocks": blocks, "lanes": lanes, **rest}


BOTH: list[tuple[Any, list[str]]] = [
    (
        plan_of({"a": {**RUN, "timeoutMs": -1, "from": {"x": "zzz", "y": "inputs.no", "z": "a."}}, "b": ASK}, ["a", "c", "b"], inputs={"i": {"default": 1}}, maxContainers=0),
        [
            "$.blocks.a.timeoutMs: must be more than 0 and at most 30 days, got -1",
            "$.blocks.a.from.x: there is no 'zzz' to pick from; there is 'inputs'",
            "$.blocks.a.from.y: there is no input 'no'",
            "$.blocks.a.from.z: is not a JMESPath expression: it ends too early",
            "$.blocks.b.request: needs 'container.port', the port of the image's own service",
            "$.lanes[1]: there is no block 'c'",
            "$.inputs.i.default: expected a string, got a number",
            "$.maxContainers: must be from 1 to 1000, got 0",
        ],
    ),
    (
        plan_of({"a": {**ASK, "container": {"port": 80, "env": {"A": 1}}}}, ["a"], container={"transport": "unix", "user": 1}),
        [
            "$.blocks.a: its container has a 'port', which transport 'unix' has no network for; use 'tcp'",
            "$.blocks.a.container.env.A: expected a string, got a number; put it in quotes",
            "$.container.user: expected a string, got a number; put it in quotes",
        ],
    ),
    (
        plan_of({"a": RUN, "b": {**RUN, "container": {"user": "u"}, "timeoutMs": 0}}, [{"blocks": ["a", "b"]}], parallelismModel="single-container"),
        [
            "$.blocks.b.timeoutMs: must be more than 0 and at most 30 days, got 0",
            "$.lanes[0]: in 'single-container' the blocks of a lane share one container, but 'b' wants another one than 'a'",
        ],
    ),
    (
        plan_of({"a": RUN, "b": {**RUN, "from": {"x": "c", "y": "zzz"}}, "c": RUN}, ["a", {"blocks": ["b", "c", "c"], "failureMode": ""}]),
        [
            "$.blocks.b.from.x: block 'c' runs beside 'b', not before it",
            "$.blocks.b.from.y: there is no 'zzz' to pick from; there is 'inputs', 'a'",
            "$.lanes[1].blocks[2]: block 'c' already stands at $.lanes[1].blocks[1]; a block runs once",
            "$.lanes[1].failureMode: expected one of 'strict', 'lenient', got ''",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "sentences"), BOTH)
def test_what_is_sound_is_judged_beside_what_is_broken(document: Any, sentences: list[str], problems: Problems) -> None:
    assert problems(document) == sentences


FOLLOWING: list[tuple[Any, list[str]]] = [
    (plan_of({"a": RUN, "b": RUN}, ["a", 5]), ["$.lanes[1]"]),
    (plan_of({"a": RUN, "b": RUN}, ["a", {"block": ["b"]}]), ["$.lanes[1].block", "$.lanes[1].blocks"]),
    (plan_of({"a": RUN, "b": {**RUN, "from": {"x": "a"}}}, "a"), ["$.lanes"]),
    (plan_of({"a": RUN, "b": {**RUN, "from": {"x": "a"}}}, ["A", "b"]), ["$.blocks.a", "$.lanes[0]"]),
    (plan_of({"a": 5, "b": {**RUN, "from": {"x": "a"}}}, ["a", "b"]), ["$.blocks.a"]),
    (plan_of([], ["a"]), ["$.blocks"]),
    (plan_of({"a": {**RUN, "from": 5}, "b": {**RUN, "from": {"x": 5}}}, ["a", "b"]), ["$.blocks.a.from", "$.blocks.b.from.x"]),
    (plan_of({"a": {**RUN, "from": {"x": "inputs.i"}}}, ["a"], inputs=[]), ["$.inputs"]),
    (plan_of({"a": {**RUN, "from": {"x": "inputs.i"}}}, ["a"], input={}), ["$.input"]),
    (plan_of({"a": RUN}, ["a"], inputs={"i": {"type": "int", "default": "x"}}), ["$.inputs.i.type"]),
    (plan_of({"a": RUN}, ["a"], inputs={"i": {"typ": "integer", "default": 1}}), ["$.inputs.i.typ"]),
    (plan_of({"a": {**ASK, "container": {"port": "80"}}}, ["a"]), ["$.blocks.a.container.port"]),
    (plan_of({"a": {**ASK, "container": {"prt": 80}}}, ["a"]), ["$.blocks.a.container.prt"]),
    (plan_of({"a": {**ASK, "contaner": {"port": 80}}}, ["a"]), ["$.blocks.a.contaner"]),
    (plan_of({"a": {"comand": ["x"], "container": {"port": 80}}}, ["a"]), ["$.blocks.a", "$.blocks.a.comand"]),
    (plan_of({"a": {"map": {}, "container": {"port": 80}}}, ["a"]), ["$.blocks.a.map"]),
    (
        plan_of({"a": RUN, "b": {**RUN, "container": {"user": "u", "env": []}}}, [{"blocks": ["a", "b"]}], parallelismModel="single-container"),
        ["$.blocks.b.container.env"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "paths"), FOLLOWING)
def test_nothing_is_said_that_follows_from_another_problem(document: Any, paths: list[str], problems: Problems) -> None:
    assert [said.partition(": ")[0] for said in problems(document)] == paths
