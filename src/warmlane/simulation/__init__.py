"""Deterministic simulation: whole sessions on a simulated host that fails, hangs and lies, one seed for each replay.

`simulate_seed` plays one session and says which promises it broke; `simulate` plays many and counts what happened.
Blocks are simulated, too, so nothing of a plan is executed.
"""

from warmlane.simulation.one import Played as Played
from warmlane.simulation.one import simulate_seed as simulate_seed
from warmlane.simulation.summary import Kind as Kind
from warmlane.simulation.summary import Summary as Summary
from warmlane.simulation.summary import simulate as simulate
