"""The real program, as its users start it; and a look at what it has left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest

_PATIENCE = 60.0  # seconds


class Program:
    """One `warmlane` at work. `home` is where its run directories lie, and what all its processes can be known by.

    It is killed if it has not ended after a minute.
    """

    def __init__(
        self, arguments: tuple[str, ...], home: Path, stdout: int | None, tty: int | None, ignoring: str
    ) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in ("DOCKER_HOST", "XDG_RUNTIME_DIR")}
        environment |= {"XDG_RUNTIME_DIR": str(home), "DOCKER_HOST": f"unix://{home}/no-docker.sock"}
        heeding = ["env", "--default-signal=INT,TERM,HUP", f"--ignore-signal={ignoring}"]  # not what pytest ignores
        command = [*heeding, sys.executable, "-m", "warmlane", *arguments]
        self.process: subprocess.Popen[str]
        if tty is None:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
                encoding="utf-8",
            )
        else:
            environment |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
            leader = ["setsid", "--ctty", "--wait", *command]
            self.process = subprocess.Popen(
                leader, stdin=tty, stdout=tty, stderr=tty, env=environment, text=True, encoding="utf-8"
            )
        self._watchdog = threading.Timer(_PATIENCE, self.process.kill)
        self._watchdog.start()

    @property
    def err(self) -> IO[str]:
        """Its stderr, unless that is a terminal."""
        assert self.process.stderr is not None
        return self.process.stderr

    @property
    def out(self) -> IO[str]:
        """Its stdout, if that is a pipe of ours."""
        assert self.process.stdout is not None
        return self.process.stdout

    def line(self, holding: str, stream: IO[str] | None = None) -> str:
        """Reads on until a line holds this text, and returns it."""
        read = []
        for line in stream or self.out:
            read.append(line)
            if holding in line:
                return line
        raise AssertionError(f"no line with {holding!r} in:\n{''.join(read)}")

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Waits until it ends: its exit code, and the rest of what it printed on stdout and stderr."""
        out, err = self.process.communicate()
        return self.process.returncode, out or "", err

    def close(self) -> None:
        """Kills it if it still runs."""
        self._watchdog.cancel()
        self._watchdog.join()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for run directories, short enough for sockets; in the end nothing is in it or runs from it."""
    home = Path(tempfile.mkdtemp(prefix="wl-", dir="/tmp"))
    yield home
    left = [str(path) for path in home.glob("warmlane/*")]
    processes = _processes_of(home)
    shutil.rmtree(home)
    assert (left, processes) == ([], [])


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Program]]:
    """Starts `warmlane ARGUMENTS`; it is killed at the end of the test if it has not ended by then."""
    programs: list[Program] = []

    def start(
        *arguments: str | Path, stdout: int | None = None, tty: int | None = None, ignoring: str = "PIPE"
    ) -> Program:
        programs.append(Program(tuple(map(str, arguments)), home, stdout, tty, ignoring))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def plan_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a plan from blocks, all in one lane unless `lanes` says otherwise, and returns its path."""

    def write(blocks: Mapping[str, Any], **more: Any) -> Path:
        path = tmp_path / "plan.json"
        document = {"name": "trial", "lanes": [{"blocks": list(blocks)}], "blocks": blocks, **more}
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write


def _processes_of(home: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            about = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in about:
            found.append(f"{process.name}: {about[:200]!r}")
    return found
