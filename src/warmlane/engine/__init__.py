"""The engine: plans onto nurseries and cancel scopes."""

from warmlane.engine.execution import Execution as Execution
from warmlane.engine.report import Report as Report
