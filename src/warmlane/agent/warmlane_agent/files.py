"""Files and descriptors: whole reads and writes, files without a name, and removing what strangers have made."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

OWN = "wl-"
"""How the names of all that the agent makes in its scratch begin."""


def drain(fd: int) -> None:
    """Reads what there is, for nothing."""
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass


def shut_down(fd: int) -> None:
    """Says on a connection that nothing more comes. Raises OSError if it is broken."""
    sock = socket.socket(fileno=fd)
    try:
        sock.shutdown(socket.SHUT_WR)
    finally:
        sock.detach()


def write_all(fd: int, data: bytes) -> None:
    """Writes to a file to the end."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_all(fd: int, limit: int) -> bytes:
    """The rest of a file, or so much of it."""
    chunks: list[bytes] = []
    size = 0
    while size < limit:
        chunk = os.read(fd, min(limit - size, 1 << 20))
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def write_new(path: str, data: bytes) -> None:
    """Writes a file that is new, whatever stood in its place."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def spool(folder: str) -> int:
    """A file without a name, to read and write."""
    path = os.path.join(folder, OWN + os.urandom(8).hex())
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


def remove(path: str) -> None:
    """Removes whatever it is, following no links; a directory whatever its permissions and its depth. As far as that
    can be done."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            _remove_tree(path)
        else:
            os.unlink(path)


def _remove_tree(root: str) -> None:
    with contextlib.suppress(OSError):
        os.chmod(root, 0o700)
        deep = True
        while deep:
            deep = False
            for entry in list(os.scandir(root)):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    if inner.is_dir(follow_symlinks=False):  # lifted up, so that no path grows too long
                        os.chmod(inner.path, 0o700)
                        os.rename(inner.path, os.path.join(root, os.urandom(8).hex()))
                        deep = True
                    else:
                        os.unlink(inner.path)
                os.rmdir(entry.path)
        os.rmdir(root)


def size_words(size: int) -> str:
    """`64 MiB`."""
    for unit, word in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {word}"
    return f"{size} bytes"
