"""The run directories: what a container's agent reads and where its socket lies, on the host's own file system.

`<base>/<session>/<container>/agent.json`, with `<base>` 0700 and ours, so that no other user of the host comes near,
while a container that runs as any user may read its directory (and make its socket there) through a mount.

A container has its directory from before it is made until it is confirmed gone. Each session's directory names its
owner, and so tells `warmlane gc` what a killed engine left. One that a session leaves when it ends says so: what is in
it is nobody's any more, though the owner's process lives on. The mark is the owner's file under another name, for a
rename takes neither space nor a descriptor; where it fails, what was left counts as in use until that process ends.

All calls are synchronous and short, and may be made from any thread; they raise OSError if this machine refuses (no
space, no file descriptor). A directory is gone when `drop` has returned, unless a container's user has put into it
what we may not delete; then it stays listed by `sessions`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from warmlane.errors import RuntimeUnavailableError

AGENT_JSON = "agent.json"
SOCKET = "agent.sock"
NOTES = "reaper.log"

_OWNER = ".owner"
_ENDED = ".ended"
"""The same file, once the session has ended."""
_FRESH = ".new-"
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_MAKING = 60.0  # seconds after which a session's directory is not just being made any more
_SOCKET_PATH_LIMIT = 107  # sockaddr_un holds 108 bytes, and one of them ends the string
_BASE_LIMIT = 40  # leaves 67 for session, name and socket
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@frozen(kw_only=True)
class SessionDirs:
    """What there is of one session, ours or another's. `owner` is empty if it cannot be told; `ended` is what is known
    for sure."""

    session_id: str
    owner: str
    ended: bool
    containers: tuple[Path, ...]


class RunDirs:
    """The run directories of one session; its own is made with its first container's.

    Raises RuntimeUnavailableError if the base cannot be made or is not safe.
    """

    def __init__(self, session_id: str, owner: str) -> None:
        try:
            self.path = _base() / _safe(session_id)
        except OSError as error:
            raise RuntimeUnavailableError("run directory", str(error)) from error
        self._owner = owner

    def make(self, name: str, config: Mapping[str, Any]) -> Path:
        """Makes the directory of a container, with `config` as its agent.json, and returns it.

        Any user may read it; if `config` makes the agent listen on a unix socket, any user may also write there.
        """
        path = self.path / _safe(name)
        if len(os.fsencode(path / SOCKET)) > _SOCKET_PATH_LIMIT:
            raise ValueError(f"'{name}' is too long a name: the path of its socket would be over 107 bytes")
        if not self.path.exists():
            self._begin()
        elif (self.path / _ENDED).exists():
            raise FileExistsError(errno.EEXIST, "a session of that name has ended, and left this", str(self.path))
        path.mkdir()
        (path / AGENT_JSON).write_text(json.dumps(config), encoding="utf-8")
        (path / AGENT_JSON).chmod(0o644)  # whatever the umask is
        path.chmod(0o1777 if str(config.get("listen", "")).startswith("unix:") else 0o755)
        return path

    def find(self, name: str) -> Path | None:
        """The directory of a container of any session."""
        own = self.path / _safe(name)
        candidates = [own, *(session / name for session in _base().iterdir() if not session.name.startswith("."))]
        return next((path for path in candidates if _is_directory(path)), None)

    def drop(self, name: str) -> None:
        """Removes the directory of a container, of any session; with its last one, another session goes too."""
        while path := self.find(name):
            os.close(
                os.open(path, os.O_PATH)
            )  # without a descriptor, nothing could be removed, and nobody would say so
            _remove(path)
            if path.parent != self.path:
                _remove_if_empty(path.parent)
            if path.exists():
                return

    def _begin(self) -> None:
        fresh = self.path.with_name(f"{_FRESH}{secrets.token_hex(8)}")
        try:
            fresh.mkdir(mode=0o700)
            (fresh / _OWNER).write_text(self._owner, encoding="utf-8")
            fresh.rename(self.path)  # at no moment is there a session without its owner
        except OSError:
            _remove(fresh)
            raise

    def close(self) -> None:
        """Ends the session, for all to see. Directories that were not dropped stay: their containers are not confirmed
        gone. No container may be made, used or removed through this object any more."""
        with suppress(OSError):
            (self.path / _OWNER).rename(self.path / _ENDED)
        _remove_if_empty(self.path)


def sessions() -> list[SessionDirs]:
    """The run directories of all sessions of this user, our own too."""
    found = [_read(path) for path in sorted(_base().iterdir()) if not path.name.startswith(".") and _is_directory(path)]
    return [session for session in found if session is not None]


def left_behind() -> set[tuple[str, str]]:
    """Owner and name of each container that a session could not remove before it ended."""
    return {(session.owner, path.name) for session in sessions() if session.ended for path in session.containers}


def note(session_id: str, text: str) -> None:
    """Leaves a line for people in the directory of a session that was killed, `reaper.log`; it goes with the last of
    that session's containers. Nothing happens if there is no such directory, or no space."""
    with suppress(OSError, RuntimeUnavailableError):
        folder = _base() / _safe(session_id)
        if _is_directory(folder):
            with (folder / NOTES).open("a", encoding="utf-8") as notes:
                notes.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")


def sweep(is_dead: Callable[[str], bool], is_gone: Callable[[Path], bool]) -> None:
    """Removes the directories of dead owners whose containers are gone (`is_gone` is given the directory)."""
    for session in sessions():
        if session.owner and is_dead(session.owner):
            for path in filter(is_gone, session.containers):
                _remove(path)
            _remove_if_empty(_base() / session.session_id)
    for path in _base().glob(f"{_FRESH}*"):
        if time.time() - path.lstat().st_mtime > _MAKING:  # whoever was making it was killed
            _remove(path)


def _base() -> Path:
    """`$XDG_RUNTIME_DIR/warmlane` or `<tmp>/warmlane-<uid>`: a directory that is ours, and closed to others."""
    uid = os.geteuid()
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    choices = [
        *([Path(runtime_dir) / "warmlane"] if runtime_dir and os.access(runtime_dir, os.W_OK) else []),
        Path(tempfile.gettempdir()) / f"warmlane-{uid}",
        Path("/tmp") / f"warmlane-{uid}",  # noqa: S108 - verified below; short enough for sockets, whatever TMPDIR says
    ]
    base = next((path for path in choices if len(os.fsencode(path)) <= _BASE_LIMIT), choices[-1])
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise
        said = f"'{base}' cannot be used: {error.strerror}; set XDG_RUNTIME_DIR to a folder of yours"
        raise RuntimeUnavailableError("run directory", said) from error
    try:
        about = os.fstat(handle)
        if about.st_uid != uid:
            said = f"'{base}' belongs to another user; remove it, or set XDG_RUNTIME_DIR"
            raise RuntimeUnavailableError("run directory", said)
        if stat.S_IMODE(about.st_mode) != 0o700:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)
    return base


def _safe(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' cannot name a directory")
    return name


def _read(path: Path) -> SessionDirs | None:
    try:
        entries = sorted(path.iterdir())
    except (FileNotFoundError, PermissionError):
        return None  # that session has ended while we looked; or nothing of it can be known
    owner, ended = _owner_of(path)
    containers = tuple(entry for entry in entries if not entry.name.startswith(".") and _is_directory(entry))
    return SessionDirs(session_id=path.name, owner=owner, ended=ended, containers=containers)


def _owner_of(path: Path) -> tuple[str, bool]:
    """The owner of a session, and whether it has ended. In this order, for it may do so while we look."""
    for name in (_OWNER, _ENDED):
        try:
            return (path / name).read_text(encoding="utf-8"), name == _ENDED
        except (OSError, UnicodeDecodeError):
            continue
    return "", False


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Removes a tree without following links, even if the owner of a directory in it has closed it to us."""
    _remove_tree(path)
    if path.exists():
        for folder, _, _ in os.walk(path, onerror=_open_up):
            _open_folder(folder)
        _remove_tree(path)


def _remove_tree(path: Path) -> None:
    """Goes on after what it may not remove; raises OSError if there is no descriptor to go on with."""

    def judge(_function: object, _path: object, error: BaseException | tuple[object, BaseException, object]) -> None:
        cause = error[1] if isinstance(error, tuple) else error
        if isinstance(cause, OSError) and cause.errno in _EXHAUSTED:
            raise cause

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=judge)
    else:
        shutil.rmtree(path, onerror=judge)


def _open_up(error: OSError) -> None:
    _open_folder(str(error.filename))


def _open_folder(folder: str) -> None:
    try:
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    except OSError:
        pass  # not ours: it stays, and stays listed
    finally:
        os.close(handle)


def _remove_if_empty(session: Path) -> None:
    about = _read(session)
    if about is not None and not about.containers:
        _remove(session)
