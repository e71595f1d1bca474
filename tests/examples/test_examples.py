"""The examples load, check clean, and their blocks tell the truth about source that we know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from warmlane.examples import analyses, library
from warmlane.plan.check import check_plan
from warmlane.plan.read import load_plan

FOLDER = Path(analyses.__file__).parent
SOURCE = {
    "pack/__init__.py": '"""A package."""\n',
    "pack/one.py": "from pack import two\n\n\ndef bare(a, b):\n    if a and b:\n        return [x for x in a]\n",
    "pack/two.py": '"""Two."""\nfrom pack.one import bare\n\n\nclass Told:\n    """Told."""\n    def quiet(self): 1\n',
    "pack/deep/three.py": '"""Three."""\n\n\ndef use():\n    """Late."""\n    import pack.one\n',
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A workspace with a small package; its files."""
    for name, text in SOURCE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("WARMLANE_WORKSPACE", str(tmp_path))
    return sorted(SOURCE)


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("*.yaml")) + sorted(FOLDER.glob("*.json")), ids=lambda path: path.name
)
def test_every_example_plan_reads_and_checks_clean(path: Path) -> None:
    assert check_plan(load_plan(path)) == ()


def test_every_function_that_the_check_names_exists() -> None:
    plan = load_plan(FOLDER / "check.yaml")
    named = [block.python.partition(":") for block in plan.blocks.values() if block.python]
    assert {module for module, _, _ in named} == {analyses.__name__}
    assert all(callable(getattr(analyses, function)) for _, _, function in named)
    assert plan.container.workspace is not None
    assert plan.container.workspace.path == str(FOLDER.parents[1])


def test_the_library_example_makes_a_plan_that_checks_clean(tmp_path: Path) -> None:
    assert check_plan(library.plan_for(tmp_path)) == ()


def test_files_finds_all_python_files(package: list[str]) -> None:
    assert analyses.files({"package": "pack"}) == {"paths": package}
    with pytest.raises(LookupError, match="no Python files in nothing"):
        analyses.files({"package": "nothing"})


def test_sizes_counts_lines(package: list[str]) -> None:
    assert analyses.sizes({"paths": package, "longest": 6}) == {
        "lines": 20,
        "median": 6,
        "longest": 7,
        "findings": ["pack/two.py has 7 lines"],
    }


def test_branches_counts_ways(package: list[str]) -> None:
    assert analyses.branches({"paths": package, "most": 3}) == {
        "functions": 3,
        "most": 4,
        "findings": ["pack/one.py:4 bare has 4 ways through"],
    }


def test_docs_counts_what_is_public(package: list[str]) -> None:
    found = analyses.docs({"paths": package})
    assert found == {"public": 4, "documented": 2, "findings": ["pack/one.py does not say what it is"]}


def test_imports_finds_circles_of_loading_only(package: list[str]) -> None:
    """The import inside a function is late, and no circle."""
    found = analyses.imports({"paths": package})
    assert found == {
        "modules": 4,
        "imports": 2,
        "findings": ["imports go in a circle: pack.one -> pack.two -> pack.one"],
    }


def test_twins_tells_a_long_repetition_once(tmp_path: Path, package: list[str]) -> None:
    body = "".join(f"value{number} = {number}\n" for number in range(6))
    (tmp_path / "a.py").write_text("import os\n" + body)
    (tmp_path / "b.py").write_text("other = 1\n\n" + body)
    found = analyses.twins({"paths": ["a.py", "b.py", *package], "lines": 4})
    assert found["findings"] == ["b.py:3 repeats a.py:2"]


def test_the_report_prints_what_it_returns(capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {
        "sizes": {"lines": 3, "findings": ["a.py has 3 lines"]},
        "docs": {"public": 1, "documented": 1, "findings": []},
    }
    assert analyses.report(given) == {"analyses": ["docs", "sizes"], "findings": ["sizes: a.py has 3 lines"]}
    assert capsys.readouterr().out.splitlines() == [
        "sizes     lines 3",
        "          - a.py has 3 lines",
        "docs      public 1, documented 1",
        "1 finding from 2 analyses",
    ]
