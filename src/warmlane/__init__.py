"""Warmlane runs workflow blocks side by side in warm containers, and leaves nothing behind.

    async with warmlane.open_session() as session:
        report = await session.run(warmlane.load_plan("plan.yaml"))

Everything public is in this list; names are loaded when they are first used, so that the import costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warmlane._version import __version__ as __version__

if TYPE_CHECKING:
    from warmlane.engine import Execution as Execution
    from warmlane.engine import Report as Report
    from warmlane.errors import LeftBehindError as LeftBehindError
    from warmlane.errors import PlanError as PlanError
    from warmlane.errors import RuntimeUnavailableError as RuntimeUnavailableError
    from warmlane.errors import WarmlaneError as WarmlaneError
    from warmlane.plan.model import Block as Block
    from warmlane.plan.model import Container as Container
    from warmlane.plan.model import Input as Input
    from warmlane.plan.model import ParallelLane as ParallelLane
    from warmlane.plan.model import Request as Request
    from warmlane.plan.model import WorkflowPlan as WorkflowPlan
    from warmlane.plan.model import Workspace as Workspace
    from warmlane.plan.read import load_plan as load_plan
    from warmlane.plan.read import read_plan as read_plan
    from warmlane.records import BlockResult as BlockResult
    from warmlane.session import Session as Session
    from warmlane.session import open_session as open_session
    from warmlane.session import run as run
    from warmlane.settings import Graces as Graces
    from warmlane.settings import Settings as Settings

_HOMES = {
    "Block": "plan.model",
    "BlockResult": "records",
    "Container": "plan.model",
    "Execution": "engine",
    "Graces": "settings",
    "Input": "plan.model",
    "LeftBehindError": "errors",
    "ParallelLane": "plan.model",
    "PlanError": "errors",
    "Report": "engine",
    "Request": "plan.model",
    "RuntimeUnavailableError": "errors",
    "Session": "session",
    "Settings": "settings",
    "WarmlaneError": "errors",
    "WorkflowPlan": "plan.model",
    "Workspace": "plan.model",
    "load_plan": "plan.read",
    "open_session": "session",
    "read_plan": "plan.read",
    "run": "session",
}

__all__ = [
    "Block",
    "BlockResult",
    "Container",
    "Execution",
    "Graces",
    "Input",
    "LeftBehindError",
    "ParallelLane",
    "PlanError",
    "Report",
    "Request",
    "RuntimeUnavailableError",
    "Session",
    "Settings",
    "WarmlaneError",
    "WorkflowPlan",
    "Workspace",
    "__version__",
    "load_plan",
    "open_session",
    "read_plan",
    "run",
]


def __getattr__(name: str) -> object:
    """Loads a public name on first use: `warmlane --help` and a plan check need no Trio."""
    if name not in _HOMES:
        raise AttributeError(f"module 'warmlane' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(f"warmlane.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
