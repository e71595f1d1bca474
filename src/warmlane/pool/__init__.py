"""The pool: containers that are started ahead of need, lent to blocks, frozen, thawed, and truly removed."""

from warmlane.pool.lease import Lease as Lease
from warmlane.pool.pool import Pool as Pool
from warmlane.pool.service import open_pool as open_pool
