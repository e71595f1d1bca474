"""Runs the test suite with branch coverage, in the environment that it is called with.

Called by tools/test and .ci/run. With `--docker`, the Docker tests must run: on the daemon that the environment names
if it answers, else on a private one that is gone afterwards. The daemon is given the test images. All other arguments
are pytest's.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dockerd.api import Daemon, configured_url
from images.supply import supply
from signals import ended_by_signals
from with_docker import FAULTS, call, say, supplied_daemon

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def docker_environment() -> Iterator[dict[str, str]]:
    """What the suite is told of the daemon that it must use. Raises one of with_docker.FAULTS."""
    configured = Daemon(configured_url())
    if configured.answers():
        supply(configured, for_examples=False, say=say)
        yield {"DOCKER_HOST": configured.url, "WARMLANE_TEST_DOCKER": "required"}
    else:
        with supplied_daemon() as daemon:
            yield {"DOCKER_HOST": daemon.url, "WARMLANE_TEST_DOCKER": "required"}


def run_suite(arguments: list[str], environment: dict[str, str]) -> int:
    """Run pytest on the whole suite, or on what the arguments select; its exit code."""
    # -P: what is tested is the installed package, never a file that happens to lie in the working directory.
    pytest = [sys.executable, "-P", "-m", "pytest", f"--rootdir={ROOT}", "--cov", "--cov-report=term"]
    return call([*pytest, *arguments], environment)


def main() -> None:
    """Run the suite as the command line says."""
    parser = argparse.ArgumentParser(prog="tools/test", description="Run the tests.", allow_abbrev=False)
    parser.add_argument(
        "--docker", action="store_true", help="Docker tests must run, on a private daemon if none answers"
    )
    parser.epilog = "All other arguments go to pytest."
    ours, pytest = parser.parse_known_args()
    try:
        with ended_by_signals():
            if ours.docker:
                with docker_environment() as environment:
                    code = run_suite(pytest, environment)
            else:
                code = run_suite(pytest, {})
    except FAULTS as error:
        sys.exit(f"warmlane: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()
