"""Where and when it was measured: without that, a figure means nothing."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.raw import RawDocker


def conditions(docker: RawDocker) -> dict[str, Any]:
    """The machine, its software, the date and how busy it is, as plain JSON values."""
    version = json.loads(docker.call("GET", "/version"))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "cpu": _cpu(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "docker": version["Version"],
        "dockerApi": version["ApiVersion"],
        "load": load(),
        "commit": _commit(),
    }


def load() -> list[float]:
    """How many processes have wanted a processor, over the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def _cpu() -> str | None:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def _commit() -> str | None:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
