"""`warmlane` and `python -m warmlane`: runs one command, and ends the process with its exit code.

Errors of ours become one sentence on stderr that says what to do; only a bug of our own shows a traceback (exit 70).
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from contextlib import suppress

import click

from warmlane.cli.commands import cli


def main() -> None:
    """The whole program."""
    _fill_standard_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command, and returns the exit code."""
    try:
        code = cli.main(arguments, prog_name="warmlane", standalone_mode=False)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see '{context.command_path} --help')" if context else ""
        return _complain(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except BaseException as error:  # noqa: BLE001 - the last resort: sorted into what users and what we have done
        return _end_with(error)
    return code if isinstance(code, int) else 0


def _end_with(error: BaseException) -> int:
    from warmlane.cli import exits
    from warmlane.errors import WarmlaneError

    match exits.innermost(error):
        case WarmlaneError() as ours:
            return _complain(exits.sentence(ours), exits.code_of_error(ours))
        case click.Abort() | KeyboardInterrupt():
            return _complain("interrupted", exits.ABORTED)
        case SystemExit() | BrokenPipeError():  # rich says the one where click says the other: nobody reads us
            return exits.FAILED
        case _:
            traceback.print_exception(error)
            return _complain("this is a bug in Warmlane; please report it with the lines above", exits.BUG)


def _complain(text: str, code: int) -> int:
    from warmlane.terminal import visible

    with suppress(OSError):  # nobody is there to be told
        click.echo("\n".join(map(visible, f"warmlane: {text}".split("\n"))), err=True)
    return code


def _fill_standard_streams() -> None:
    """Makes sure that descriptors 0 to 2 are open, so that no socket of ours can come to be one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
