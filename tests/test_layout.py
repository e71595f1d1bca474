"""The rules of the house, read from the code: which way imports run, how large files are, what stands where."""

import ast
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import warmlane

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "warmlane"

# A part imports from parts above it in this list, and from itself; parts on one line do not know each other.
LAYERS = (
    {"_version", "errors", "nursery", "terminal"},
    {"wire"},
    {"records"},
    {"events"},
    {"settings"},
    {"plan", "life"},
    {"bus"},
    {"agent"},
    {"runtimes"},
    {"pool", "reaper"},
    {"engine"},
    {"session"},
    {"simulation"},
    {"monitor"},
    {"cli"},
    {"__init__", "__main__"},
    {"examples", "testing"},
)

TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "src",
    "tests",
    "tools",
    "uv.lock",
}

SOURCES = sorted(SOURCE.rglob("*.py"))
PYTHON_FILES = sorted(path for folder in ("src", "tests", "tools") for path in (ROOT / folder).rglob("*.py"))
TEXTS = sorted(
    [
        *PYTHON_FILES,
        *(ROOT / name for name in TOP_LEVEL if (ROOT / name).is_file() and name != "uv.lock"),
        *(path for path in (ROOT / "tools").iterdir() if path.is_file()),
        *(path for path in (ROOT / ".ci").rglob("*") if path.is_file()),
    ]
)

# Words that say nothing to who has only this repository, and work that was put off. Spelled so that this file has none.
STRANGE = re.compile(
    r"/wor[k]/|/opt/(?:pypi|wheels)|/\.librar[y]\b|(?:arch|desig[n]|lesson[s])\.md|\bissu[e] #?\d|\bdesign §|"
    r"\bTOD[O]\b|\bFIXM[E]\b|\bXX[X]\b|(?i:\b(?:claud[e]|chatgp[t]|copilo[t])\b)"
)


def layer(part: str) -> int:
    """How far up a part stands."""
    found = [height for height, parts in enumerate(LAYERS) if part in parts]
    assert found, f"'{part}' is new: give it a place in LAYERS"
    return found[0]


def part_of(path: Path) -> str:
    """The part that a source file belongs to: the name directly under the package."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted names of all that a file imports, wherever in it. (The linter refuses relative imports.)"""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(path: Path) -> set[str]:
    """The parts of Warmlane that a file imports; what is no part is a name of the face."""
    names = [name.split(".") for name in imported(path) if name.split(".")[0] == "warmlane"]
    parts = {part_of(source) for source in SOURCES}
    return {name[1] if len(name) > 1 and name[1] in parts else "__init__" for name in names}


def outside(path: Path) -> set[str]:
    """The other packages that a file imports."""
    return {name.partition(".")[0] for name in imported(path)} - {"warmlane"}


def name_of(path: Path) -> str:
    """A path as a test's name."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    own = part_of(path)
    wrong = {part for part in own_parts(path) - {own} if layer(part) >= layer(own)}
    assert not wrong, f"{name_of(path)} may not import {sorted(wrong)}"


def test_the_pure_parts_know_no_trio() -> None:
    pure = [path for path in SOURCES if part_of(path) in {"plan", "life"}]
    assert pure
    assert [name_of(path) for path in pure if outside(path) & {"trio", "httpx", "docker"}] == []


def test_docker_is_imported_in_one_module() -> None:
    importers = [path for path in SOURCES if "docker" in outside(path)]
    assert [part_of(path) for path in importers] == ["runtimes"]


def test_files_are_small() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PYTHON_FILES}
    assert [f"{name_of(path)}: {length}" for path, length in lengths.items() if length > 600] == []
    assert statistics.median(lengths[path] for path in SOURCES) < 180


@pytest.mark.parametrize("path", PYTHON_FILES, ids=name_of)
def test_a_module_opens_with_its_contract(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{name_of(path)} has no docstring"


def test_the_top_level_holds_what_was_agreed() -> None:
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - {"dist"} == TOP_LEVEL


def test_test_folders_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_texts_speak_only_of_what_a_reader_has() -> None:
    found = [
        f"{name_of(path)}:{number}: {match.group()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := STRANGE.search(line))
    ]
    assert not found, "\n".join(found)


def test_the_face_is_what_it_lists() -> None:
    """Each listed name is there, and the module brings in no public name that it does not list."""
    brought = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse((SOURCE / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warmlane")
        for alias in node.names
    }
    assert brought == set(warmlane.__all__)
    assert [name for name in warmlane.__all__ if not hasattr(warmlane, name)] == []
    assert list(warmlane.__all__) == sorted(warmlane.__all__)


def test_public_classes_with_durations_say_their_unit() -> None:
    """On the wire they are milliseconds, so it has to be said that here they are not."""
    public = [getattr(warmlane, name) for name in warmlane.__all__]
    timed = [cls for cls in public if attrs.has(cls) and any("unit" in field.metadata for field in attrs.fields(cls))]
    assert {warmlane.Block, warmlane.WorkflowPlan, warmlane.BlockResult, warmlane.Report} <= set(timed)
    assert [cls.__name__ for cls in timed if "in seconds" not in " ".join((cls.__doc__ or "").split())] == []


HELP = """
import runpy, sys
sys.argv = ["warmlane", "--help"]
try:
    runpy.run_module("warmlane", run_name="__main__")
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", HELP], capture_output=True, text=True, check=True)
    assert "Usage: warmlane" in done.stdout
    assert set(done.stderr.split()) & {"docker", "trio", "httpx", "rich", "cattrs", "yaml"} == set()


def test_help_answers_at_once() -> None:
    """The best of several, for the machine may be busy with other things."""
    fastest = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-P", "-m", "warmlane", "--help"], capture_output=True, check=True)
        fastest = min(fastest, time.perf_counter() - start)
        if fastest < 0.25:
            break
    assert fastest < 0.25
