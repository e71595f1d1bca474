"""Runs the linters and type checkers over the whole repository, in the environment that it is called with.

Every checker runs, also after one that complained. The exit code is 0 only when none did.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# flake8-async has no configuration file of its own, so its selection stands here. Of the rules that want a checkpoint
# on every path (91x), only 913: an endless loop without one. Also 900: an async generator that is no context manager.
# Left out: 114 (wants each function that can be started listed by name), 124 (an async method that keeps a protocol may
# await nothing), 127 (advises against httpx, whose pool we guard).
FLAKE8_ASYNC = [
    "--enable=ASYNC1,ASYNC2,ASYNC3,ASYNC4,ASYNC900,ASYNC913",
    "--disable=ASYNC114,ASYNC124,ASYNC127",
]
# A test bounds itself as a whole, and with it how it cleans up; one may drive its own endless loop from outside.
IN_TESTS = ["--disable=ASYNC102,ASYNC103,ASYNC114,ASYNC124,ASYNC127,ASYNC913"]


def checks() -> dict[str, list[str]]:
    """The command line of each checker, by its name."""
    files = sorted(path for part in ("src", "tests", "tools") for path in (ROOT / part).rglob("*.py"))
    # What the agent runs in containers is no Trio code, which flake8-async cannot know.
    asynchronous = [path for path in files if "async " in path.read_text()]
    tests = [str(path) for path in asynchronous if path.is_relative_to(ROOT / "tests")]
    others = [str(path) for path in asynchronous if not path.is_relative_to(ROOT / "tests")]
    return {
        "ruff check": ["ruff", "check"],
        "ruff format": ["ruff", "format", "--check"],
        "flake8-async": ["flake8-async", *FLAKE8_ASYNC, *others],
        "flake8-async, tests": ["flake8-async", *FLAKE8_ASYNC, *IN_TESTS, *tests],
        "mypy": ["mypy"],
        "pyright": ["pyright", "--pythonpath", sys.executable],
    }


def main() -> None:
    """Run all checkers."""
    scripts = Path(sysconfig.get_path("scripts"))
    complained: list[str] = []
    for name, (program, *arguments) in checks().items():
        print(f"--- {name}", flush=True)
        if subprocess.run([scripts / program, *arguments], cwd=ROOT, check=False).returncode:
            complained.append(name)
    sys.exit(f"complained: {', '.join(complained)}" if complained else 0)


if __name__ == "__main__":
    main()
