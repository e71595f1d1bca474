"""What of a run's messages is worth a line to the person who started it, and the line.

Less than a monitor tells: the coming and going of containers is left to `warmlane monitor` and `--json`, but for a
container that cannot be removed. Pure but for what it remembers: the name of the plan, and how far each pull was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from warmlane.cli.summary import summary
from warmlane.monitor.plain import plain_text


class RunLines:
    """The lines of one session's runs."""

    def __init__(self) -> None:
        self._plan_name = ""
        self._pulls: dict[str, str] = {}

    def of(self, message: Mapping[str, Any]) -> list[str]:
        """The lines for this message, the next in order; often none. Nothing in them can steer a terminal."""
        payload = message["payload"]
        match message["channel"]:
            case "execution:complete" | "execution:aborted":
                return [*summary(self._plan_name, payload)]
            case "execution:started":
                self._plan_name = payload["planName"]
            case "execution:lane-start" if len(payload["blockIds"]) == 1:
                return []
            case "execution:lane-complete" | "session:notice":  # a notice is a logged warning, too, and told as one
                return []
            case "container:state-change" if payload["toState"] != "quarantined":
                return []
            case "container:pull-progress":
                if self._pulls.get(payload["image"]) == payload["status"]:
                    return []  # only the bytes are new
                self._pulls[payload["image"]] = payload["status"]
            case _:
                pass
        text = plain_text(message)
        return [] if text is None else [text]
