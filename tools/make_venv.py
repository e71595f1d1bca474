"""Makes a virtual environment with Warmlane in it, at the versions that constraints.txt pins.

Called by venv.sh, when the stamp in the environment does not say that it is as it should be, and by .ci/run. Any
number of calls may run at once: one works, the others wait for it and find the work done. A stamp is removed before
an environment is touched and written when it is complete, so one that was cut short is never taken for a good one.
"""

import argparse
import fcntl
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "warmlane.lock"
# What is installed for a kind of use, and which kinds are served by it.
KINDS = {"base": (".", ("base",)), "test": (".[test]", ("base", "test"))}


class VenvError(Exception):
    """The environment could not be made; the message is one sentence that says what to do."""


def stamp_path(venv: Path, kind: str) -> Path:
    """The file that says an environment serves this kind of use."""
    return venv / f"warmlane-{kind}.stamp"


def stamp_text(root: Path) -> str:
    """What a good stamp holds: where the project is, and all that decides what is installed. venv.sh makes the same."""
    return f"{root}\n" + "".join((root / name).read_text() for name in ("pyproject.toml", "constraints.txt"))


def is_ready(venv: Path, kind: str, root: Path) -> bool:
    """Whether the environment can be used as it is."""
    try:
        return (venv / "bin" / "python").exists() and stamp_path(venv, kind).read_text() == stamp_text(root)
    except OSError:
        return False


def make(venv: Path, kind: str, root: Path = ROOT) -> None:
    """Bring an environment to what this kind of use asks for. Raises VenvError."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise VenvError(f"{sys.executable} has no {missing[0]} module (on Debian: apt-get install python3-venv)")
    venv.mkdir(parents=True, exist_ok=True)
    with (venv / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready(venv, kind, root):
            return
        if stamp_path(venv, "test").exists():
            kind = "test"  # an update for one command must not leave the other with old tools
        for each in KINDS:
            stamp_path(venv, each).unlink(missing_ok=True)
        requirement, serves = KINDS[kind]
        version = ".".join(map(str, sys.version_info[:2]))
        print(f"warmlane: installing into {venv} for Python {version}, once; this takes a moment", file=sys.stderr)
        text = stamp_text(root)  # read before the installation: a change during it is seen next time
        if not _runs(venv):
            _clear(venv)
            _call([sys.executable, "-m", "venv", str(venv)], root, "python3 -m venv failed")
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        _call([*pip, "-c", "constraints.txt", "-e", requirement], root, "pip could not install what Warmlane needs")
        for each in serves:
            stamp_path(venv, each).write_text(text)


def _runs(venv: Path) -> bool:
    """Whether the environment has a working pip of this Python's version."""
    probe = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        return subprocess.run([venv / "bin" / "python", "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _clear(venv: Path) -> None:
    """Empty the environment, but for the lock that is held."""
    for path in venv.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _call(command: list[str], root: Path, failure: str) -> None:
    if code := subprocess.run(command, cwd=root, stdout=sys.stderr, check=False).returncode:
        raise VenvError(f"{failure} (exit code {code}); what it said is above")


def main() -> None:
    """Make the environment that the command line names."""
    parser = argparse.ArgumentParser(description="Make a virtual environment with Warmlane in it.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--into", type=Path, default=ROOT / ".venv", help="where it goes (default: .venv)")
    arguments = parser.parse_args()
    try:
        make(arguments.into.absolute(), arguments.kind)
    except VenvError as error:
        sys.exit(f"warmlane: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
