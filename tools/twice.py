"""Runs a suite, and once more what has failed in it: how .ci/run judges tests that bound real time on a shared machine.

    tools/twice.py NOTES COMMAND...

Only a second failure counts; but what passes only the second time is unsteady, and more than UNSTEADY of them fail the
suite, too. The command takes pytest's arguments. In the folder NOTES a line is added for each: to `failed` the test and
the first words of why, to `unsteady` its name.
"""

import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from signals import ended_by_signals
from with_docker import call

UNSTEADY = 3
_AGAIN = ("--last-failed", "--last-failed-no-failures", "none", "--no-cov", "-v")
_SOME_FAILED = 1
"""Pytest's exit code when it has run to its end."""
_WORDS = 300


def twice(command: list[str], notes: Path) -> int:
    """Run it; the exit code says whether it may pass."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "first.xml")
        code = call([*command, f"--junitxml={report}"], {})
        if code == 0:
            return 0
        first = failures(report)
        if code != _SOME_FAILED or not first:
            _note(notes / "failed", [f"{' '.join(command)}: exit code {code} without a report of failed tests"])
            return code
        print("\n=== what failed is run once more", flush=True)
        report = Path(folder, "second.xml")
        code = call([*command, *_AGAIN, f"--junitxml={report}"], {})
        second = failures(report)
    if code not in (0, _SOME_FAILED) or (code and not second):
        second = first  # it did not come to its end, so nothing has passed
    unsteady = [name for name in first if name not in second]
    _note(notes / "failed", [f"{name}: {why}" for name, why in second.items()])
    _note(notes / "unsteady", unsteady)
    if len(unsteady) > UNSTEADY:
        _note(notes / "failed", [f"{len(unsteady)} tests passed only the second time, more than {UNSTEADY}"])
    return 1 if second or code or len(unsteady) > UNSTEADY else 0


def failures(report: Path) -> dict[str, str]:
    """What failed, by name, with the first words of why; nothing if there is no report."""
    if not report.exists():
        return {}
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for trouble in [*case.findall("failure"), *case.findall("error")]:
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            said = (trouble.get("message") or trouble.text or "").strip()
            found.setdefault(name, " / ".join(said.splitlines()[:3])[:_WORDS])
    return found


def _note(file: Path, lines: list[str]) -> None:
    with file.open("a") as notes:
        notes.writelines(f"{line}\n" for line in lines)


def main() -> None:
    """Run what the command line names."""
    notes, *command = sys.argv[1:]
    with ended_by_signals():
        sys.exit(twice(command, Path(notes)))


if __name__ == "__main__":
    main()
