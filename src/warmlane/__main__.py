"""`warmlane` and `python -m warmlane`: runs one command, and ends the process with its exit code.

Errors of ours become one sentence on stderr that says what to do; only a bug of our own shows a traceback (exit 70).
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

import click

from warmlane.cli.commands import cli
from warmlane.cli.stdout import StdoutError, open_stdout


def main() -> None:
    """The whole program."""
    _fill_standard_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command, and returns the exit code."""
    try:
        code = cli.main(arguments, prog_name="warmlane", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        with suppress(OSError):
            click.echo(error.format_message(), err=True)
        return error.exit_code
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
        case StdoutError() as broken:
            return exits.COMPLETED if broken.gone else _complain(str(broken), exits.FAILED)
        case _:
            traceback.print_exception(error)
            return _complain("this is a bug in Warmlane; please report it with the lines above", exits.BUG)


def _complain(text: str, code: int) -> int:
    from warmlane.terminal import visible_lines

    with suppress(OSError):  # nobody is there to be told
        click.echo("\n".join(visible_lines(f"warmlane: {text}")), err=True)
    return code


def _fill_standard_streams() -> None:
    """Makes sure that descriptors 0 to 2 are open, so that no socket of ours can come to be one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    sys.stdout = open_stdout(sys.stdout.encoding if sys.stdout else "utf-8")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    sys.stderr = open(2, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115 - as long as the process


if __name__ == "__main__":
    main()
