"""The blocks of `check.yaml`: a look at Python source from several sides. Standard library only: they run wherever the
plan runs, beside nothing but the workspace, on any Python that can parse what they look at.

Each function gets its block's input as a dict and returns the block's output. An analysis returns its figures and
`findings`, a list of sentences.
"""

from __future__ import annotations

import ast
import os
import pathlib
from collections.abc import Iterator
from typing import Any

Output = dict[str, Any]


def _workspace() -> pathlib.Path:
    return pathlib.Path(os.environ["WARMLANE_WORKSPACE"])


def _trees(paths: list[str]) -> Iterator[tuple[str, ast.Module]]:
    for path in paths:
        yield path, ast.parse((_workspace() / path).read_text(encoding="utf-8"), path)


def files(given: Output) -> Output:
    """All Python files of a package in the workspace, as sorted relative paths."""
    root = _workspace()
    found = sorted(str(path.relative_to(root)) for path in (root / given["package"]).rglob("*.py"))
    if not found:
        raise LookupError(f"no Python files in {given['package']}")
    print(f"found {len(found)} files")
    return {"paths": found}


def sizes(given: Output) -> Output:
    """Lines of each file; a finding for each file that is too long."""
    lines = {path: (_workspace() / path).read_text(encoding="utf-8").count("\n") for path in given["paths"]}
    ordered = sorted(lines.values())
    long = [f"{path} has {count} lines" for path, count in lines.items() if count > given["longest"]]
    return {"lines": sum(ordered), "median": ordered[len(ordered) // 2], "longest": ordered[-1], "findings": long}


_FORKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.BoolOp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def branches(given: Output) -> Output:
    """Ways through each function (1 and one more for each fork); a finding for each function with too many."""
    ways: dict[str, int] = {}
    for path, tree in _trees(given["paths"]):
        for node in ast.walk(tree):
            if isinstance(node, _FUNCTIONS):
                ways[f"{path}:{node.lineno} {node.name}"] = 1 + sum(isinstance(part, _FORKS) for part in ast.walk(node))
    many = [f"{where} has {count} ways through" for where, count in ways.items() if count > given["most"]]
    return {"functions": len(ways), "most": max(ways.values(), default=0), "findings": many}


def docs(given: Output) -> Output:
    """The share of public modules, classes and functions with a docstring; a finding for each module without."""
    total = documented = 0
    bare: list[str] = []
    for path, tree in _trees(given["paths"]):
        if not tree.body:
            continue
        if ast.get_docstring(tree) is None:
            bare.append(f"{path} does not say what it is")
        for node in _public(tree):
            total += 1
            documented += ast.get_docstring(node) is not None
    return {"public": total, "documented": documented, "findings": bare}


def _public(tree: ast.Module) -> Iterator[Any]:
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    part for part in node.body if isinstance(part, _FUNCTIONS) and not part.name.startswith("_")
                )


def imports(given: Output) -> Output:
    """Which module imports which, when it is loaded; a finding for each circle."""
    names = {path[:-3].replace("/", ".").replace(".__init__", ""): path for path in given["paths"]}
    graph: dict[str, list[str]] = {name: [] for name in names}
    for path, tree in _trees(given["paths"]):
        module = path[:-3].replace("/", ".").replace(".__init__", "")
        targets = {target for node in tree.body for target in _targets(node, names)}
        graph[module] = sorted(targets - {module})
    circles = [" -> ".join((*circle, circle[0])) for circle in _circles(graph)]
    return {
        "modules": len(graph),
        "imports": sum(map(len, graph.values())),
        "findings": [f"imports go in a circle: {circle}" for circle in circles],
    }


def _targets(node: ast.stmt, known: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            if inner in known or node.module in known:
                yield inner if inner in known else node.module


def _circles(graph: dict[str, list[str]]) -> list[list[str]]:
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            found.append(way[way.index(name) :])
        elif name not in done:
            for target in graph[name]:
                visit(target, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def twins(given: Output) -> Output:
    """Runs of lines that stand in two places; a finding for each, with where it begins."""
    length = given["lines"]
    lines = {path: list(_telling_lines(path)) for path in given["paths"]}
    first: dict[tuple[str, ...], tuple[str, int]] = {}
    pairs: dict[tuple[str, int], tuple[str, int]] = {}
    for path, numbered in lines.items():
        for start in range(len(numbered) - length + 1):
            run = tuple(line for _, line in numbered[start : start + length])
            before = first.setdefault(run, (path, start))
            if before != (path, start):
                pairs[path, start] = before
    findings: list[str] = []
    for (path, start), (other, there) in pairs.items():
        # A pair that goes on from the line before is part of one that has been told.
        if pairs.get((path, start - 1)) != (other, there - 1):
            findings.append(f"{path}:{lines[path][start][0]} repeats {other}:{lines[other][there][0]}")
    return {"runs": len(first), "findings": findings}


def _telling_lines(path: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate((_workspace() / path).read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith(("#", "import ", "from ", '"""')):
            yield number, line.strip()


def report(given: Output) -> Output:
    """One text for people, on standard output, and one object for programs."""
    findings: list[str] = []
    for name, output in given.items():
        figures = ", ".join(f"{key} {value}" for key, value in output.items() if key != "findings")
        print(f"{name:<10}{figures}")
        for finding in output["findings"]:
            print(f"          - {finding}")
            findings.append(f"{name}: {finding}")
    print(f"{len(findings)} finding{'s'[: len(findings) != 1]} from {len(given)} analys{'ei'[len(given) == 1]}s")
    return {"analyses": sorted(given), "findings": findings}
