"""What the blocks of the benchmark do, in their containers. It has to run on any Python that the agent runs on."""

import signal
import time


def nothing() -> None:
    """The no-op: nothing but what any block costs."""


def now() -> float:
    """When the block began, by the clock that all containers of a machine share."""
    return time.time()


def rest(given: "dict[str, float]") -> None:
    """Says that it is there, and takes its time."""
    print("here", flush=True)
    time.sleep(given["seconds"])


def rest_deaf(given: "dict[str, float]") -> None:
    """The same, and SIGTERM does not disturb it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    rest(given)
