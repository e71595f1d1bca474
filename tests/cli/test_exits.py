"""Which error ends the process with which code, and in which words."""

from __future__ import annotations

import pytest

from warmlane.cli.exits import code_of_error, gravest, innermost, sentence, sentence_of_run
from warmlane.errors import (
    LeftBehindError,
    MonitorAddressError,
    PlanError,
    Problem,
    RuntimeUnavailableError,
    WarmlaneError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PlanError([]), 2),
        (MonitorAddressError("127.0.0.1", 1, "taken"), 2),
        (RuntimeUnavailableError("docker", "no"), 5),
        (LeftBehindError(["a"]), 1),
    ],
)
def test_the_code_says_whose_turn_it_is(error: WarmlaneError, code: int) -> None:
    assert code_of_error(error) == code


@pytest.mark.parametrize(
    ("codes", "code"), [([0], 0), ([0, 3], 3), ([3, 1], 1), ([1, 2, 3], 2), ([3, 5], 5), ([1, 70], 70)]
)
def test_what_went_wrong_counts_before_what_was_aborted(codes: list[int], code: int) -> None:
    assert gravest(codes) == code


def test_every_problem_of_a_plan_has_a_line() -> None:
    error = PlanError([Problem("$.a", "is odd"), Problem("$.b", "is even")], source="p.json")
    assert sentence(error).splitlines() == ["p.json is not valid:", "  $.a: is odd", "  $.b: is even"]


def test_one_problem_stands_in_the_line() -> None:
    assert sentence(PlanError([Problem("$.a", "is odd")], source="p.json")) == "p.json is not valid: $.a: is odd"
    assert sentence(PlanError([Problem("", "no such file")], source="p")) == "cannot read p: no such file"


def test_who_wants_to_run_without_docker_is_told_what_else_there_is() -> None:
    error = RuntimeUnavailableError("docker", "no; start Docker")
    assert sentence_of_run(error) == "runtime 'docker' is not available: no; start Docker, or use '--runtime process'"
    assert sentence(error) == "runtime 'docker' is not available: no; start Docker"
    assert sentence_of_run(LeftBehindError(["a"])) == sentence(LeftBehindError(["a"]))


def test_an_error_that_is_alone_is_found_in_groups() -> None:
    error = LeftBehindError(["a"])
    assert innermost(ExceptionGroup("", [ExceptionGroup("", [error])])) is error


@pytest.mark.parametrize("error", [ValueError(), ExceptionGroup("", [PlanError([]), ValueError()])])
def test_what_is_not_alone_stays_as_it_is(error: Exception) -> None:
    assert innermost(error) is error
