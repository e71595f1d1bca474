"""Runs a command with DOCKER_HOST set to a private Docker daemon that has the test images, and that is gone
afterwards.

`main` is tools/with-docker; run_tests.py uses the parts. SIGINT, SIGTERM and SIGHUP end the command, then the daemon.
The exit code is the command's own, or 128 and the number of the signal that ended it.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dockerd.api import Daemon, DaemonError
from dockerd.private import PrivateDaemonError, private_daemon
from images.archive import ImageError
from images.supply import supply
from signals import ended_by_signals, interruptible

_GRACE_SECONDS = 10

FAULTS = (DaemonError, ImageError, PrivateDaemonError)


def say(text: str) -> None:
    """Tell the person at the terminal what is going on."""
    print(f"warmlane: {text}", file=sys.stderr, flush=True)


@contextmanager
def supplied_daemon() -> Iterator[Daemon]:
    """A private daemon with the test images. Raises one of FAULTS."""
    say("starting a private Docker daemon")
    with private_daemon() as daemon:
        supply(daemon, for_examples=True, say=say)
        yield daemon


def call(command: list[str], environment: dict[str, str]) -> int:
    """Run a command with these additions to the environment; when we are told to end, it is told first.

    The exit code is the command's own, 128 and the number of the signal that ended it, or 127 if there is none such.
    """
    try:
        started = subprocess.Popen(command, env={**os.environ, **environment})
    except OSError as error:
        say(f"cannot run {command[0]!r}: {error.strerror}")
        return 127
    with started as process:
        try:
            with interruptible():
                code = process.wait()
        except SystemExit as ending:
            _end(process, told=ending.code == 128 + signal.SIGINT)
            raise
    return code if code >= 0 else 128 - code


def _end(process: "subprocess.Popen[bytes]", *, told: bool) -> None:
    """SIGTERM, then SIGKILL. Ctrl-C has reached the command too, so it is first left to end in its own way."""
    if not told:
        process.terminate()
    for insist in (process.terminate, process.kill):
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            insist()
        else:
            return
    process.wait()


def main() -> None:
    """Run the command that the command line names."""
    parser = argparse.ArgumentParser(
        prog="tools/with-docker", description="Run a command with DOCKER_HOST set to a private Docker daemon."
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run; DOCKER_HOST is set for it")
    command: list[str] = parser.parse_args().command
    if not command:
        parser.error("a command is needed")
    try:
        with ended_by_signals(), supplied_daemon() as daemon:
            code = call(command, {"DOCKER_HOST": daemon.url})
    except FAULTS as error:
        sys.exit(f"warmlane: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()
