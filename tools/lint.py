"""Runs the linters and type checkers over the whole repository, in the environment that it is called with.

Every checker runs, also after one that complained. The exit code is 0 only when none did.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# flake8-async has no configuration file of its own, so its selection stands here. On top of its default rules:
# 900 (an async generator that is not a context manager), 913 (an endless loop without a cancel point). Left out:
# 114 (wants each function that can be started listed by name), 124 (an async method that keeps a protocol may await
# nothing), 127 (advises against httpx, whose pool we guard).
FLAKE8_ASYNC = ["--enable=ASYNC,ASYNC900,ASYNC913", "--disable=ASYNC114,ASYNC124,ASYNC127"]


def checks() -> dict[str, list[str]]:
    """The command line of each checker, by its name."""
    files = sorted(
        str(path.relative_to(ROOT)) for part in ("src", "tests", "tools") for path in (ROOT / part).rglob("*.py")
    )
    return {
        "ruff check": ["ruff", "check"],
        "ruff format": ["ruff", "format", "--check"],
        "flake8-async": ["flake8-async", *FLAKE8_ASYNC, *files],
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
