"""Who owns a container: the label that one process writes on what it makes, and how another tells that it has died.

A label is `<pid>.<start time>.<boot>.<pid namespace>.<machine>`; what cannot be read is `-`. Only /proc is read, and
nobody is signalled. The rule that matters: what is not known for sure is never dead, for a container of a live
session must not be removed by another one.

Synchronous and quick; any process may ask, about any label.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from attrs import frozen

_UNKNOWN = "-"


@frozen(kw_only=True)
class _Owner:
    pid: str
    start: str
    boot: str
    namespace: str
    machine: str

    @property
    def label(self) -> str:
        return ".".join((self.pid, self.start, self.boot, self.namespace, self.machine))


def owner_label() -> str:
    """The label of this process: equal for all that it makes, and never equal to another process's."""
    pid = os.getpid()
    return _Owner(
        pid=str(pid), start=_start_time(pid) or _UNKNOWN, boot=_boot(), namespace=_pid_namespace(), machine=_machine()
    ).label


def owner_is_dead(label: str) -> bool:
    """Whether the process that wrote `label` is known to have ended. False whenever that cannot be told from here:
    it lived in another pid namespace or on another machine, or the label is not one of ours."""
    owner = _parse(label)
    if owner is None:
        return False
    if owner.boot != _boot():
        # Before a reboot of this machine, if it is this machine; else some other one that shares our container host.
        return _UNKNOWN not in (owner.boot, _boot(), owner.machine) and owner.machine == _machine()
    if _UNKNOWN in (owner.boot, owner.namespace, owner.start) or owner.namespace != _pid_namespace():
        return False
    try:
        os.kill(int(owner.pid), 0)  # asks whether it exists, which a /proc with hidepid does not say
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    start = _start_time(int(owner.pid))
    return start is not None and start != owner.start


def _parse(label: str) -> _Owner | None:
    parts = label.split(".")
    if len(parts) != 5 or not all(parts) or not (parts[0].isascii() and parts[0].isdigit()) or int(parts[0]) == 0:
        return None
    pid, start, boot, namespace, machine = parts
    return _Owner(pid=pid, start=start, boot=boot, namespace=namespace, machine=machine)


def _start_time(pid: int) -> str | None:
    """When the process began, in clock ticks since the boot; `ended` for a zombie; None if that cannot be read."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = about.rpartition(")")[2].split()  # the name before it may hold anything, `)` and blanks too
    return "ended" if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _machine() -> str:
    """A digest, for systemd asks that the id itself be kept on the machine."""
    name = _read("/etc/machine-id")
    return name if name == _UNKNOWN else hashlib.sha256(b"warmlane " + name.encode()).hexdigest()[:16]


def _pid_namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return _UNKNOWN


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip() or _UNKNOWN
    except OSError:
        return _UNKNOWN
