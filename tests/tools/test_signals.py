"""A signal ends a tool where it waits, and nowhere else."""

import signal
from collections.abc import Callable

import pytest

from signals import ended_by_signals, interruptible


def code_of(work: Callable[[], object]) -> int | str | None:
    """How a tool ends that does this work."""
    with pytest.raises(SystemExit) as raised, ended_by_signals():
        work()
    return raised.value.code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait(number: int) -> None:
    def work() -> None:
        with interruptible():
            signal.raise_signal(number)
            pytest.fail("it went on")

    assert code_of(work) == 128 + number


def test_a_signal_elsewhere_is_kept_for_the_next_wait() -> None:
    """So that what is just being made is noted down, and can be removed."""
    made: list[str] = []

    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        made.append("noted")
        with interruptible():
            pytest.fail("it waited")

    assert code_of(work) == 128 + signal.SIGTERM
    assert made == ["noted"]


def test_cleaning_up_is_not_disturbed() -> None:
    cleaned: list[str] = []

    def work() -> None:
        try:
            with interruptible():
                signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            with interruptible():
                cleaned.append("waited for")

    assert code_of(work) == 128 + signal.SIGTERM
    assert cleaned == ["waited for"]


def test_a_wait_within_a_wait_does_not_end_it() -> None:
    def work() -> None:
        with interruptible():
            with interruptible():
                pass
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("it went on")

    assert code_of(work) == 128 + signal.SIGTERM


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
