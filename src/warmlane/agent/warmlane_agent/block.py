"""One block: what it is to be, the directory that it lives in, and its own process."""

from __future__ import annotations

import json
import os
import signal

from . import functions
from .files import OWN, remove, write_new
from .output import read_output, read_verdict, too_large
from .processes import default_signals, fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .output import Ended
    from .settings import Settings

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells say it


class Block:
    """Made by its supervisor from the request's body: a line of JSON, then the input. Raises OSError if there is no
    room for its directory."""

    def __init__(self, settings: Settings, call: dict[str, Any], data: bytes) -> None:
        self._settings, self._call, self._data = settings, call, data
        self._home = os.path.join(settings.scratch, OWN + os.urandom(4).hex())
        os.mkdir(self._home, 0o700)
        self._folder = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # whatever takes its place

    def start(self, outputs: list[int], close: list[int]) -> int:
        """Starts its process, whose stdin is its supervisor's (nothing), and stdout and stderr are `outputs`; it closes
        `close`. Returns the pid."""
        for name in ("work", "tmp"):
            os.mkdir(self._path(name), 0o700)
        write_new(self._path("input.json"), self._data)
        return fork(self._run, outputs, close)

    def ended(self, code: int) -> Ended:
        """What is to be said of it if it ended with that code."""
        verdict = read_verdict(self._folder)
        if verdict:
            return verdict[0], verdict[1], b"null"
        if code:
            return "error", f"exit code {code}", b"null"
        return read_output(self._folder, self._call["output_limit"])

    def remove(self) -> None:
        """Removes its directory."""
        remove(self._home)

    # In its own process

    def _run(self, outputs: list[int], close: list[int]) -> NoReturn:
        os.setsid()
        default_signals()
        for place, fd in enumerate(outputs, 1):
            os.dup2(fd, place)
        for fd in (*outputs, self._folder, *close):
            os.close(fd)
        os.chdir(self._path("work"))
        os.environ.update(
            WARMLANE_EXECUTION_ID=str(self._call["execution_id"]),
            WARMLANE_BLOCK_ID=str(self._call["block_id"]),
            WARMLANE_ATTEMPT=str(self._call["attempt"]),
            WARMLANE_INPUT=self._path("input.json"),
            WARMLANE_OUTPUT=self._path("output.json"),
            TMPDIR=self._path("tmp"),
        )
        if self._settings.own_home:
            os.environ["HOME"] = self._path("work")
        target = self._call.get("python")
        if target:
            os._exit(functions.run(target, self._data, self._settings.workspace, self._verdict, self._output))
        self._execute(self._call["command"])

    def _execute(self, command: list[str]) -> NoReturn:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # what Python ignores would stay ignored
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execvp(command[0], command)  # noqa: S606 - the block says itself if it wants a shell
        except (FileNotFoundError, NotADirectoryError):
            self._verdict("error", f"cannot run '{command[0]}': command not found")
            os._exit(NOT_FOUND)
        except (OSError, ValueError) as error:
            self._verdict("error", f"cannot run '{command[0]}': {getattr(error, 'strerror', None) or error}")
            os._exit(NOT_EXECUTABLE)

    def _verdict(self, fault: str, error: str) -> None:
        write_new(self._path("verdict.json"), json.dumps({"fault": fault, "error": error}).encode())

    def _output(self, data: bytes) -> None:
        limit = self._call["output_limit"]
        if len(data) > limit:
            self._verdict("bad-output", too_large(len(data), limit))
        else:
            write_new(self._path("output.json"), data)

    def _path(self, name: str) -> str:
        return os.path.join(self._home, name)
