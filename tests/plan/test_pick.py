"""What a block gets, and how wide a plan is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.functions import Functions

from warmlane.plan.expressions import ExpressionError, parse
from warmlane.plan.model import Block, Container, ParallelLane, WorkflowPlan
from warmlane.plan.pick import InputError, block_input, widths


def got(previous: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **words: Any) -> Any:
    """The input of a block with these words; the run's input is {"ref": "main"}."""
    plan = WorkflowPlan(name="n", blocks={"x": Block(command=("true",), **words)}, lanes=("x",))
    return block_input(plan, "x", previous=previous or {}, outputs=outputs or {}, inputs={"ref": "main"})


def test_without_from_a_block_gets_the_lane_before_in_its_order() -> None:
    assert list(got(previous={"b": 1, "a": None}, outputs={"b": 1, "a": None, "z": 3}).items()) == [
        ("b", 1),
        ("a", None),
    ]


def test_the_first_lane_gets_nothing() -> None:
    assert got() == {}


def test_with_from_a_block_gets_what_it_picks_and_nothing_else() -> None:
    picked = got(
        previous={"b": 1},
        outputs={"a": {"n": [1, 2]}, "b-1": 1},
        from_={"last": "a.n[-1]", "ref": "inputs.ref", "gone": "a.zzz.y", "one": '"b-1"', "lost": "failed.x"},
    )
    assert picked == {"last": 2, "ref": "main", "gone": None, "one": 1, "lost": None}


def test_constants_lie_on_top() -> None:
    assert got(previous={"b": 1, "c": 2}, input={"b": 9}) == {"b": 9, "c": 2}
    assert got(outputs={"a": 1}, from_={"a": "a", "b": "a"}, input={"b": None}) == {"a": 1, "b": None}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("length(a)", "'from' of 'v': 'length(a)' fails: In function length(), invalid type for value: 3,"),
        ("to_number('nan')", "'from' of 'v': 'to_number(\\'nan\\')' fails: "),
        ("&a", "'from' of 'v': '&a' fails: Object of type _Expression is not JSON serializable"),
        (
            "ceil(to_number('1e999'))",
            "'from' of 'v': 'ceil(to_number(\\'1e999\\'))' fails: cannot convert float infinity",
        ),
        ("abs(a, a)", "'from' of 'v': 'abs(a, a)' fails: Expected 1 argument for function abs(), received 2"),
    ],
)
def test_what_fails_on_these_values_says_why(expression: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        got(outputs={"a": 3}, from_={"v": expression})
    assert str(caught.value).startswith(reason.replace("\\'", "'"))
    assert str(caught.value).isprintable()


def test_a_value_too_deep_to_be_written_says_so() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError, match="'a' is nested too deeply"):
        got(outputs={"a": deep}, from_={"v": "a"})


@given(
    st.text("abfoinputs.[]{}()|&@*?'`\"!<>= :,0-", max_size=30)
    | st.sampled_from(sorted(Functions.FUNCTION_TABLE)).flatmap(
        lambda name: st.sampled_from(
            [
                f"{name}({args})"
                for args in (
                    "",
                    "a",
                    "b",
                    "a, b",
                    "&a",
                    "b, &a",
                    "&a, b",
                    "'x', c",
                    "c",
                    "c, a",
                    "`1e999`",
                    "`null`",
                    "d",
                    "d, d",
                    "c, 'x'",
                    "b, &@",
                    "d, &a",
                )
            ]
        )
    )
)
def test_no_expression_that_checks_fails_but_with_its_sentence(expression: str) -> None:
    with suppress(InputError, ExpressionError):
        parse(expression)
        got(
            outputs={"a": 3, "b": [{"a": 1}, {"a": "x"}, None], "c": "text", "d": {"a": [1, "2"]}},
            from_={"v": expression},
        )


def wide(model: Any, *lanes: list[str]) -> list[tuple[str | None, int]]:
    """Image and need of each kind of container; a block's image is its first letter, `-` the plan's."""
    ids = [block_id for lane in lanes for block_id in lane]
    blocks = {
        block_id: Block(command=("x",), container=Container(image=None if block_id[0] == "-" else block_id[0]))
        for block_id in ids
    }
    plan = WorkflowPlan(
        name="n",
        blocks=blocks,
        lanes=[ParallelLane(blocks=lane) for lane in lanes],
        parallelism_model=model,
        container=Container(image="base"),
    )
    return [(container.image, width) for container, width in widths(plan).values()]


def test_each_kind_of_container_is_as_wide_as_its_widest_lane() -> None:
    assert wide("multi-container", ["-1"], ["a1", "-2", "a2", "a3"], ["-3", "-4"], ["b1"]) == [
        ("base", 2),
        ("a", 3),
        ("b", 1),
    ]


def test_a_lane_in_a_single_container_needs_one() -> None:
    assert wide("single-container", ["a1", "a2", "a3"], ["-1"], ["a4"]) == [("a", 1), ("base", 1)]


def test_the_order_of_an_environment_makes_no_other_container() -> None:
    one, other = Container(env={"A": "1", "B": "2"}), Container(env={"B": "2", "A": "1"})
    assert one.key == other.key != Container(env={"A": "2", "B": "1"}).key
