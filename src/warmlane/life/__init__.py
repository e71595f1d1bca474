"""One container's state table, and which container to hand out, wake or evict. Pure: no Trio, no clock, no I/O."""
