"""From a file or a document to a checked plan. The two ways in; everything wrong comes as one PlanError.

Nothing else is ever raised for a document, whatever it holds, and nothing is started or opened but the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from warmlane.errors import PlanError, Problem
from warmlane.plan import documents
from warmlane.plan.check import check_document
from warmlane.plan.model import WorkflowPlan
from warmlane.plan.paths import problems_in_order
from warmlane.plan.plain import is_object
from warmlane.plan.shape import shape
from warmlane.plan.values import DocumentError, walk


def load_plan(path: str | os.PathLike[str]) -> WorkflowPlan:
    """Reads a plan from a `.json`, `.yaml`, `.yml` or `.toml` file.

    A relative workspace is taken from the file's folder. Raises PlanError with all problems.
    """
    file = Path(path)
    try:
        document = documents.load(file)
    except DocumentError as error:
        raise PlanError([Problem("", str(error))], source=str(file)) from None
    return read_plan(document, folder=file.absolute().parent, source=str(file))


def read_plan(document: Any, *, folder: str | os.PathLike[str] | None = None, source: str = "the plan") -> WorkflowPlan:
    """Reads a plan from plain values, as `json.load` gives them.

    `folder` is where relative workspaces are taken from (default: the current one), `source` names the document in
    errors. Raises PlanError with all problems.
    """
    absolute = _with_absolute_workspaces(document, os.path.abspath(folder or "."))
    plan, findings = shape(absolute, walk(document))
    findings += check_document(absolute, plan, findings)
    if plan is None or findings:
        raise PlanError(problems_in_order(findings, document), source=source)
    return plan


def _with_absolute_workspaces(document: Any, folder: str) -> Any:
    def path(value: Any) -> Any:
        # An empty path stays what it is, for the reader to refuse.
        return os.path.normpath(os.path.join(folder, value)) if isinstance(value, str) and value else value

    def workspace(value: Any) -> Any:
        return _with(value, "path", path) if is_object(value) else path(value)

    def container(value: Any) -> Any:
        return _with(value, "workspace", workspace)

    def blocks(value: Any) -> Any:
        return (
            {name: _with(block, "container", container) for name, block in value.items()} if is_object(value) else value
        )

    return _with(_with(document, "container", container), "blocks", blocks)


def _with(value: Any, key: str, change: Callable[[Any], Any]) -> Any:
    return {**value, key: change(value[key])} if is_object(value) and key in value else value
