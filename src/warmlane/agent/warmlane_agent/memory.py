"""What the kernel tells of killing for memory."""

from __future__ import annotations

import contextlib
import os

from .files import size_words


class MemoryKills:
    """How often the kernel has killed in our memory cgroup (of version 1 or 2), and the limit of that cgroup. `ours`
    says which one is ours, and below `root` they all are."""

    def __init__(self, ours: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup/") -> None:
        self._counter = self._limit = ""
        with contextlib.suppress(OSError), open(ours) as file:
            for line in file:
                _, kinds, path = line.rstrip("\n").split(":", 2)
                if kinds in ("", "memory") and not self._counter:
                    self._find(os.path.join(root, kinds), path, *_FILES[kinds])

    def _find(self, root: str, path: str, counter: str, limit: str) -> None:
        # In a container, its own cgroup is often mounted as the root
        for folder in (os.path.join(root, path.lstrip("/")), root):
            if os.path.exists(os.path.join(folder, counter)):
                self._counter, self._limit = os.path.join(folder, counter), os.path.join(folder, limit)
                return

    def count(self) -> int:
        """Kills so far; 0 if that cannot be told."""
        with contextlib.suppress(OSError, ValueError), open(self._counter) as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
        return 0

    def sentence(self) -> str:
        """What to say of one."""
        with contextlib.suppress(OSError, ValueError), open(self._limit) as file:
            limit = int(file.read())
            if limit < 1 << 60:
                return f"killed by the kernel: it exceeded the container's memory limit of {size_words(limit)}"
        return "killed by the kernel: out of memory"


_FILES = {
    "memory": ("memory.oom_control", "memory.limit_in_bytes"),
    "": ("memory.events", "memory.max"),
}
