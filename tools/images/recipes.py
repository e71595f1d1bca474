"""What is in each test image.

A recipe is data. Its `key` changes when anything in it changes, and so decides whether a cached archive or an image
that a daemon already has can be used again.
"""

import hashlib
from dataclasses import dataclass

SUITE = "bookworm"

_DOCUMENTATION = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
)

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""

_GROUP = """\
root:x:0:
app:x:1000:
nogroup:x:65534:
"""


@dataclass(frozen=True)
class Directory:
    """A directory that no package brings, because no package's scripts are run."""

    path: str
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Recipe:
    """One image: packages unpacked, documentation left out, a few paths added.

    `files` maps a path to its text, `links` a path to where it points; paths are relative to the root, without a
    leading slash. `changes` are Dockerfile lines, as `docker import --change` takes them.
    """

    tag: str
    packages: tuple[str, ...]
    directories: tuple[Directory, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    changes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = _DOCUMENTATION
    suite: str = SUITE

    @property
    def key(self) -> str:
        """Twelve hex digits that stand for the whole recipe."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @property
    def slug(self) -> str:
        """The tag as part of a file name."""
        return self.tag.partition(":")[0]

    def leaves_out(self, path: str) -> bool:
        """Whether a path of the packages stays out of the image."""
        return any(path == prefix or path.startswith(prefix + "/") for prefix in self.left_out)


_DIRECTORIES = (
    Directory("home"),
    Directory("home/app", owner=1000),
    Directory("proc"),
    Directory("root", mode=0o700),
    Directory("run"),
    Directory("sys"),
    Directory("tmp", mode=0o1777),
    Directory("var/tmp", mode=0o1777),
)

_ACCOUNTS = (("etc/passwd", _PASSWD), ("etc/group", _GROUP))

WITH_PYTHON = Recipe(
    tag="warmlane-test:latest",
    packages=("bash", "coreutils", "dash", "findutils", "grep", "procps", "python3", "sed"),
    directories=_DIRECTORIES,
    files=_ACCOUNTS,
    links=(("usr/bin/python", "python3"),),
    changes=("ENV LANG=C.UTF-8", 'CMD ["python3"]'),
)

_APPLETS = ("cat", "echo", "env", "false", "id", "ls", "ps", "sh", "sleep", "true")

WITHOUT_PYTHON = Recipe(
    tag="warmlane-test-nopython:latest",
    packages=("busybox-static",),
    directories=_DIRECTORIES,
    files=_ACCOUNTS,
    links=tuple((f"bin/{name}", "busybox") for name in _APPLETS),
    changes=('CMD ["sh"]',),
)

RECIPES = (WITH_PYTHON, WITHOUT_PYTHON)

# The plans in the examples name this image; a daemon that has no registry to pull it from gets ours under that name.
EXAMPLES_TAG = "python:3.12-slim"
