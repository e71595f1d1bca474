"""What the caller gives, against what the plan declares."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmlane.errors import PlanError
from warmlane.plan.inputs import bind_inputs, bind_words
from warmlane.plan.model import Block, Input, WorkflowPlan

PLAN = WorkflowPlan(
    name="n",
    blocks={"a": Block(command=("true",))},
    lanes=("a",),
    inputs={
        "ref": Input(default="main"),
        "depth": Input(type="integer"),
        "scale": Input(type="number", default=1),
        "deep": Input(type="boolean", default=False),
        "files": Input(type="array", default=[]),
        "extra": Input(type="object", default={}),
    },
)


def said(error: PlanError) -> list[str]:
    """Its problems as lines."""
    return [str(problem) for problem in error.problems]


def test_defaults_fill_in_and_the_order_is_the_declared_one() -> None:
    bound = bind_inputs(PLAN, {"extra": {"a": 1}, "depth": 3})
    assert list(bound.items()) == [
        ("ref", "main"),
        ("depth", 3),
        ("scale", 1),
        ("deep", False),
        ("files", []),
        ("extra", {"a": 1}),
    ]


def test_all_that_is_wrong_with_inputs_comes_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        bind_inputs(PLAN, {"reff": 1, "ref": None, "scale": float("nan"), "deep": 0, "files": [{1}], "extra": []})
    assert said(caught.value) == [
        "$.inputs.ref: expected a string, got null",
        "$.inputs.depth: must be given, for it has no default",
        "$.inputs.scale: must be a finite number, and nan is not one",
        "$.inputs.deep: expected true or false, got a number",
        "$.inputs.files[0]: expected plain JSON, got a Python set",
        "$.inputs.extra: expected an object, got a list",
        "$.inputs.reff: the plan has no such input; did you mean 'ref'?",
    ]
    assert str(caught.value).startswith("the input is not valid: $.inputs.ref: ")


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("ref=main", "ref", "main"),
        ("ref=", "ref", ""),
        ("ref=a=b", "ref", "a=b"),
        ("ref=3", "ref", "3"),
        ('ref="x"', "ref", '"x"'),
        ("scale=2.5", "scale", 2.5),
        ("deep=true", "deep", True),
        ('files=["a"]', "files", ["a"]),
        ('extra={"a": null}', "extra", {"a": None}),
    ],
)
def test_words_are_parsed_by_the_declared_type(word: str, name: str, value: Any) -> None:
    assert bind_words(PLAN, ["depth=1", word])[name] == value


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ([], ["$.inputs.depth: must be given, for it has no default"]),
        (["depth"], ["$.inputs.depth: expected name=value, got 'depth'"]),
        (["depth=x"], ["$.inputs.depth: expected a whole number as JSON, got 'x'"]),
        (["depth=1.5"], ["$.inputs.depth: expected a whole number, got 1.5"]),
        (["depth=1", "depth=2"], ["$.inputs.depth: is given twice"]),
        (["depth=1", "dept=1"], ["$.inputs.dept: the plan has no such input; did you mean 'depth'?"]),
        (["depth=1", "=x"], ["$.inputs['']: the plan has no such input"]),
        (["depth=1", "scale=NaN"], ["$.inputs.scale: must be a finite number, and nan is not one"]),
        (["depth=1", 'extra={"a":1,"a":2}'], ["$.inputs.extra.a: the key appears twice in its object"]),
        (
            ["depth=1", "ref=\udcff"],
            ["$.inputs.ref: holds half of a character (a lone surrogate), which no text file can carry"],
        ),
    ],
)
def test_wrong_words_get_their_sentences(words: list[str], sentences: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        bind_words(PLAN, words)
    assert said(caught.value) == sentences


@given(st.lists(st.text(max_size=12) | st.tuples(st.sampled_from(sorted(PLAN.inputs)), st.text()).map("=".join)))
def test_no_words_raise_anything_but_a_plan_error(words: list[str]) -> None:
    try:
        bound = bind_words(PLAN, words)
    except PlanError as error:
        bound = dict.fromkeys(PLAN.inputs, error.problems)
    assert list(bound) == list(PLAN.inputs)
