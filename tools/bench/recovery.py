"""How soon all is gone when the engine is killed: the reaper's work, from SIGKILL to the daemon's own empty list."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter

import trio

from bench.ground import Ground, timed
from bench.stats import Figure, all_at_most, milliseconds
from dockerd.api import Daemon
from leaks import MARK
from soaking.kills import carriers

_WIDTH = 10
_LOOKING = 0.02  # seconds between two looks at the daemon's list
_PARTING = 15  # seconds for the reaper to end, which looks a second time for what may appear late


async def measure(ground: Ground) -> list[Figure]:
    """A `warmlane run` with ten running blocks is killed; beside it, ten raw containers are removed side by side."""
    ours: list[float] = []
    raw: list[float] = []
    for _ in range(ground.rounds(10)):
        boxes = ground.boxes(_WIDTH)
        raw.append(timed(lambda boxes=boxes: ground.remove(boxes)))  # type: ignore[misc]
        ours.append(await trio.to_thread.run_sync(_killed, ground.image))
    return [
        Figure(
            name="engine killed, 10 blocks running, to all gone",
            sample=milliseconds(ours),
            floor_name="raw remove, side by side",
            floor=milliseconds(raw),
            promises=(all_at_most(10_000),),
        )
    ]


def _killed(image: str) -> float:
    """Seconds from SIGKILL until the daemon knows no container of that session any more."""
    daemon, mark = Daemon(os.environ["DOCKER_HOST"]), secrets.token_hex(8)
    names = [f"b{index}" for index in range(_WIDTH)]
    plan = {
        "name": "killed",
        "container": {"image": image, "transport": "unix"},
        "blocks": {name: {"command": ["sleep", "600"]} for name in names},
        "lanes": [{"blocks": names}],
    }
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "plan.json")
        document.write_text(json.dumps(plan))
        words = [sys.executable, "-P", "-m", "warmlane", "run", str(document), "--runtime", "docker", "--json"]
        engine = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, MARK: mark}
        )
        try:
            session = _when_all_run(engine)
        finally:
            engine.send_signal(signal.SIGKILL)
            began = perf_counter()
            engine.communicate()
    while daemon.containers(f"warmlane.session={session}"):
        _wait(_LOOKING)
    spent = perf_counter() - began
    while carriers(mark) and perf_counter() - began < _PARTING:
        _wait(_LOOKING)
    return spent


def _when_all_run(engine: "subprocess.Popen[bytes]") -> str:
    """The session's id, once all its blocks have started."""
    assert engine.stdout is not None
    started = 0
    for line in engine.stdout:
        message = json.loads(line)
        started += message["channel"] == "execution:block-start"
        if started == _WIDTH:
            return str(message["executionId"]).partition("-")[0]
    raise RuntimeError("the engine ended before all its blocks had started")


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
