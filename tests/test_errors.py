"""Every error is one sentence on one line, and says what to do, or says why it cannot."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from warmlane import errors
from warmlane.errors import WarmlaneError

DO = "see what is wrong"
"""What those who raise an error put last, because they know the cause."""

ADVISED: list[tuple[WarmlaneError, str]] = [
    (
        errors.PlanError([errors.Problem("$.a", "is odd"), errors.Problem("$.b", DO)], source="p.json"),
        f"p.json is not valid: $.a: is odd; $.b: {DO}",
    ),
    (errors.PlanError([errors.Problem("", DO)], source="p.json"), f"cannot read p.json: {DO}"),
    (errors.RuntimeUnavailableError("docker", DO), f"runtime 'docker' is not available: {DO}"),
    (errors.ContainerFaultError("c", "i", DO), f"container of image 'i' failed: {DO}"),
    (
        errors.NeverHealthyError("c", None, DO, log_tail="one\ntwo\n"),
        f"container failed: {DO} (it printed: two)",
    ),
    (
        errors.NoFreePortError(1, 2, ours=1),
        (
            "no port is free in 1-2 on 127.0.0.1 (1 of them are our containers', the rest other processes'); "
            "choose another range with --ports, or transport 'unix'"
        ),
    ),
    (
        errors.LeftBehindError(["a", "b"]),
        "could not confirm the removal of a, b; run 'warmlane gc' to try again",
    ),
    (errors.SessionClosedError(), "the session is closed; open another one"),
    (errors.MonitorAddressError("h", 1, DO), f"the monitor cannot listen on h:1: {DO}"),
    (errors.WatchError("ws://h:1/ws", DO), f"cannot watch ws://h:1/ws: {DO}"),
]
HOST = "the host's words"
ONLY_THE_HOST_KNOWS: list[tuple[WarmlaneError, str]] = [
    (errors.RuntimeRefusedError("start c", HOST, status=500), f"could not start c: {HOST}"),
    (errors.RuntimeSilentError("start c", HOST), f"no answer to 'start c': {HOST}"),
    (errors.ContainerLostError("c", HOST), f"the container was lost: {HOST}"),
    (errors.PortTakenError(9100), "could not listen on 127.0.0.1:9100: another process holds that port"),
]


def classes() -> Iterator[type]:
    """All error classes but the base."""
    for found in vars(errors).values():
        if inspect.isclass(found) and issubclass(found, WarmlaneError) and found is not WarmlaneError:
            yield found


def test_every_class_is_looked_at() -> None:
    assert {type(error) for error, _ in (*ADVISED, *ONLY_THE_HOST_KNOWS)} == set(classes())


@pytest.mark.parametrize(("error", "sentence"), [*ADVISED, *ONLY_THE_HOST_KNOWS])
def test_an_error_is_the_sentence_made_from_its_data(error: WarmlaneError, sentence: str) -> None:
    assert str(error) == sentence
    assert "\n" not in sentence
