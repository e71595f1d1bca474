"""Waits for the end of the engine; a program of the standard library alone, so that it costs little to have around.

    python -I -S wait.py ENGINE_PID COMMAND...

Standard input is a pipe whose other end the engine holds. A byte in it says that the session has ended, and all is
well. Its end, or that of the engine's process (for somebody may have inherited the pipe), without that byte says that
the engine is dead: this process then becomes COMMAND.

No signal but SIGKILL ends it, for whoever ends the engine with a signal to all gives the engine time to clean up. It
ends with the engine, so nobody needs to end it.
"""

import os
import select
import signal
import sys


def main() -> None:
    """The whole life."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    engine = int(sys.argv[1])
    poll = select.poll()
    poll.register(0, select.POLLIN)
    try:  # noqa: SIM105 - contextlib would take longer to load than all the rest
        poll.register(os.pidfd_open(engine), select.POLLIN)
    except (AttributeError, OSError):
        pass  # it is dead already, or this system cannot tell: the pipe will
    if os.getppid() == engine:  # else its pid may be another's by now
        poll.poll()
    os.set_blocking(0, False)
    try:
        well = os.read(0, 1)
    except BlockingIOError:
        well = b""
    if well:
        os._exit(0)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - there is none wanted


if __name__ == "__main__":
    main()
