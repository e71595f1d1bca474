"""The environment that tools/warmlane and tools/test make for themselves.

Most tests put a program in the place of Python that only says how it was called.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import make_venv

TOOLS = Path(make_venv.__file__).parent
ECHO = '#!/bin/sh\necho "$@"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the commands in it, whose environment is ready for `base`."""
    root = tmp_path / "a checkout"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / "tools").mkdir()
    for name in ("warmlane", "test", "venv.sh", "make_venv.py"):
        shutil.copy(TOOLS / name, root / "tools" / name)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "constraints.txt").write_text("trio==1\n")
    program(root / ".venv" / "bin" / "python", ECHO)
    make_venv.stamp_path(root / ".venv", "base").write_text(make_venv.stamp_text(root))
    return root


def program(path: Path, text: str) -> None:
    """Write an executable file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(root: Path, name: str, *arguments: str, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command of the checkout with nothing in its environment but a PATH."""
    environment = {"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin", "HOME": "/nonexistent"}
    command = [str(root / "tools" / name), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_ready_environment_is_used_at_once(checkout: Path) -> None:
    done = run(checkout, "warmlane", "run", "a plan.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "-P -m warmlane run a plan.json\n", "")


def test_it_works_through_a_link_from_elsewhere(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(checkout / "tools" / "warmlane")
    done = subprocess.run([tmp_path / "link", "--help"], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "-P -m warmlane --help\n"


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_what_is_installed_brings_it_up_to_date(checkout: Path, tmp_path: Path, name: str) -> None:
    (checkout / name).write_text("changed\n")
    program(tmp_path / "bin" / "python3", ECHO)
    done = run(checkout, "warmlane", path=tmp_path / "bin")
    assert done.stdout.splitlines()[-2:] == [f"{checkout}/tools/make_venv.py base", "-P -m warmlane"]


def test_an_environment_to_run_is_not_enough_for_the_tests(checkout: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3", ECHO)
    done = run(checkout, "test", "-k", "this", path=tmp_path / "bin")
    expected = [f"{checkout}/tools/make_venv.py test", f"{checkout}/tools/run_tests.py -k this"]
    assert done.stdout.splitlines()[-2:] == expected


def test_a_checkout_that_was_moved_is_installed_again(checkout: Path, tmp_path: Path) -> None:
    moved = checkout.rename(tmp_path / "moved")
    program(tmp_path / "bin" / "python3", ECHO)
    assert "make_venv.py base" in run(moved, "warmlane", path=tmp_path / "bin").stdout


def test_a_python_that_is_too_old_is_passed_over(checkout: Path, tmp_path: Path) -> None:
    (checkout / "constraints.txt").write_text("changed\n")
    program(tmp_path / "bin" / "python3", "#!/bin/sh\nexit 1\n")
    program(tmp_path / "bin" / "python3.13", '#!/bin/sh\necho "3.13: $@"\n')
    assert f"3.13: {checkout}/tools/make_venv.py base" in run(checkout, "warmlane", path=tmp_path / "bin").stdout


def test_without_a_new_enough_python_it_says_so(checkout: Path, tmp_path: Path) -> None:
    (checkout / "constraints.txt").write_text("changed\n")
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        program(tmp_path / "bin" / name, "#!/bin/sh\nexit 1\n")
    done = run(checkout, "warmlane", path=tmp_path / "bin")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("warmlane: needs Python 3.11 or newer")
    assert done.stderr.count("\n") == 1


def test_a_python_without_venv_says_what_to_install(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None:
        """Debian leaves ensurepip out of python3."""

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    with pytest.raises(make_venv.VenvError, match="apt-get install python3-venv"):
        make_venv.make(checkout / ".venv", "base", checkout)


def test_a_ready_environment_is_left_alone(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """So says who had to wait for another process to make it."""
    make_venv.make(checkout / ".venv", "base", checkout)
    assert capfd.readouterr() == ("", "")


def test_who_comes_second_waits_and_finds_the_work_done(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (checkout / "constraints.txt").write_text("changed\n")
    with (checkout / ".venv" / make_venv.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen([sys.executable, checkout / "tools" / "make_venv.py", "base"])
        while not re.search(rf"-> FLOCK .* {second.pid} ", Path("/proc/locks").read_text()):
            assert second.poll() is None, "it did not wait"
            time.sleep(0.01)
        make_venv.stamp_path(checkout / ".venv", "base").write_text(make_venv.stamp_text(checkout))
    assert second.wait() == 0
    assert capfd.readouterr() == ("", "")


def test_an_installation_that_fails_leaves_no_stamp(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (checkout / "constraints.txt").write_text("changed\n")
    program(checkout / ".venv/bin/python", '#!/bin/sh\ncase "$*" in *install*) exit 3 ;; esac\n')
    with pytest.raises(make_venv.VenvError, match=r"pip could not install .*exit code 3"):
        make_venv.make(checkout / ".venv", "base", checkout)
    assert not make_venv.is_ready(checkout / ".venv", "base", checkout)
    assert not make_venv.stamp_path(checkout / ".venv", "base").exists()
    assert "installing into" in capfd.readouterr().err


def test_an_environment_of_another_python_is_made_anew(checkout: Path) -> None:
    """The one of the checkout is no Python at all; a whole one takes its place before pip is asked."""
    program(checkout / ".venv/bin/python", "#!/bin/sh\nexit 1\n")
    (checkout / "pyproject.toml").write_text("this is no TOML\n")
    with pytest.raises(make_venv.VenvError, match="pip could not install"):
        make_venv.make(checkout / ".venv", "base", checkout)
    version = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([checkout / ".venv/bin/python", "-c", version], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(part) for part in sys.version_info[:2]]
    assert os.access(checkout / ".venv" / make_venv.LOCK, os.F_OK)
