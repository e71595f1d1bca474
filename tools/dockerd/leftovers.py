"""Finding and ending what a private daemon has on this machine: processes and mounts under its folder.

Both are found by the folder's own path, which nothing else uses, and so this serves the regular end of a daemon as
well as the sweep after a run that was killed.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path


def processes_of(folder: Path) -> list[int]:
    """The daemons and shims that have the folder in their command line, and what runs in the containers there."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_daemon = Path(os.fsdecode(words[0])).name.startswith(("dockerd", "containerd")) and any(
                os.fsencode(folder) in word for word in words
            )
            in_container = root_is_in(folder, (entry / "mountinfo").read_text())
        except OSError:
            continue  # it ended while we looked
        if is_daemon or in_container:
            found.append(int(entry.name))
    return found


def end_processes(folder: Path, *, seconds: float = 10) -> None:
    """SIGTERM, then SIGKILL, to each process of the folder, by its id, until they are gone or the time is over."""
    deadline = time.monotonic() + seconds
    number = signal.SIGTERM
    while (found := processes_of(folder)) and time.monotonic() < deadline:
        for pid in found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        time.sleep(0.3 if number is signal.SIGTERM else 0.05)
        number = signal.SIGKILL


def mounts_under(folder: Path) -> list[Path]:
    """Mount points in and below the folder, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(_unescape(line.split()[4])) for line in lines]
    return sorted((point for point in points if point.is_relative_to(folder)), key=lambda point: -len(point.parts))


def remove_folder(folder: Path) -> None:
    """Unmount what is mounted below the folder, and remove it."""
    for point in mounts_under(folder):
        subprocess.run(["umount", "--lazy", str(point)], capture_output=True, check=False)
    if not mounts_under(folder):  # never delete through a mount
        shutil.rmtree(folder, ignore_errors=True)


def root_is_in(folder: Path, mountinfo: str) -> bool:
    """Whether a process's root directory is an image layer in the folder.

    That the folder's mounts are seen somewhere else means nothing: each new mount namespace begins with a copy of all.
    """
    return any(line.split()[4] == "/" and str(folder) in line for line in mountinfo.splitlines())


def _unescape(text: str) -> str:
    """A path of mountinfo, where blanks and the like stand as octal numbers."""
    return text.encode().decode("unicode_escape")
