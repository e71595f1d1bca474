"""What agent.json says that more than one part needs to know."""

from __future__ import annotations

import os

from .leftovers import Leftovers
from .memory import MemoryKills

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Settings:
    """Made once, in the agent; all processes that are forked from it have the same."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.token: str = config["token"]
        self.workspace: str | None = config.get("workspace")
        self.scratch: str = config.get("scratch") or "/tmp"  # noqa: S108 - the one place where a container can write
        self.kills = MemoryKills()
        transient = config.get("transient") or ()
        self.leftovers = Leftovers(transient)
        env: dict[str, str] = config.get("env") or {}
        self.own_home = bool(transient) and "HOME" not in env
        if self.own_home:
            os.environ["HOME"] = self.scratch  # for what is imported before there is a block
        os.environ.update(env)
        if self.workspace:
            os.environ["WARMLANE_WORKSPACE"] = self.workspace
