"""The interpreters of this machine, out of pyenv's or of PATH."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

AGENT_RUNS_ON = tuple(f"3.{minor}" for minor in range(8, 14))
"""The versions on which the agent must run."""


def installed(version: str) -> list[str]:
    """Where pyenv has an interpreter of that version, whether it works or not."""
    return [*map(str, sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}")))]


@cache
def find_python(version: str) -> str | None:
    """An interpreter of that version which works."""
    on_path = shutil.which(f"python{version}")
    return next((path for path in [*installed(version), on_path] if path and _works(path)), None)


def describe() -> str:
    """Each version that the agent must run on, with what is here."""
    told = {version: find_python(version) for version in AGENT_RUNS_ON}
    here = [f"{version} ({path})" for version, path in told.items() if path]
    absent = [version for version, path in told.items() if not path]
    return f"{', '.join(here) or 'none'}{'; not here: ' + ', '.join(absent) if absent else ''}"


def _works(path: str) -> bool:
    """A shim of pyenv's lies on PATH for each version that any project has ever named."""
    return subprocess.run([path, "-I", "-c", "import ctypes"], check=False, capture_output=True).returncode == 0
