"""A private, throw-away Docker daemon, and the containerd under it.

`private_daemon()` yields its address. It has its own data, state, sockets, process ids and network bridge, and
switches off all that the daemon would change for the whole machine (firewall, forwarding), so that other daemons do
not notice it. Ports that containers publish on 127.0.0.1 work. When the block ends, however it ends, containers,
processes, mounts, bridge and folder are gone. A run that was killed with SIGKILL leaves them; the next one sweeps
them up, told by a lock that died with it.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from dockerd.api import Daemon, DaemonError
from dockerd.bridge import BridgeError, private_bridge, remove_bridge
from dockerd.leftovers import end_processes, remove_folder
from signals import interruptible

# Not TMPDIR: the path of a socket must be short.
_BASE = Path("/tmp")
_PREFIX = "warmlane-dockerd-"
_START_SECONDS = 60
_STOP_SECONDS = 30


class PrivateDaemonError(Exception):
    """The private daemon could not be started; the message says why and what to do."""


class PrivateDaemon(Daemon):
    """One that is ours, and may be restarted."""

    def __init__(self, url: str, running: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(url)
        self._running = running
        self._stack = ExitStack()

    def start(self) -> None:
        """Returns when it answers."""
        self._stack.enter_context(self._running())

    def stop(self) -> None:
        """Returns when it has ended, in its regular way; nothing happens if it does not run."""
        self._stack.close()


@contextmanager
def private_daemon(*, live_restore: bool = False) -> Iterator[PrivateDaemon]:
    """Start a daemon for the length of the block. Raises PrivateDaemonError.

    live_restore: its containers live on while it is stopped.
    """
    if os.geteuid() != 0:
        raise PrivateDaemonError("a private Docker daemon takes root: become root, or start the machine's own Docker")
    for program in ("dockerd", "containerd", "ip"):
        if shutil.which(program, path=_path()) is None:
            package = "iproute2" if program == "ip" else "docker.io"
            raise PrivateDaemonError(f"{program} is missing: apt-get install {package}")
    sweep()
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        try:
            bridge = stack.enter_context(private_bridge())
        except BridgeError as error:
            raise PrivateDaemonError(str(error)) from error
        (folder / "bridge").write_text(bridge)
        yield stack.enter_context(_running(folder, bridge, live_restore=live_restore))


def sweep() -> None:
    """End and remove what earlier runs left because they were killed; what a living run uses is not touched."""
    for folder in _BASE.glob(f"{_PREFIX}*"):
        try:
            lock = (folder / "lock").open("r+")
        except OSError:
            continue  # being made, or being removed
        with lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_all(folder)


def _remove_all(folder: Path) -> None:
    end_processes(folder)
    with suppress(OSError):
        remove_bridge((folder / "bridge").read_text())
    remove_folder(folder)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is locked for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_BASE)).resolve()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove_all(folder)


@contextmanager
def _running(folder: Path, bridge: str, *, live_restore: bool) -> Iterator[PrivateDaemon]:
    # Its own containerd: a daemon that finds the machine's takes that one, and removes the others' containers there.
    containerd_socket = folder / "containerd.sock"
    containerd = [
        "containerd",
        f"--root={folder / 'containerd'}",
        f"--state={folder / 'containerd-state'}",
        f"--address={containerd_socket}",
        f"--config={_containerd_configuration(folder)}",
    ]
    daemon = PrivateDaemon(f"unix://{folder / 'docker.sock'}", lambda: _process(folder, dockerd, daemon.answers))
    dockerd = [
        "dockerd",
        f"--host={daemon.url}",
        f"--containerd={containerd_socket}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
        f"--config-file={_configuration(folder, live_restore=live_restore)}",
        f"--bridge={bridge}",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]
    with _process(folder, containerd, containerd_socket.is_socket):
        daemon.start()
        try:
            yield daemon
        finally:
            _remove_containers(daemon)  # or the daemon waits ten seconds for each
            daemon.stop()


def _containerd_configuration(folder: Path) -> Path:
    """Without the Kubernetes part, which sets up networks of its own."""
    path = folder / "containerd.toml"
    path.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    return path


def _configuration(folder: Path, *, live_restore: bool) -> Path:
    """The machine's /etc/docker/daemon.json is for the machine's daemon."""
    path = folder / "daemon.json"
    path.write_text(json.dumps({"live-restore": live_restore}))
    return path


@contextmanager
def _process(folder: Path, command: list[str], ready: Callable[[], bool]) -> Iterator[None]:
    """Run a daemon of the machine's kind: it starts before the block and is stopped, by its process id, after it."""
    name = command[0]
    with (folder / f"{name}.log").open("w+b") as log:
        # A session of its own: Ctrl-C is ours to handle, and the daemon is stopped last.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=_environment()
        )
        try:
            _wait_ready(name, process, ready, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(name: str, process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = "\n".join(log.read().decode(errors="replace").splitlines()[-15:])
            raise PrivateDaemonError(f"{name} did not start; its last words:\n{said}")
        with interruptible():
            time.sleep(0.05)


def _remove_containers(daemon: Daemon) -> None:
    with suppress(DaemonError):  # what it does not remove is ended with the processes of its folder
        for container in daemon.containers():
            with suppress(DaemonError):
                daemon.remove_container(container["Id"])


def _path() -> str:
    """Daemons live in sbin, which a user's PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _path()}
